"""Why access is granted or not: which object and match decide, or which came closest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ca.identity import WorkloadIdentity
from smi.model import Grant
from smi.names import closest
from smi.objects import HTTPMatch, HTTPRouteGroup, MeshObject, TCPRoute, TrafficTarget
from smi.policy.decision import Account, Cited, Reason
from smi.policy.ground import Ground, Server, cite
from smi.policy.requests import Request, misses_at_server
from smi.protocol import Protocol
from smi.resolve.access import ResolvedTarget
from smi.resolve.settings import POLICY_ANNOTATION

MOST_REASONS = 3
"""How many of the rules that came closest are told."""


class Asked(NamedTuple):
    """What is asked of a server: by whom, and with which request. `request` None: opaque bytes."""

    source: Account
    identity: WorkloadIdentity
    request: Request | None


def permissive(server: Server, ground: Ground) -> Reason:
    """What made the server's policy permissive."""
    workload = server.workload
    namespace = ground.objects.namespaces.get(workload.meta.namespace)
    holder: MeshObject = ground.objects.config
    for each in (workload, namespace):
        if each is not None and POLICY_ANNOTATION in each.meta.annotations:
            holder = each
            break
    return Reason("the traffic policy is permissive: anyone may call", (cite(holder),))


def granted(grant: Grant, match: HTTPMatch | None, ground: Ground) -> Reason:
    """What allows it: a TrafficTarget, with the match that means the request, or by ports alone."""
    namespace, _, name = grant.name.partition("/")
    target = ground.objects.traffic_targets[namespace, name]
    if match is not None:
        return Reason("", (cite(target), *_where(target, match, ground)))
    routes = [cite(route) for route in _tcp_routes(target, ground)]
    return Reason("", (cite(target), *routes))


def denied(server: Server, asked: Asked, protocol: Protocol, ground: Ground) -> tuple[Reason, ...]:
    """What came closest to allowing it, and why it did not."""
    numbers = ground.numbers(server.workload, server.port)
    found: list[tuple[tuple[int, int], Reason]] = []
    for target, resolved in ground.targets_for(server.account):
        found.extend(_shortfalls(target, resolved, asked, protocol, numbers, ground))
    if not found:
        return (_no_target(server.account, ground),)
    found.sort(key=lambda each: each[0])
    closest_ones = [reason for _, reason in found[:MOST_REASONS]]
    rest = len(found) - len(closest_ones)
    return (*closest_ones, Reason(f"and {rest} more that came no closer")) if rest else tuple(closest_ones)


def _no_target(account: Account, ground: Ground) -> Reason:
    text = f"no TrafficTarget has the destination {account}"
    targets = ground.objects.traffic_targets.values()
    known = {each.destination.name: each for each in targets if each.destination.namespace == account.namespace}
    meant = closest(account.name, known)
    if meant is None:
        return Reason(text)
    return Reason(f"{text}; this one is for {account.namespace}/{meant}:", (cite(known[meant]),))


def _shortfalls(
    target: TrafficTarget,
    resolved: ResolvedTarget | None,
    asked: Asked,
    protocol: Protocol,
    numbers: frozenset[int],
    ground: Ground,
) -> Iterator[tuple[tuple[int, int], Reason]]:
    """Why `target` does not allow it, each with how far it was from that."""
    wrong: list[str] = []
    distance = 0
    if all((each.namespace, each.name) != tuple(asked.source) for each in target.sources):
        sources = ", ".join(f"{each.namespace}/{each.name}" for each in target.sources) or "none"
        wrong.append(f"{asked.source} is not in its sources ({sources})")
        distance = 10
    if resolved is None:
        if target.sources:
            wrong.append(_ruleless(target))
        yield (distance + 4, 0), Reason("; ".join(wrong), (cite(target),))
        return
    if not resolved.covers(numbers):
        wrong.append(_other_ports(target, resolved, numbers, ground))
        distance += 4
    if protocol.is_http and resolved.http is not None and asked.request is not None:
        yield from _matches_missed(target, resolved.http, asked.request, wrong, distance, ground)
        return
    if resolved.ports is None or (protocol.is_http and resolved.http is not None):
        wrong.append(_http_only(protocol))
        distance += 4
    if wrong:
        yield (distance, 0), Reason("; ".join(wrong), (cite(target),))


def _matches_missed(
    target: TrafficTarget,
    matches: tuple[HTTPMatch, ...],
    request: Request,
    wrong: list[str],
    distance: int,
    ground: Ground,
) -> Iterator[tuple[tuple[int, int], Reason]]:
    """Those of `matches` that came closest to the request. `wrong`: what else is against it."""
    missed = [(misses_at_server(match, request), match) for match in matches]
    if not missed:
        yield (distance + 5, 0), Reason("; ".join([*wrong, "none of its matches is in force"]), (cite(target),))
        return
    fewest = min(len(found) for found, _ in missed)
    for position, (found, match) in enumerate(missed):
        if len(found) == fewest and (found or wrong):
            cited = (cite(target), *_where(target, match, ground))
            yield (distance + fewest, position), Reason("; ".join([*wrong, *found]), cited)


def _http_only(protocol: Protocol) -> str:
    if protocol.is_http:
        return "it allows HTTP requests only, and for the called service the port carries opaque bytes"
    return "it allows HTTP requests only, and the port is not HTTP: a TCPRoute can allow it"


def _ruleless(target: TrafficTarget) -> str:
    if target.rules and all(rule.kind == "UDPRoute" for rule in target.rules):
        return "it has UDPRoute rules only, which sidecars do not enforce: they allow nothing"
    return "it has no rules in force"


def _other_ports(target: TrafficTarget, resolved: ResolvedTarget, numbers: frozenset[int], ground: Ground) -> str:
    called = " or ".join(str(number) for number in sorted(numbers))
    if target.ruleless:
        return "it has no rules, which allows nothing unless emptyRules of the MeshConfig is allow"
    if resolved.only_port is not None and resolved.only_port not in numbers:
        return f"its destination.port is {resolved.only_port}, not {called}"
    routes = _tcp_routes(target, ground)
    if not routes:
        return "its TCPRoutes are not there"
    named = ", ".join(f"{route.meta.name}: {', '.join(map(str, sorted(route.ports)))}" for route in routes)
    return f"port {called} is not in its TCPRoutes ({named})"


def _where(target: TrafficTarget, match: HTTPMatch, ground: Ground) -> tuple[Cited, ...]:
    """The HTTPRouteGroup through which `target` means `match`."""
    for rule in target.rules:
        group = _group(target, rule.kind, rule.name, ground)
        if group is not None and match in group.matches and (rule.matches is None or match.name in rule.matches):
            return (cite(group, match.name),)
    return ()


def _group(target: TrafficTarget, kind: str, name: str, ground: Ground) -> HTTPRouteGroup | None:
    return ground.objects.http_route_groups.get((target.meta.namespace, name)) if kind == "HTTPRouteGroup" else None


def _tcp_routes(target: TrafficTarget, ground: Ground) -> list[TCPRoute]:
    found = (
        ground.objects.tcp_routes.get((target.meta.namespace, rule.name))
        for rule in target.rules
        if rule.kind == "TCPRoute"
    )
    return [each for each in found if each is not None]
