"""A verdict -> what may be seen of a call from outside: which statuses, and who may answer."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from smi.protocol import protocol_of
from tests.oracle.calls import Call, Place
from tests.oracle.oracle import Oracle
from tests.oracle.real_hosts import CLOSED, Outcome

UNAVAILABLE: Outcome = (503, None)
FORBIDDEN: Outcome = (403, None)


def expected(oracle: Oracle, call: Call) -> dict[frozenset[Outcome], Fraction]:
    """Each part of the calls and what may be seen of it. A sidecar that reads HTTP answers with a status where another
    one only closes the connection.
    """
    verdict = oracle.decide(call)
    port = oracle.port_of(call.service, call.port)
    assert port is not None, call
    failed = UNAVAILABLE if protocol_of(port)[0].is_http else CLOSED
    if not verdict.shares:
        return {frozenset({failed}): Fraction(1)}
    found: dict[frozenset[Outcome], Fraction] = {}
    for name, share in verdict.shares.items():
        seen = frozenset(_at(oracle, place, ok, failed) for place, ok in verdict.endpoints[name].items())
        seen = seen or frozenset({failed})
        found[seen] = found.get(seen, Fraction(0)) + share
    return found


def expected_in_plaintext(oracle: Oracle, call: Call, place: Place) -> frozenset[Outcome]:
    """What may be seen of a call that a client outside of the mesh makes straight to `place`."""
    if oracle.allows(place, call):
        return frozenset({(200, place)})
    return frozenset({CLOSED, FORBIDDEN})


def _at(oracle: Oracle, place: Place, allowed: bool, failed: Outcome) -> Outcome:
    if allowed:
        return 200, place
    leading = oracle.leading_to(place)
    return FORBIDDEN if leading and protocol_of(leading[0])[0].is_http else failed


def disjoint(parts: Mapping[frozenset[Outcome], Fraction]) -> bool:
    """Whether every outcome tells which part it belongs to."""
    return sum(len(part) for part in parts) == len(frozenset().union(*parts))
