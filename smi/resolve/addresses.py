"""Workloads in explicit mode share their host's addresses: each address and port belongs to one sidecar.

Two Envoys that listen on one port do not fail: the kernel gives each a part of the connections, and clients would reach
now the one workload, now the other. So the mesh itself decides whose the port is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from smi.index import MeshObjects
from smi.objects import CaptureMode, Upstream, Workload, WorkloadPort
from smi.resolve import codes
from smi.resolve.findings import Findings
from smi.resolve.services import age_key

_LOOPBACK = "127.0.0.1"


class _Taken:
    """Who has which (host, address, port). Workloads with one address are on one host."""

    def __init__(self, findings: Findings) -> None:
        self._holders: dict[tuple[str, str, int], Workload] = {}
        self._findings = findings

    def ports(self, workload: Workload) -> Iterable[WorkloadPort]:
        return [port for port in workload.ports if self._take(workload, workload.address, port.port)]

    def upstreams(self, workload: Workload) -> Iterable[Upstream]:
        return [upstream for upstream in workload.upstreams if self._take(workload, _LOOPBACK, upstream.local_port)]

    def _take(self, workload: Workload, address: str, number: int) -> bool:
        holder = self._holders.setdefault((workload.address, address, number), workload)
        if holder is not workload:
            message = f"{address}:{number} already belongs to {holder.ref}, which keeps it"
            self._findings.add(codes.ADDRESS_CONFLICT, message, workload)
        return holder is workload


def without_taken_addresses(objects: MeshObjects, findings: Findings) -> MeshObjects:
    """`objects` in which each workload has only those ports and upstreams whose address no older one has."""
    taken = _Taken(findings)
    workloads = dict(objects.workloads)
    for key, workload in sorted(objects.workloads.items(), key=lambda item: age_key(item[1])):
        if workload.capture is CaptureMode.EXPLICIT and workload.sidecar:
            ports, upstreams = tuple(taken.ports(workload)), tuple(taken.upstreams(workload))
            workloads[key] = dataclasses.replace(workload, ports=ports, upstreams=upstreams)
    return dataclasses.replace(objects, workloads=workloads)
