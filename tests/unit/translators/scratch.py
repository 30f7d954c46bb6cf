"""What is served for a mesh model, made from scratch in the plainest way: the measure for the incremental one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.message import Message

from deploy.configuration import CAPTURE_SCOPE, MESH_SCOPE, TRUST_SCOPE, Configuration, encoded
from smi.model import MeshSnapshot, Reach
from smi.objects import CaptureMode
from translators import names, owners
from xds.resource import Resource
from xds.view import View


def configuration(mesh: MeshSnapshot) -> Configuration:
    """All scopes and views of `mesh`."""
    made = Configuration()
    made.scopes[MESH_SCOPE] = _contents(owners.mesh_resources())
    made.scopes[CAPTURE_SCOPE] = _contents(owners.capture_resources(mesh.settings))
    for reach in mesh.reaches.values():
        made.scopes[reach.name] = _contents(_reachable(mesh, reach))
    for found in mesh.classes.values():
        inbound = [*owners.class_resources(found), *owners.access_resources(found)]
        made.scopes[names.inbound(found.name)] = _contents(inbound)
    for key, proxy in mesh.proxies.items():
        scopes = [MESH_SCOPE, TRUST_SCOPE, names.inbound(proxy.class_name), proxy.reach]
        if proxy.local:
            made.scopes[f"local/{key}"] = _contents(owners.local_resources(proxy.local))
            scopes.append(f"local/{key}")
        if proxy.capture is CaptureMode.TRANSPARENT:
            scopes.append(CAPTURE_SCOPE)
        made.views[key] = View(tuple(scopes))
    made.scopes = {name: contents for name, contents in made.scopes.items() if contents}
    return made


def _reachable(mesh: MeshSnapshot, reach: Reach) -> Iterator[Message]:
    for key in reach.backends:
        yield from owners.backend_resources(mesh.backends[key], mesh.settings.trust_domain)
        yield from owners.endpoint_resources(mesh.endpoints[key])
    for key in reach.frontends:
        yield from owners.frontend_resources(mesh.frontends[key])
        if reach.transparent:
            if key in mesh.addresses:
                yield from owners.address_resources(mesh.addresses[key])
            for endpoint in mesh.headless.get(key, ()):
                yield from owners.headless_resources(endpoint)


def _contents(messages: Iterable[Message]) -> dict[tuple[str, str], Resource]:
    return {(made.type_url, made.name): made for made in map(encoded, messages)}
