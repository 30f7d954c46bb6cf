"""TrafficSplits -> the ordered rules of each service port.

Source of the rules: the SMI Traffic Split specification (v1alpha4), and the README of this package where the
specification leaves a case open.
"""

from __future__ import annotations

from collections.abc import Iterable

from smi.index import MeshObjects
from smi.model import Frontend, PortKey, Rule, WeightedPort
from smi.objects import HTTPMatch, TrafficSplit
from smi.resolve import codes
from smi.resolve.findings import Findings
from smi.resolve.services import ResolvedPort, ServiceTable, age_key

_MAX_TOTAL_WEIGHT = 2**32 - 1
"""Envoy refuses weighted clusters whose weights sum to more."""


def splits_by_root(objects: MeshObjects, findings: Findings) -> dict[tuple[str, str], list[TrafficSplit]]:
    """The splits in force for each root service: those with matches in order of age, then at most one without."""
    grouped: dict[tuple[str, str], list[TrafficSplit]] = {}
    for split in sorted(objects.traffic_splits.values(), key=age_key):
        root = (split.meta.namespace, split.service)
        if root not in objects.services:
            findings.add(codes.ROOT_SERVICE_MISSING, f"there is no Service {'/'.join(root)} to split", split)
        grouped.setdefault(root, []).append(split)
    for root, splits in grouped.items():
        conditional = [s for s in splits if s.matches]
        unconditional = [s for s in splits if not s.matches]
        for loser in unconditional[1:]:
            findings.add(
                codes.SPLIT_CONFLICT,
                f"{unconditional[0].ref} splits {'/'.join(root)} already, and is older",
                loser,
            )
        grouped[root] = conditional + unconditional[:1]
    return grouped


def resolve_frontend(
    resolved: ResolvedPort,
    splits: Iterable[TrafficSplit],
    table: ServiceTable,
    objects: MeshObjects,
    findings: Findings,
) -> Frontend:
    """The rules of one service port. What no split takes goes to the Service's own endpoints."""
    rules = []
    for split in splits:
        matches = _matches(split, resolved, objects, findings)
        if matches is None:
            continue
        rules.append(Rule(_backends(split, resolved.key, table, objects, findings), matches))
    if not rules or rules[-1].matches:
        rules.append(Rule((WeightedPort(resolved.key, 1),)))
    return Frontend(resolved.key, resolved.protocol, tuple(rules))


def _matches(
    split: TrafficSplit, resolved: ResolvedPort, objects: MeshObjects, findings: Findings
) -> tuple[HTTPMatch, ...] | None:
    """What `split` applies to on this port: everything (empty), some requests, or, as None, nothing."""
    if not split.matches:
        return ()
    if not resolved.protocol.is_http:
        findings.add(
            codes.MATCHES_NEED_HTTP,
            f"port {resolved.port.port} of {split.service} is not HTTP: the split has no effect there",
            split,
        )
        return None
    matches: list[HTTPMatch] = []
    for ref in split.matches:
        group = objects.http_route_groups.get((split.meta.namespace, ref.name))
        if ref.kind != "HTTPRouteGroup" or group is None:
            findings.add(
                codes.ROUTE_MISSING,
                f"matches names {ref.kind} {ref.name}, which is not there: split ignored",
                split,
            )
            return None
        matches.extend(group.matches)
    return tuple(matches) or None


def _backends(
    split: TrafficSplit, root: PortKey, table: ServiceTable, objects: MeshObjects, findings: Findings
) -> tuple[WeightedPort, ...]:
    weights: dict[PortKey, int] = {}
    missing_weight = False
    for backend in split.backends:
        key = PortKey(root.namespace, backend.service, root.port)
        if key in table.ports:
            weights[key] = weights.get(key, 0) + backend.weight
            continue
        service = objects.services.get((root.namespace, backend.service))
        if backend.weight == 0:
            continue
        missing_weight = True
        if service is None:
            findings.add(codes.BACKEND_MISSING, f"backend {backend.service} is not a Service: it gets nothing", split)
        else:
            findings.add(
                codes.BACKEND_LACKS_PORT,
                f"backend {backend.service} has no TCP port {root.port}: it gets nothing",
                split,
            )
    used = {key: weight for key, weight in weights.items() if weight > 0}
    if not used and not missing_weight:
        findings.add(codes.ALL_WEIGHTS_ZERO, f"every weight is 0: calls to {split.service} fail", split)
    for key in used:
        if table.ports[key].protocol.is_http != table.ports[root].protocol.is_http:
            findings.add(
                codes.PROTOCOL_MISMATCH,
                f"port {root.port} of {key.service} and of {root.service} differ in protocol",
                split,
            )
    return tuple(WeightedPort(key, weight) for key, weight in sorted(_scaled(used).items()))


def _scaled(weights: dict[PortKey, int]) -> dict[PortKey, int]:
    """The same proportions with a sum that Envoy accepts; nothing that had weight loses all of it."""
    total = sum(weights.values())
    if total <= _MAX_TOTAL_WEIGHT:
        return weights
    room = _MAX_TOTAL_WEIGHT - len(weights)
    return {key: max(1, weight * room // total) for key, weight in weights.items()}


def split_backends(splits: Iterable[TrafficSplit], root: PortKey, table: ServiceTable) -> frozenset[PortKey]:
    """Every port that the splits of a root may lead to, weight 0 included: their clusters are kept warm."""
    named = {PortKey(root.namespace, backend.service, root.port) for split in splits for backend in split.backends}
    return frozenset(key for key in named if key in table.ports)
