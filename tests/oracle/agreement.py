"""Tries a judge on cases; the first disagreement is told with the smallest mesh that shows it."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from smi.index import MeshObjects
from tests.oracle.calls import Call, Verdict
from tests.oracle.cases import Case, objects_of
from tests.oracle.judges import Court
from tests.oracle.meshes import Document
from tests.oracle.oracle import Oracle
from tests.oracle.shrinking import pasteable, shrunk

_ROUNDED = Fraction(1, 2**28)


def disagreement(cases: Iterable[Case], court: Court) -> str | None:
    """What `court` says differently from the oracle, or None."""
    for case in cases:
        objects = objects_of(case.documents)
        oracle, judge = Oracle(objects), court(objects)
        for call in case.calls:
            if not same(judge.decide(call), oracle.decide(call)):
                return _told(case, call, court)
    return None


def same(said: Verdict | None, other: Verdict) -> bool:
    """Whether a judge, if asked, says what the oracle says.

    Weights whose sum is beyond 32 bits are scaled down, so shares may differ by what that takes.
    """
    return said is None or (
        said.endpoints == other.endpoints
        and said.shares.keys() == other.shares.keys()
        and all(abs(share - other.shares[name]) < _ROUNDED for name, share in said.shares.items())
    )


def possible(objects: MeshObjects, call: Call) -> bool:
    """Whether there is such a service port, and whoever calls it has a way to do so."""
    if Oracle(objects).port_of(call.service, call.port) is None:
        return False
    source = objects.workloads.get(call.source) if call.source else None
    if source is None or source.capture == "transparent":
        return call.source is None or (source is not None and bool(objects.services[call.service].cluster_ips))
    return any((up.namespace, up.service, up.port) == (*call.service, call.port) for up in source.upstreams)


def _told(case: Case, call: Call, court: Court) -> str:
    def shows(documents: list[Document], call: Call) -> bool:
        try:
            objects = objects_of(documents)
            return possible(objects, call) and not same(court(objects).decide(call), Oracle(objects).decide(call))
        except (AssertionError, KeyError, StopIteration):
            return False

    documents, call = shrunk([*case.documents], call, shows)
    objects = objects_of(documents)
    lines = [
        f"mesh {case.seed}: {call}",
        f"oracle: {Oracle(objects).decide(call)}",
        f"judge: {court(objects).decide(call)}",
    ]
    return "\n".join([*lines, pasteable(documents)])
