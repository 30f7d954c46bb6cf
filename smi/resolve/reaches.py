"""What each sidecar may call: its outbound scope, and in explicit mode its local listeners."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from smi.index import MeshObjects
from smi.model import LocalListener, PortKey, Reach
from smi.objects import CaptureMode, Workload
from smi.resolve import codes
from smi.resolve.findings import Findings
from smi.resolve.services import ServiceTable
from smi.resolve.settings import declared_reach

EVERYTHING = "reach/*"
LARGE_SCOPE = 2000
"""Services in one scope above which a sidecar gets large: 143 MB were measured with 1,000, 448 MB with 5,000."""

Closure = Callable[[Iterable[PortKey]], frozenset[PortKey]]
"""Given frontends, every backend that they may lead to, themselves included."""


def resolve_reach(
    workload: Workload, table: ServiceTable, objects: MeshObjects, closure: Closure, known: dict[str, Reach]
) -> Reach:
    """The scope of one workload. Explicit workloads reach their upstreams; others what is declared, or everything.

    Scopes in `known` are not built again: thousands of workloads may share one of thousands of services.
    """
    if workload.capture is CaptureMode.EXPLICIT:
        wanted = sorted({PortKey(u.namespace, u.service, u.port) for u in workload.upstreams})
        name = "upstreams/" + _digest(wanted)
        return known.get(name) or _reach(name, False, (key for key in wanted if key in table.ports), closure)
    text, _ = declared_reach(objects, workload)
    places = parse_reaches(text)
    if not places:
        return known.get(EVERYTHING) or _reach(EVERYTHING, True, table.ports, closure)
    name = "reach/" + _digest(places)
    frontends = (key for key in table.ports if key.namespace in places or f"{key.namespace}/{key.service}" in places)
    return known.get(name) or _reach(name, True, frontends, closure)


def parse_reaches(text: str) -> tuple[str, ...]:
    """The places named by a `tulle.dev/reaches` annotation: namespaces, or `namespace/service`; sorted."""
    return tuple(sorted({place.strip() for place in text.split(",")} - {""}))


def known_places(objects: MeshObjects) -> frozenset[str]:
    """What a `tulle.dev/reaches` annotation may name: namespaces that have Services, and those Services."""
    namespaces = {namespace for namespace, _ in objects.services}
    return frozenset(namespaces | {f"{namespace}/{name}" for namespace, name in objects.services})


def check_places(workload: Workload, places: frozenset[str], objects: MeshObjects, findings: Findings) -> None:
    """Report what a workload is declared to reach, and is not there."""
    text, source = declared_reach(objects, workload)
    if source is None or workload.capture is not CaptureMode.TRANSPARENT:
        return
    for place in parse_reaches(text):
        if place not in places:
            findings.add(codes.REACH_UNKNOWN, f"tulle.dev/reaches names {place}, where no Service is", source)


def check_size(workload: Workload, reach: Reach, objects: MeshObjects, findings: Findings) -> None:
    """Report a scope that is too large for a small sidecar: once for each, however many workloads share it."""
    if len({(key.namespace, key.service) for key in reach.frontends}) > LARGE_SCOPE:
        _, source = declared_reach(objects, workload)
        message = f"its sidecar, and each of equal scope, is sent more than {LARGE_SCOPE} Services; narrow it"
        findings.add(codes.REACH_LARGE, message, source or workload)


def local_listeners(
    workload: Workload, table: ServiceTable, objects: MeshObjects, findings: Findings
) -> tuple[LocalListener, ...]:
    """Explicit mode: one listener for each upstream that exists."""
    listeners = []
    for upstream in workload.upstreams:
        key = PortKey(upstream.namespace, upstream.service, upstream.port)
        resolved = table.ports.get(key)
        if resolved is not None:
            listeners.append(LocalListener("127.0.0.1", upstream.local_port, key, resolved.protocol))
            continue
        known = (upstream.namespace, upstream.service) in objects.services
        reason = f"has no TCP port {upstream.port}" if known else "is not a Service"
        findings.add(codes.UPSTREAM_MISSING, f"upstream {upstream.namespace}/{upstream.service} {reason}", workload)
    return tuple(listeners)


def _reach(name: str, transparent: bool, frontends: Iterable[PortKey], closure: Closure) -> Reach:
    chosen = frozenset(frontends)
    return Reach(name, transparent, chosen, closure(chosen))


def _digest(parts: Iterable[object]) -> str:
    return hashlib.sha256(repr([str(part) for part in parts]).encode()).hexdigest()[:12]
