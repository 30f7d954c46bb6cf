"""What each sidecar may call: its outbound scope, and in explicit mode its local listeners."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from smi.model import LocalListener, PortKey
from smi.objects import CaptureMode, Workload
from smi.protocol import Protocol
from smi.resolve import codes
from smi.resolve.declared import LOOPBACK, Declared
from smi.resolve.findings import Findings
from smi.resolve.settings import declared_reach

LARGE_SCOPE = 2000
"""Services in one scope above which a sidecar gets large: 143 MB were measured with 1,000, 448 MB with 5,000."""


@dataclass(frozen=True, slots=True)
class ReachSpec:
    """What a scope was declared to be. `places`: namespaces and `namespace/service`; none of them: everything.

    `ports` is set in explicit mode: the upstreams.
    """

    name: str
    places: tuple[str, ...] = ()
    ports: tuple[PortKey, ...] | None = None

    @property
    def transparent(self) -> bool:
        return self.ports is None


EVERYTHING = ReachSpec("reach/*")
"""The scope where nothing is declared."""


def reach_of(workload: Workload, declared: Declared) -> ReachSpec:
    """The scope of one workload. Explicit workloads reach their upstreams; others what is declared, or everything."""
    if workload.capture is CaptureMode.EXPLICIT:
        wanted = {PortKey(each.namespace, each.service, each.port) for each in workload.upstreams}
        return _of_upstreams(tuple(sorted(wanted)))
    text, _ = declared_reach(declared, workload)
    return _of_places(text) if text else EVERYTHING


@lru_cache(maxsize=4096)
def _of_upstreams(wanted: tuple[PortKey, ...]) -> ReachSpec:
    return ReachSpec("upstreams/" + _digest(wanted), ports=wanted)


@lru_cache(maxsize=4096)
def _of_places(text: str) -> ReachSpec:
    places = parse_reaches(text)
    return ReachSpec("reach/" + _digest(places), places) if places else EVERYTHING


def parse_reaches(text: str) -> tuple[str, ...]:
    """The places named by a `tulle.dev/reaches` annotation: namespaces, or `namespace/service`; sorted."""
    return tuple(sorted({place.strip() for place in text.split(",")} - {""}))


def check_places(workload: Workload, declared: Declared, findings: Findings) -> None:
    """Report what a transparent workload is declared to reach, and is not there."""
    text, source = declared_reach(declared, workload)
    if source is None:
        return
    for place in parse_reaches(text):
        namespace, slash, name = place.partition("/")
        known = (namespace, name) in declared.services if slash else namespace in declared.services_by_namespace
        if not known:
            findings.add(codes.REACH_UNKNOWN, f"tulle.dev/reaches names {place}, where no Service is", source)


def check_size(workload: Workload, services: int, declared: Declared, findings: Findings) -> None:
    """Report a scope of so many Services, which `workload` and perhaps others have, if its sidecars will be large."""
    if services > LARGE_SCOPE:
        _, source = declared_reach(declared, workload)
        message = f"its sidecar, and each of equal scope, is sent more than {LARGE_SCOPE} Services; narrow it"
        findings.add(codes.REACH_LARGE, message, source or workload)


def local_listeners(
    workload: Workload, protocol_at: Callable[[PortKey], Protocol | None], declared: Declared, findings: Findings
) -> tuple[LocalListener, ...]:
    """Explicit mode: one listener for each upstream that exists, as `protocol_at` knows."""
    listeners = []
    for upstream in workload.upstreams:
        key = PortKey(upstream.namespace, upstream.service, upstream.port)
        protocol = protocol_at(key)
        if protocol is not None:
            listeners.append(LocalListener(LOOPBACK, upstream.local_port, key, protocol))
            continue
        known = (upstream.namespace, upstream.service) in declared.services
        reason = f"has no TCP port {upstream.port}" if known else "is not a Service"
        findings.add(codes.UPSTREAM_MISSING, f"upstream {upstream.namespace}/{upstream.service} {reason}", workload)
    return tuple(listeners)


def _digest(parts: tuple[object, ...]) -> str:
    return hashlib.sha256(repr([str(part) for part in parts]).encode()).hexdigest()[:12]
