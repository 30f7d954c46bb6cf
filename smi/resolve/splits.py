"""TrafficSplits -> the ordered rules of each service port.

Source of the rules: the SMI Traffic Split specification (v1alpha4), and the README of this package where the
specification leaves a case open.
"""

from __future__ import annotations

from collections.abc import Iterable

from smi.index import Key
from smi.model import Frontend, PortKey, Rule, WeightedPort
from smi.objects import HTTPMatch, TrafficSplit
from smi.protocol import Protocol
from smi.resolve import codes
from smi.resolve.age import age_key
from smi.resolve.declared import Declared
from smi.resolve.findings import Findings
from smi.resolve.services import Shapes, protocol_at

_MAX_TOTAL_WEIGHT = 2**32 - 1
"""Envoy refuses weighted clusters whose weights sum to more."""


def resolve_splits(root: Key, declared: Declared, findings: Findings) -> tuple[TrafficSplit, ...] | None:
    """The splits in force for a root service: those with matches in order of age, then at most one without.

    None where there is no split.
    """
    found = [declared.traffic_splits.get(key) for key in declared.splits_by_root.of(root)]
    splits = sorted((split for split in found if split is not None), key=age_key)
    if not splits:
        return None
    conditional = [split for split in splits if split.matches]
    unconditional = [split for split in splits if not split.matches]
    for loser in unconditional[1:]:
        message = f"{unconditional[0].ref} splits {'/'.join(root)} already, and is older"
        findings.add(codes.SPLIT_CONFLICT, message, loser)
    in_force = (*conditional, *unconditional[:1])
    _explain_root(root, in_force, declared, findings)
    _explain_backends_that_are_roots(root, in_force, declared, findings)
    _explain_shadows(conditional, declared, findings)
    return in_force


def _explain_root(root: Key, splits: Iterable[TrafficSplit], declared: Declared, findings: Findings) -> None:
    """Report a root whose calls cannot be split."""
    name, service = "/".join(root), declared.services.get(root)
    for split in splits:
        if service is None:
            findings.add(codes.ROOT_SERVICE_MISSING, f"there is no Service {name} to split", split)
        elif service.external_name:
            findings.add(codes.ROOT_NOT_SPLIT, f"Service {name} is an ExternalName: calls to it are not split", split)
        elif all(port.transport != "TCP" for port in service.ports):
            findings.add(codes.ROOT_NOT_SPLIT, f"Service {name} has no TCP port: nothing of it is split", split)
        elif service.headless:
            message = f"Service {name} is headless: calls to the addresses of its endpoints are not split"
            findings.add(codes.ROOT_NOT_SPLIT, message, split)


def _explain_backends_that_are_roots(
    root: Key, splits: Iterable[TrafficSplit], declared: Declared, findings: Findings
) -> None:
    for split in splits:
        for backend in split.backends:
            key = (root[0], backend.service)
            if key != root and declared.splits_by_root.of(key):
                message = f"backend {backend.service} is split itself, which does not count for this split's part of it"
                findings.add(codes.BACKEND_IS_ROOT, message, split)


def _explain_shadows(conditional: Iterable[TrafficSplit], declared: Declared, findings: Findings) -> None:
    """Report splits whose requests all go to older ones."""
    taken: dict[str, TrafficSplit] = {}
    for split in conditional:
        groups = {ref.name for ref in split.matches}
        if any((split.meta.namespace, name) not in declared.http_route_groups for name in groups):
            continue  # it is ignored, and takes nothing from others
        if groups <= taken.keys():
            older = ", ".join(sorted({str(taken[name].ref) for name in groups}))
            findings.add(codes.SPLIT_SHADOWED, f"every request that it matches goes to the older {older}", split)
        for name in groups:
            taken.setdefault(name, split)


def resolve_frontend(
    key: PortKey,
    protocol: Protocol,
    splits: Iterable[TrafficSplit],
    shapes: Shapes,
    declared: Declared,
    findings: Findings,
) -> Frontend:
    """The rules of one service port. What no split takes goes to the Service's own endpoints."""
    rules = []
    applied = []
    for split in splits:
        matches = _matches(split, key, protocol, declared, findings)
        if matches is not None:
            rules.append(Rule(_backends(split, key, protocol, shapes, declared, findings), matches))
            applied.append(split)
    if not rules or rules[-1].matches:
        rules.append(Rule((WeightedPort(key, 1),)))
        if applied and not _can_be_served(key, shapes):
            message = f"{key.service} has no selector: requests that no split matches fail"
            findings.add(codes.BACKEND_WITHOUT_SELECTOR, message, applied[-1])
    return Frontend(key, protocol, tuple(rules))


