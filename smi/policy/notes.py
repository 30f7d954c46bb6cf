"""What makes a decision doubtful or moot: who calls cannot prove who it is, or does not get as far."""

from __future__ import annotations

from collections.abc import Iterable

from smi.model import PortKey, WorkloadKey
from smi.objects import CaptureMode
from smi.policy.decision import Call
from smi.policy.ground import Ground
from smi.resolve.members import Member
from smi.resolve.mesh import MeshModel

_MOST_NAMES = 3


def calls(member: Member, call: Call) -> bool:
    """Whether the workload may be the one that calls."""
    workload = member.workload
    return (workload.meta.namespace, workload.service_account) == tuple(call.source)


def notes_on(call: Call, mesh: MeshModel, ground: Ground) -> tuple[str, ...]:
    """The notes on a call, each one line."""
    callers = [member for member in ground.members if calls(member, call)]
    if not callers:
        return (f"no workload has the service account {call.source}: nobody makes this call yet",)
    notes = []
    if bare := [member for member in callers if not member.workload.sidecar]:
        notes.append(
            f"{_names(bare)} has no sidecar and cannot prove to be {call.source}: its calls are refused wherever mTLS"
            " is strict or a policy applies"
        )
    outside, unserved = [], []
    for member in callers:
        proxy = mesh.proxies.get(WorkloadKey(member.workload.meta.namespace, member.workload.meta.name))
        if proxy is None:
            continue
        if call.to not in mesh.scopes[proxy.reach].frontends:
            outside.append(member)
        elif member.workload.capture is CaptureMode.TRANSPARENT and not _has_address(call.to, mesh, ground):
            unserved.append(member)
    service = f"{call.to.namespace}/{call.to.service}"
    if outside:
        notes.append(f"{service} port {call.to.port} is outside the reach of {_names(outside)}: it is not routed there")
    if unserved:
        notes.append(
            f"{service} has no address that the sidecar of {_names(unserved)} could serve: give it a clusterIP"
        )
    return tuple(notes)


def _has_address(key: PortKey, mesh: MeshModel, ground: Ground) -> bool:
    service = ground.objects.services[key.namespace, key.service]
    return service.headless or key in mesh.addresses or not service.selector


def _names(members: Iterable[Member]) -> str:
    names = sorted(f"{member.workload.meta.namespace}/{member.workload.meta.name}" for member in members)
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
