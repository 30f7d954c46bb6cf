"""The index of what is declared now: the only mutable thing of the mesh model. It has one writer.

It takes events and tells which objects changed; it hands out frozen views that share what did not change.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar, cast

from smi.diagnostics import ObjectRef
from smi.objects import (
    HTTPRouteGroup,
    MeshConfig,
    MeshObject,
    Meta,
    Namespace,
    Service,
    ServiceAccount,
    TCPRoute,
    TrafficSplit,
    TrafficTarget,
    Workload,
)

K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=MeshObject)
Key = tuple[str, str]
"""Namespace and name."""

DEFAULT_CONFIG = MeshConfig(meta=Meta(namespace="", name="default"))
"""What holds while no MeshConfig is declared."""


@dataclass(frozen=True, slots=True)
class Upsert:
    """The object exists now, with this value."""

    object: MeshObject

    @property
    def ref(self) -> ObjectRef:
        return self.object.ref


@dataclass(frozen=True, slots=True)
class Delete:
    """The object exists no longer."""

    ref: ObjectRef


ObjectEvent = Upsert | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshObjects:
    """Everything declared at one moment, never changing. Each mapping is sorted by its key."""

    namespaces: Mapping[str, Namespace]
    service_accounts: Mapping[Key, ServiceAccount]
    services: Mapping[Key, Service]
    workloads: Mapping[Key, Workload]
    traffic_splits: Mapping[Key, TrafficSplit]
    traffic_targets: Mapping[Key, TrafficTarget]
    http_route_groups: Mapping[Key, HTTPRouteGroup]
    tcp_routes: Mapping[Key, TCPRoute]
    config: MeshConfig = DEFAULT_CONFIG


class _Table(Generic[K, T]):
    """The objects of one kind. `live` follows every change; `frozen()` is copied anew only after a change."""

    def __init__(self) -> None:
        self._objects: dict[K, T] = {}
        self._frozen: Mapping[K, T] | None = None
        self.live: Mapping[K, T] = MappingProxyType(self._objects)

    def put(self, key: K, value: T) -> None:
        self._objects[key] = value
        self._frozen = None

    def drop(self, key: K) -> None:
        if self._objects.pop(key, None) is not None:
            self._frozen = None

    def frozen(self) -> Mapping[K, T]:
        if self._frozen is None:
            # Sorted, so that equal content is also iterated equally, whatever the history was.
            self._frozen = MappingProxyType({key: self._objects[key] for key in sorted(self._objects)})  # type: ignore[type-var]
        return self._frozen


class MeshIndex:
    """The declared objects by kind. Reading is by attributes that follow every change, or by `snapshot()`."""

    def __init__(self) -> None:
        self._namespaces: _Table[str, Namespace] = _Table()
        self._configs: _Table[str, MeshConfig] = _Table()
        self._service_accounts: _Table[Key, ServiceAccount] = _Table()
        self._services: _Table[Key, Service] = _Table()
        self._workloads: _Table[Key, Workload] = _Table()
        self._traffic_splits: _Table[Key, TrafficSplit] = _Table()
        self._traffic_targets: _Table[Key, TrafficTarget] = _Table()
        self._http_route_groups: _Table[Key, HTTPRouteGroup] = _Table()
        self._tcp_routes: _Table[Key, TCPRoute] = _Table()
        self._clustered: dict[str, _Table[str, MeshObject]] = {
            "Namespace": cast("_Table[str, MeshObject]", self._namespaces),
            "MeshConfig": cast("_Table[str, MeshObject]", self._configs),
        }
        self._namespaced: dict[str, _Table[Key, MeshObject]] = {
            "ServiceAccount": cast("_Table[Key, MeshObject]", self._service_accounts),
            "Service": cast("_Table[Key, MeshObject]", self._services),
            "Workload": cast("_Table[Key, MeshObject]", self._workloads),
            "TrafficSplit": cast("_Table[Key, MeshObject]", self._traffic_splits),
            "TrafficTarget": cast("_Table[Key, MeshObject]", self._traffic_targets),
            "HTTPRouteGroup": cast("_Table[Key, MeshObject]", self._http_route_groups),
            "TCPRoute": cast("_Table[Key, MeshObject]", self._tcp_routes),
        }
        self.namespaces = self._namespaces.live
        self.service_accounts = self._service_accounts.live
        self.services = self._services.live
        self.workloads = self._workloads.live
        self.traffic_splits = self._traffic_splits.live
        self.traffic_targets = self._traffic_targets.live
        self.http_route_groups = self._http_route_groups.live
        self.tcp_routes = self._tcp_routes.live

    @property
    def config(self) -> MeshConfig:
        """The declared MeshConfig, or the defaults."""
        return self._configs.live.get("default", DEFAULT_CONFIG)

    def get(self, ref: ObjectRef) -> MeshObject | None:
        """The object named by `ref`, or None. Raises KeyError for a kind that no index holds."""
        if ref.kind in self._clustered:
            return self._clustered[ref.kind].live.get(ref.name)
        return self._namespaced[ref.kind].live.get((ref.namespace, ref.name))

    def apply(self, events: Iterable[ObjectEvent]) -> frozenset[ObjectRef]:
        """Take the events in their order; gives the objects whose value is another one now.

        The place in the file is part of the value: diagnostics point at where things are now. A change
        and its reversal in one call are no change. Raises KeyError for a kind that no index holds.
        """
        before: dict[ObjectRef, MeshObject | None] = {}
        for event in events:
            ref = event.ref
            held = self.get(ref)
            before.setdefault(ref, held)
            value = event.object if isinstance(event, Upsert) else None
            if value != held:
                self._store(ref, value)
        return frozenset(ref for ref, value in before.items() if self.get(ref) != value)

    def snapshot(self) -> MeshObjects:
        """The present content, frozen. Kinds that did not change since the last one are the same mappings."""
        return MeshObjects(
            namespaces=self._namespaces.frozen(),
            service_accounts=self._service_accounts.frozen(),
            services=self._services.frozen(),
            workloads=self._workloads.frozen(),
            traffic_splits=self._traffic_splits.frozen(),
            traffic_targets=self._traffic_targets.frozen(),
            http_route_groups=self._http_route_groups.frozen(),
            tcp_routes=self._tcp_routes.frozen(),
            config=self.config,
        )

    def _store(self, ref: ObjectRef, value: MeshObject | None) -> None:
        if ref.kind in self._clustered:
            _assign(self._clustered[ref.kind], ref.name, value)
        else:
            _assign(self._namespaced[ref.kind], (ref.namespace, ref.name), value)


def _assign(table: _Table[K, MeshObject], key: K, value: MeshObject | None) -> None:
    if value is None:
        table.drop(key)
    else:
        table.put(key, value)
