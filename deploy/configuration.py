"""The mesh model -> what each proxy is served: resources in scopes, and each proxy's view of scopes.

What a resource was made from is remembered with it, so only slices that changed are translated and encoded again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVarTuple

from google.protobuf.message import Message

from smi.model import MeshSnapshot, ProxyModel, Reach, WorkloadKey
from smi.objects import CaptureMode
from translators import names, owners
from xds.resource import Resource, TypeUrl, resource
from xds.store import ScopeChange
from xds.view import View

MESH_SCOPE = "mesh"
CAPTURE_SCOPE = "capture"
TRUST_SCOPE = "trust"
"""Filled by whoever holds the trust bundle: certificates are no part of the mesh model."""
_SENT_LAST = 100
"""The rank of the virtual listener. Sent first, Envoy would be ready, and service traffic leave in plaintext."""

Slices = TypeVarTuple("Slices")
Contents = dict[tuple[str, str], Resource]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that is served: scopes by name, and the view of each proxy."""

    scopes: Mapping[str, Contents]
    views: Mapping[WorkloadKey, View]

    def of_proxy(self, key: WorkloadKey) -> list[Resource]:
        """All resources of one proxy, sorted by type and name. Raises KeyError for an unknown proxy."""
        scopes = self.views[key].scopes
        merged: Contents = {}
        for scope in reversed(scopes):
            merged.update(self.scopes.get(scope, {}))
        order = list(TypeUrl)
        return sorted(merged.values(), key=lambda each: (order.index(each.type_url), each.order))


EMPTY = Configuration({}, {})


class Translation:
    """Translates mesh models, remembering the last one's resources."""

    def __init__(self) -> None:
        self._remembered: dict[str, tuple[object, tuple[Resource, ...]]] = {}
        self._used: dict[str, tuple[object, tuple[Resource, ...]]] = {}

    def configuration(self, mesh: MeshSnapshot) -> Configuration:
        """What is served for `mesh`. The result depends on `mesh` alone, never on what was remembered."""
        self._used = {}
        scopes: dict[str, Contents] = {
            MESH_SCOPE: _contents(self._made(MESH_SCOPE, owners.mesh_resources)),
            CAPTURE_SCOPE: _contents(self._made(CAPTURE_SCOPE, owners.capture_resources, mesh.settings)),
        }
        for reach in mesh.reaches.values():
            scopes[reach.name] = _contents(self._reachable(mesh, reach))
        for found in mesh.classes.values():
            name = names.inbound(found.name)
            scopes[name] = _contents(
                [
                    *self._made(name, owners.class_resources, found),
                    *self._made(f"access/{name}", owners.access_resources, found),
                ]
            )
        views = {}
        for proxy in mesh.proxies.values():
            if proxy.local:
                name = _local_scope(proxy)
                scopes[name] = _contents(self._made(name, owners.local_resources, proxy.local))
            views[proxy.key] = _view(proxy)
        self._remembered = self._used
        return Configuration(scopes, views)

    def _reachable(self, mesh: MeshSnapshot, reach: Reach) -> Iterator[Resource]:
        domain = mesh.settings.trust_domain
        for key in sorted(reach.backends):
            yield from self._made(f"backend/{key}", owners.backend_resources, mesh.backends[key], domain)
            yield from self._made(f"endpoints/{key}", owners.endpoint_resources, mesh.endpoints[key])
        for key in sorted(reach.frontends):
            yield from self._made(f"frontend/{key}", owners.frontend_resources, mesh.frontends[key])
            if reach.transparent:
                if key in mesh.addresses:
                    yield from self._made(f"address/{key}", owners.address_resources, mesh.addresses[key])
                for endpoint in mesh.headless.get(key, ()):
                    owner = f"headless/{key}/{endpoint.endpoint.address}/{endpoint.endpoint.port}"
                    yield from self._made(owner, owners.headless_resources, endpoint)

    def _made(
        self, owner: str, translate: Callable[[*Slices], Iterator[Message]], *slices: *Slices
    ) -> tuple[Resource, ...]:
        known = self._used.get(owner) or self._remembered.get(owner)
        if known is None or known[0] != slices:
            known = (slices, tuple(encoded(message) for message in translate(*slices)))
        self._used[owner] = known
        return known[1]


def encoded(message: Message) -> Resource:
    """`message` as an xDS resource, under the name that it carries itself."""
    type_url = TypeUrl(f"type.googleapis.com/{message.DESCRIPTOR.full_name}")
    name = str(getattr(message, "cluster_name" if type_url is TypeUrl.ENDPOINT else "name"))
    rank = _SENT_LAST if name == names.VIRTUAL_OUTBOUND_LISTENER else 0
    return resource(type_url, name, message, rank=rank)


def changes(old: Configuration, new: Configuration) -> list[ScopeChange]:
    """What turns the scopes of `old` into those of `new`."""
    found = []
    for name in {**old.scopes, **new.scopes}:
        before, after = old.scopes.get(name, {}), new.scopes.get(name, {})
        upserts = tuple(made for key, made in after.items() if before.get(key) is not made)
        removals = tuple(key for key in before if key not in after)
        if upserts or removals:
            found.append(ScopeChange(name, upserts, removals))
    return found


def _view(proxy: ProxyModel) -> View:
    scopes = [MESH_SCOPE, TRUST_SCOPE, names.inbound(proxy.class_name), proxy.reach]
    if proxy.local:
        scopes.append(_local_scope(proxy))
    if proxy.capture is CaptureMode.TRANSPARENT:
        scopes.append(CAPTURE_SCOPE)
    return View(tuple(scopes))


def _local_scope(proxy: ProxyModel) -> str:
    return f"local/{proxy.key}"


def _contents(resources: Iterable[Resource]) -> Contents:
    return {(made.type_url, made.name): made for made in resources}
