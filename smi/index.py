"""The index of what is declared now. It has one writer, takes events, and tells which objects changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

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
    UDPRoute,
    Workload,
)

Key = tuple[str, str]
"""Namespace and name."""

DEFAULT_CONFIG = MeshConfig(meta=Meta(namespace="", name="default"))
"""What holds while no MeshConfig is declared."""

_CLUSTERED = (Namespace, MeshConfig)
_WITHOUT_NAMESPACE = frozenset(kind.__name__ for kind in _CLUSTERED)
_NAMESPACED = (ServiceAccount, Service, Workload, TrafficSplit, TrafficTarget, HTTPRouteGroup, TCPRoute, UDPRoute)


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


class ObjectChange(NamedTuple):
    """An object that is another one now. `key` is its name, with its namespace where its kind has one."""

    kind: str
    key: Any
    old: Any
    new: Any


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
    udp_routes: Mapping[Key, UDPRoute]
    config: MeshConfig = DEFAULT_CONFIG

    def events(self) -> list[Upsert]:
        """What makes an empty index hold all this."""
        tables: tuple[Mapping[Any, MeshObject], ...] = (
            self.namespaces,
            self.service_accounts,
            self.services,
            self.workloads,
            self.traffic_splits,
            self.traffic_targets,
            self.http_route_groups,
            self.tcp_routes,
            self.udp_routes,
        )
        found = [Upsert(each) for table in tables for each in table.values()]
        return found if self.config is DEFAULT_CONFIG else [*found, Upsert(self.config)]


class MeshIndex:
    """The declared objects by kind. Reading is by attributes that follow every change, or by `snapshot()`."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[Any, Any]] = {kind.__name__: {} for kind in (*_CLUSTERED, *_NAMESPACED)}
        self.namespaces: Mapping[str, Namespace] = MappingProxyType(self._tables["Namespace"])
        self.service_accounts: Mapping[Key, ServiceAccount] = MappingProxyType(self._tables["ServiceAccount"])
        self.services: Mapping[Key, Service] = MappingProxyType(self._tables["Service"])
        self.workloads: Mapping[Key, Workload] = MappingProxyType(self._tables["Workload"])
        self.traffic_splits: Mapping[Key, TrafficSplit] = MappingProxyType(self._tables["TrafficSplit"])
        self.traffic_targets: Mapping[Key, TrafficTarget] = MappingProxyType(self._tables["TrafficTarget"])
        self.http_route_groups: Mapping[Key, HTTPRouteGroup] = MappingProxyType(self._tables["HTTPRouteGroup"])
        self.tcp_routes: Mapping[Key, TCPRoute] = MappingProxyType(self._tables["TCPRoute"])
        self.udp_routes: Mapping[Key, UDPRoute] = MappingProxyType(self._tables["UDPRoute"])

    @property
    def config(self) -> MeshConfig:
        """The declared MeshConfig, or the defaults."""
        found: MeshConfig = self._tables["MeshConfig"].get("default", DEFAULT_CONFIG)
        return found

    def get(self, ref: ObjectRef) -> MeshObject | None:
        """The object named by `ref`, or None. Raises KeyError for a kind that no index holds."""
        found: MeshObject | None = self._tables[ref.kind].get(_key(ref))
        return found

    def apply(self, events: Iterable[ObjectEvent]) -> list[ObjectChange]:
        """Take the events in their order; gives the objects whose value is another one now.

        An object that only moved to another place of a file has not changed, but its new place is known from now on.
        A change and its reversal in one call are no change. Raises KeyError for a kind that no index holds.
        """
        before: dict[tuple[str, Any], MeshObject | None] = {}
        for event in events:
            if isinstance(event, Upsert):
                value = event.object
                kind, meta = type(value).__name__, value.meta
                table = self._tables[kind]
                key = meta.name if kind in _WITHOUT_NAMESPACE else (meta.namespace, meta.name)
                before.setdefault((kind, key), table.get(key))
                table[key] = value
            else:
                kind, key = event.ref.kind, _key(event.ref)
                before.setdefault((kind, key), self._tables[kind].pop(key, None))
        changes = []
        for (kind, key), old in before.items():
            new = self._tables[kind].get(key)
            if new is not old and (new is None or old is None or new != old):
                changes.append(ObjectChange(kind, key, old, new))
        return changes

    def snapshot(self) -> MeshObjects:
        """The present content, frozen, and sorted: equal content is iterated equally, whatever the history was."""
        return MeshObjects(
            namespaces=_frozen(self.namespaces),
            service_accounts=_frozen(self.service_accounts),
            services=_frozen(self.services),
            workloads=_frozen(self.workloads),
            traffic_splits=_frozen(self.traffic_splits),
            traffic_targets=_frozen(self.traffic_targets),
            http_route_groups=_frozen(self.http_route_groups),
            tcp_routes=_frozen(self.tcp_routes),
            udp_routes=_frozen(self.udp_routes),
            config=self.config,
        )


def _key(ref: ObjectRef) -> Any:
    return ref.name if ref.kind in _WITHOUT_NAMESPACE else (ref.namespace, ref.name)


def _frozen(table: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType({key: table[key] for key in sorted(table)})
