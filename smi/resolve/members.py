"""Workloads as members of the mesh: with an identity, a class, and those ports that no older workload has.

Workloads in explicit mode share their host's addresses, and two Envoys that listen on one port do not fail: the kernel
gives each a part of the connections, and clients would reach now the one workload, now the other. So the mesh itself
decides whose the port is.
"""

from __future__ import annotations

import dataclasses
import hashlib
from functools import lru_cache
from typing import NamedTuple

from ca.identity import IdentityError, WorkloadIdentity, workload_identity
from smi.objects import CaptureMode, Workload
from smi.resolve import codes
from smi.resolve.age import age_key
from smi.resolve.declared import LABELS_OF_ONE_POD, LOOPBACK, Declared, ports_wanted
from smi.resolve.findings import Findings
from smi.resolve.reaches import ReachSpec, reach_of
from smi.resolve.settings import overrides

_Port = tuple[str, int, int | None]


class Member(NamedTuple):
    """A workload that can be sent to. Without a sidecar it has no identity, no class, and no scope."""

    workload: Workload
    identity: WorkloadIdentity | None = None
    class_name: str = ""
    reach: ReachSpec | None = None


def resolve_member(workload: Workload, declared: Declared, findings: Findings) -> Member | None:
    """A workload as a member; None if it has a sidecar and can have no identity: nothing may lead to it."""
    if not workload.sidecar:
        return Member(workload)
    try:
        identity = workload_identity(declared.trust_domain, workload.meta.namespace, workload.service_account)
    except IdentityError as error:
        findings.add(codes.IDENTITY_INVALID, str(error), workload)
        return None
    if workload.capture is CaptureMode.EXPLICIT:
        workload = _without_taken_ports(workload, declared, findings)
    return Member(workload, identity, class_name(workload, declared), reach_of(workload, declared))


def class_name(workload: Workload, declared: Declared) -> str:
    """A name made only of what the workload itself is: it outlives changes of Services, policies, and settings, so
    that listeners are changed in place and never renamed. Labels count, since they decide which Services select it;
    those that tell pods apart would make a class of every pod, and count only where a Service selects on them.
    """
    meta, labels = workload.meta, workload.meta.labels
    if not LABELS_OF_ONE_POD.isdisjoint(labels):
        selected = declared.services_by_pod_label
        labels = {name: labels[name] for name in labels if name not in LABELS_OF_ONE_POD or name in selected}
    ports = tuple([(port.name, port.port, port.app_port) for port in workload.ports])
    return _named(
        meta.namespace,
        workload.service_account,
        workload.address if workload.capture is CaptureMode.EXPLICIT else None,
        ports if len(ports) == 1 else tuple(sorted(ports, key=_by_number)),
        tuple(labels.items()) if len(labels) == 1 else tuple(sorted(labels.items())),
        overrides(meta.annotations) if meta.annotations else (),
    )


def _by_number(port: _Port) -> tuple[str, int, int]:
    return (port[0], port[1], port[2] or 0)


@lru_cache(maxsize=4096)
def _named(  # a memo of positions
    namespace: str,
    service_account: str,
    address: str | None,
    ports: tuple[_Port, ...],
    labels: tuple[tuple[str, str], ...],
    settings: tuple[tuple[str, str], ...],
) -> str:
    """`address` is None for transparent workloads, which may be anywhere."""
    capture = CaptureMode.TRANSPARENT if address is None else CaptureMode.EXPLICIT
    traits = (capture.value, address or "", list(ports), list(labels), settings)
    return f"{namespace}/{service_account}/{hashlib.sha256(repr(traits).encode()).hexdigest()[:8]}"


def _without_taken_ports(workload: Workload, declared: Declared, findings: Findings) -> Workload:
    """`workload` with only those ports and upstreams whose address no older workload of its host has."""
    refused = set()
    for place in ports_wanted(workload):
        holder = _holder(place, declared) or workload
        if holder.ref != workload.ref and place not in refused:
            refused.add(place)
            message = f"{place[1]}:{place[2]} already belongs to {holder.ref}, which keeps it"
            findings.add(codes.ADDRESS_CONFLICT, message, workload)
    if not refused:
        return workload
    host = workload.address
    return dataclasses.replace(
        workload,
        ports=tuple(port for port in workload.ports if (host, host, port.port) not in refused),
        upstreams=tuple(each for each in workload.upstreams if (host, LOOPBACK, each.local_port) not in refused),
    )


def _holder(place: tuple[str, str, int], declared: Declared) -> Workload | None:
    wanting = (declared.workloads.get(key) for key in declared.workloads_by_port.of(place))
    return min((each for each in wanting if each is not None and _can_join(each, declared)), key=age_key, default=None)


def _can_join(workload: Workload, declared: Declared) -> bool:
    try:
        workload_identity(declared.trust_domain, workload.meta.namespace, workload.service_account)
    except IdentityError:
        return False
    return True
