"""The mesh model -> what each proxy is served: resources in scopes, and each proxy's view of scopes.

Only slices that changed are translated and encoded, and what a port owns goes to exactly the scopes that hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.message import Message

from deploy.port_resources import PortResources
from deploy.scope_edits import Resources, ScopeEdits
from smi.model import PortKey, ProxyModel, WorkloadClass, WorkloadKey
from smi.objects import CaptureMode
from smi.resolve.mesh import MeshModel, ModelChange
from translators import names, owners
from xds.resource import Resource, TypeUrl, named, resource
from xds.store import ScopeChange
from xds.view import View

MESH_SCOPE = "mesh"
CAPTURE_SCOPE = "capture"
TRUST_SCOPE = "trust"
"""Filled by whoever holds the trust bundle: certificates are no part of the mesh model."""
_SENT_LAST = 100
"""The rank of the virtual listener. Sent first, Envoy would be ready, and service traffic leave in plaintext."""


@dataclass(frozen=True, slots=True)
class ServedChange:
    """What changes in what is served. A view that is None is that of a proxy that is no more."""

    scopes: tuple[ScopeChange, ...]
    views: Mapping[WorkloadKey, View | None]


class Configuration:
    """All that is served, as a plain value: what the changes of a translation add up to."""

    def __init__(self) -> None:
        self.scopes: dict[str, dict[tuple[str, str], Resource]] = {}
        self.views: dict[WorkloadKey, View] = {}

    def take(self, change: ServedChange) -> None:
        """Follow one change."""
        for edit in change.scopes:
            contents = self.scopes.setdefault(edit.scope, {})
            for key in edit.removals:
                del contents[key]
            contents.update(((each.type_url, each.name), each) for each in edit.upserts)
            if not contents:
                del self.scopes[edit.scope]
        for proxy, view in change.views.items():
            if view is None:
                del self.views[proxy]
            else:
                self.views[proxy] = view

    def of_proxy(self, key: WorkloadKey) -> list[Resource]:
        """All resources of one proxy, sorted by type and name. Raises KeyError for an unknown proxy."""
        merged: dict[tuple[str, str], Resource] = {}
        for scope in reversed(self.views[key].scopes):
            merged.update(self.scopes.get(scope, {}))
        order = list(TypeUrl)
        return sorted(merged.values(), key=lambda each: (order.index(each.type_url), each.order))


class Translation:
    """Follows a mesh model: each change of the model must be given to `follow`, in order, just after it happened."""

    def __init__(self, mesh: MeshModel) -> None:
        self._mesh = mesh
        self._backends = PortResources(self._translate_backend)
        self._endpoints = PortResources(self._translate_endpoints)
        self._frontends = PortResources(self._translate_frontend)
        self._listeners = PortResources(self._translate_listeners)
        self._inbound: dict[str, tuple[Resources, Resources]] = {}
        self._local: dict[WorkloadKey, Resources] = {}
        self._mesh_wide: dict[str, Resources] = {}

    def follow(self, change: ModelChange) -> ServedChange:
        """What `change` does to what is served."""
        edits = ScopeEdits()
        if change.settings or not self._mesh_wide:
            self._follow_settings(edits)
        self._follow_ports(change, edits)
        for name, old in change.classes.items():
            self._follow_class(name, old, edits)
        views: dict[WorkloadKey, View | None] = {}
        for key in change.proxies:
            proxy = self._mesh.proxies.get(key)
            if key in self._local or (proxy is not None and proxy.local):
                self._follow_local(key, proxy, edits)
            views[key] = None if proxy is None else _view(proxy)
        return ServedChange(edits.changes(), views)

    def _follow_settings(self, edits: ScopeEdits) -> None:
        made = {
            MESH_SCOPE: encoded_all(owners.mesh_resources()),
            CAPTURE_SCOPE: encoded_all(owners.capture_resources(self._mesh.settings)),
        }
        for scope, new in made.items():
            edits.replace(scope, self._mesh_wide.get(scope, ()), new)
        self._mesh_wide = made

    def _follow_ports(self, change: ModelChange, edits: ScopeEdits) -> None:
        mesh = self._mesh
        shifts = change.scopes.items()
        backends = {name: shift.backends for name, shift in shifts if shift.backends}
        frontends = {name: shift.frontends for name, shift in shifts if shift.frontends}
        transparent = {name: shift.frontends for name, shift in shifts if shift.frontends and shift.transparent}
        # A cluster names the trust domain, which is a setting.
        outdated = mesh.backends if change.settings else change.backends
        self._backends.follow(outdated, backends, self._with_backend, edits)
        self._endpoints.follow(change.endpoints, backends, self._with_backend, edits)
        self._frontends.follow(change.frontends, frontends, self._with_frontend, edits)
        listeners = {**change.addresses, **change.headless}
        self._listeners.follow(listeners, transparent, self._transparent_with, edits)

    def _with_backend(self, key: PortKey) -> Iterable[str]:
        return self._mesh.scopes_with_backend.get(key, ())

    def _with_frontend(self, key: PortKey) -> Iterable[str]:
        return self._mesh.scopes_with_frontend.get(key, ())

    def _transparent_with(self, key: PortKey) -> Iterable[str]:
        """Explicit scopes have listeners of their own."""
        return [name for name in self._with_frontend(key) if self._mesh.scopes[name].spec.transparent]

    def _translate_backend(self, key: PortKey) -> Resources:
        return encoded_all(owners.backend_resources(self._mesh.backends[key], self._mesh.settings.trust_domain))

    def _translate_endpoints(self, key: PortKey) -> Resources:
        return encoded_all(owners.endpoint_resources(self._mesh.endpoints[key]))

    def _translate_frontend(self, key: PortKey) -> Resources:
        return encoded_all(owners.frontend_resources(self._mesh.frontends[key]))

    def _translate_listeners(self, key: PortKey) -> Resources:
        return encoded_all(self._listeners_of(key))

    def _listeners_of(self, key: PortKey) -> Iterator[Message]:
        address = self._mesh.addresses.get(key)
        if address is not None:
            yield from owners.address_resources(address)
        for endpoint in self._mesh.headless.get(key, ()):
            yield from owners.headless_resources(endpoint)

    def _follow_class(self, name: str, old: WorkloadClass | None, edits: ScopeEdits) -> None:
        """Access changes much more often than ports do, and is most of what a class is."""
        known = self._inbound.pop(name, ((), ()))
        new = self._mesh.classes.get(name)
        made: tuple[Resources, Resources] = ((), ())
        if new is not None:
            same_ports = old is not None and old.listener == new.listener
            inbound = known[0] if same_ports else encoded_all(owners.class_resources(new))
            made = self._inbound[name] = (inbound, encoded_all(owners.access_resources(new)))
        edits.replace(names.inbound(name), known[0] + known[1], made[0] + made[1])

    def _follow_local(self, key: WorkloadKey, proxy: ProxyModel | None, edits: ScopeEdits) -> None:
        known = self._local.pop(key, ())
        new = encoded_all(owners.local_resources(proxy.local)) if proxy is not None else ()
        if new:
            self._local[key] = new
        edits.replace(_local_scope(key), known, new)


def encoded_all(messages: Iterable[Message]) -> Resources:
    return tuple(encoded(message) for message in messages)


def encoded(message: Message) -> Resource:
    """`message` as an xDS resource, under the name that it carries itself."""
    type_url, name = named(message)
    rank = _SENT_LAST if name == names.VIRTUAL_OUTBOUND_LISTENER else 0
    return resource(type_url, name, message, rank=rank)


def _view(proxy: ProxyModel) -> View:
    local = _local_scope(proxy.key) if proxy.local else ""
    return _shared(proxy.class_name, proxy.reach, local, proxy.capture is CaptureMode.TRANSPARENT)


@lru_cache(maxsize=4096)
def _shared(class_name: str, reach: str, local: str, transparent: bool) -> View:  # a memo of positions
    """One object for all proxies that see the same: there may be very many of them."""
    scopes = [MESH_SCOPE, TRUST_SCOPE, names.inbound(class_name), reach]
    if local:
        scopes.append(local)
    if transparent:
        scopes.append(CAPTURE_SCOPE)
    return View(tuple(scopes))


def _local_scope(key: WorkloadKey) -> str:
    return f"local/{key}"
