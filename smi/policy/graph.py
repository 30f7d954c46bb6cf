"""Who may call whom: one edge for each source, destination and object that allows it.

In: a mesh model. Out: edges, sorted. They tell what access tables hold, and which service ports lead there: directly,
or through a split of another service.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from smi.index import Key
from smi.model import Access, Grant, PortKey, WorkloadClass
from smi.objects import Allowance, HTTPMatch, TrafficTarget
from smi.policy.decision import Account, Cited
from smi.policy.ground import Ground, Server, cite
from smi.policy.reasons import permissive
from smi.resolve.mesh import MeshModel


class Way(NamedTuple):
    """A service port that is called, and the one whose endpoints are reached: another one where a split leads there."""

    called: PortKey
    backend: PortKey


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` may call `destination`; None: anyone.

    `ways`: through which service ports; `ports`: on which ports besides, or instead, that no Service leads to, with
    None for all of those. `http`: which requests, None for anything. Not `enforced` is what no sidecar looks at:
    workloads without one, and, where `udp` is not None, the UDP ports of a UDPRoute (none of them: all).
    """

    source: Account | None
    destination: Account
    ways: tuple[Way, ...] = ()
    ports: tuple[int, ...] | None = ()
    http: tuple[HTTPMatch, ...] | None = None
    by: Cited | None = None
    enforced: bool = True
    udp: tuple[int, ...] | None = None


def edges(mesh: MeshModel) -> tuple[Edge, ...]:
    """All edges of the mesh: anyone first, then by source and destination."""
    ground = Ground(mesh.objects)
    ways, plain = _ways(mesh, ground)
    members = {each.class_name: Server(each, 0) for each in ground.members if each.class_name}
    found: dict[Edge, dict[Way, None]] = {}
    for name, workload_class in sorted(mesh.classes.items()):
        for access in workload_class.access:
            leading = ways.get((name, access.port), ())
            for edge in _granted(workload_class, access, members[name], ground, named=bool(leading)):
                found.setdefault(edge, {}).update(dict.fromkeys(leading))
    for account, leading in plain.items():
        found[Edge(None, account, enforced=False)] = leading
    led = [dataclasses.replace(edge, ways=tuple(sorted(leading))) for edge, leading in found.items()]
    return tuple(sorted([*led, *_udp(ground)], key=_order))


def _ways(
    mesh: MeshModel, ground: Ground
) -> tuple[dict[tuple[str, int | None], dict[Way, None]], dict[Account, dict[Way, None]]]:
    """What leads to each target port of each class, and to accounts without a sidecar."""
    ways: dict[tuple[str, int | None], dict[Way, None]] = {}
    plain: dict[Account, dict[Way, None]] = {}
    plain_too = ground.objects.config.plaintext_upstreams is Allowance.ALLOW
    for key, frontend in mesh.frontends.items():
        headless = ground.objects.services[key.namespace, key.service].headless
        led = dict.fromkeys([key] if headless else [each.key for rule in frontend.rules for each in rule.backends])
        for backend in led:
            for server in ground.servers(backend):
                if server.workload.sidecar:
                    leading = ways.setdefault((server.member.class_name, server.port), {})
                    leading[Way(key, backend)] = None
                elif plain_too:
                    plain.setdefault(server.account, {})[Way(key, backend)] = None
    return ways, plain


def _granted(found: WorkloadClass, access: Access, server: Server, ground: Ground, *, named: bool) -> Iterator[Edge]:
    """The edges of one access table, without their ways. Not `named`: no Service leads to its port."""
    destination = Account(found.identity.namespace, found.identity.service_account)
    own: tuple[int, ...] | None = None if access.port is None else () if named else (access.port,)
    if access.everyone:
        yield Edge(None, destination, ports=own, by=permissive(server, ground).cited[0])
        return
    for grant in access.grants:
        ports = grant.ports if access.port is None else own
        for principal in grant.principals:
            source = Account(principal.namespace, principal.service_account)
            yield Edge(source, destination, ports=ports, http=grant.http, by=_target(grant, ground))


def _target(grant: Grant, ground: Ground) -> Cited:
    namespace, _, name = grant.name.partition("/")
    return cite(ground.objects.traffic_targets[namespace, name])


def _udp(ground: Ground) -> Iterator[Edge]:
    """The rules that no sidecar enforces."""
    for target in ground.objects.traffic_targets.values():
        for rule in target.rules:
            key: Key = (target.meta.namespace, rule.name)
            route = ground.objects.udp_routes.get(key) if rule.kind == "UDPRoute" else None
            if route is not None:
                yield from _unenforced(target, route.ports)


def _unenforced(target: TrafficTarget, ports: tuple[int, ...]) -> Iterable[Edge]:
    destination = Account(target.destination.namespace, target.destination.name)
    for source in target.sources:
        account = Account(source.namespace, source.name)
        yield Edge(account, destination, by=cite(target), enforced=False, udp=ports)


def _order(edge: Edge) -> tuple[object, ...]:
    about = "" if edge.by is None else str(edge.by)
    return (edge.source or ("", ""), edge.destination, edge.udp is not None, about, edge.ways, edge.ports or ())