def is_split(frontend: Frontend | None) -> bool:
    """Whether calls to this service port lead, or fail, differently from what they would without any split."""
    return frontend is not None and any(
        rule.matches or [backend.key for backend in rule.backends] != [frontend.key] for rule in frontend.rules
    )


def _can_be_served(key: PortKey, shapes: Shapes) -> bool:
    """Whether a Service can have endpoints: without a selector nobody knows what is behind it."""
    shape = shapes.get((key.namespace, key.service))
    return shape is not None and bool(shape.service.selector)


def _matches(
    split: TrafficSplit, key: PortKey, protocol: Protocol, declared: Declared, findings: Findings
) -> tuple[HTTPMatch, ...] | None:
    """What `split` applies to on this port: everything (empty), some requests, or, as None, nothing."""
    if not split.matches:
        return ()
    if not protocol.is_http:
        findings.add(
            codes.MATCHES_NEED_HTTP,
            f"port {key.port} of {split.service} is not HTTP: the split has no effect there",
            split,
        )
        return None
    matches: list[HTTPMatch] = []
    for ref in split.matches:
        group = declared.http_route_groups.get((split.meta.namespace, ref.name))
        if ref.kind != "HTTPRouteGroup" or group is None:
            findings.add(
                codes.ROUTE_MISSING,
                f"matches names {ref.kind} {ref.name}, which is not there: split ignored",
                split,
            )
            return None
        matches.extend(group.matches)
    if not matches:
        names = ", ".join(ref.name for ref in split.matches)
        findings.add(
            codes.NOTHING_MATCHED, f"HTTPRouteGroup {names} has no usable match: the split takes nothing", split
        )
        return None
    return tuple(matches)


def _backends(
    split: TrafficSplit, root: PortKey, protocol: Protocol, shapes: Shapes, declared: Declared, findings: Findings
) -> tuple[WeightedPort, ...]:
    weights: dict[PortKey, int] = {}
    missing_weight = False
    for backend in split.backends:
        key = PortKey(root.namespace, backend.service, root.port)
        spoken = protocol_at(key, shapes)
        if spoken is not None:
            weights[key] = weights.get(key, 0) + backend.weight
            if backend.weight and spoken.is_http != protocol.is_http:
                message = f"port {root.port} of {key.service} and of {root.service} differ in protocol"
                findings.add(codes.PROTOCOL_MISMATCH, message, split)
            if backend.weight and not _can_be_served(key, shapes):
                message = f"backend {backend.service} has no selector: its part of the calls fails"
                findings.add(codes.BACKEND_WITHOUT_SELECTOR, message, split)
            continue
        if backend.weight == 0:
            continue
        missing_weight = True
        service = declared.services.get((root.namespace, backend.service))
        if service is None or service.external_name:
            reason = "is not a Service" if service is None else "is an ExternalName, which the mesh does not lead to"
            findings.add(codes.BACKEND_MISSING, f"backend {backend.service} {reason}: it gets nothing", split)
        else:
            message = f"backend {backend.service} has no TCP port {root.port}: it gets nothing"
            findings.add(codes.BACKEND_LACKS_PORT, message, split)
    used = {key: weight for key, weight in weights.items() if weight > 0}
    if not used and not missing_weight:
        findings.add(codes.ALL_WEIGHTS_ZERO, f"every weight is 0: calls to {split.service} fail", split)
    return tuple(WeightedPort(key, weight) for key, weight in sorted(_scaled(used).items()))


def _scaled(weights: dict[PortKey, int]) -> dict[PortKey, int]:
    """The same proportions with a sum that Envoy accepts; nothing that had weight loses all of it."""
    total = sum(weights.values())
    if total <= _MAX_TOTAL_WEIGHT:
        return weights
    room = _MAX_TOTAL_WEIGHT - len(weights)
    return {key: max(1, weight * room // total) for key, weight in weights.items()}


def leads_to(key: PortKey, splits: Iterable[TrafficSplit], shapes: Shapes) -> tuple[PortKey, ...]:
    """Every port that calls to `key` may be sent to: itself, and the backends of its splits. Those of weight 0 count,
    so that their clusters are kept warm.
    """
    found = {key: None}
    for split in splits:
        for backend in split.backends:
            named = PortKey(key.namespace, backend.service, key.port)
            if protocol_at(named, shapes) is not None:
                found[named] = None
    return tuple(found)
