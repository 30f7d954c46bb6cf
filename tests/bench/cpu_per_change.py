"""`cpu_per_change`: CPU time of the server process for one change that concerns 50 proxies, at several sizes.

Of a removed service, its listener goes at once and is measured; its cluster goes when the listener's connections are
drained, a minute later, together with all others that are due, and is not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from smi.index import ObjectEvent
from tests.bench.arena import Arena, Side, arena
from tests.bench.edits import KINDS, Kind
from tests.bench.fleet import Payload
from tests.bench.records import Must, Record, median, say

SIZES = (100, 1_000, 10_000)
PROXIES = 50
_ROUNDS = 3
_LONGEST_ROUND = 3.0
"""Seconds that a round may take; a change that takes longer is made once."""
_MOST_EDITS = 10


def measure(*, quick: bool = False) -> Iterator[Record]:
    """A record for each kind of change and size, in milliseconds, and how the cost grows with the mesh."""
    if quick:
        yield from _measure(20, 5, rounds=1)
        return
    by_change: dict[object, list[Record]] = {}
    for size in SIZES:
        for record in _measure(size, PROXIES, _ROUNDS):
            by_change.setdefault(record.params["change"], []).append(record)
            yield record
    for change, (small, *_, large) in by_change.items():
        params = {"change": change, "services": f"{SIZES[-1]} to {SIZES[0]}"}
        yield Record("cpu_growth", large.value, "ms", small.value, params, Must(ratio=1.3))


def _measure(size: int, proxies: int, rounds: int) -> Iterator[Record]:
    say(f"cpu_per_change: {size} services, {proxies} proxies")
    with arena(proxies, lambda server: int(server.call("start", size, proxies)), most_at_once=10) as both:
        for kind in KINDS:
            for change, costs in _costs(both, kind, size, rounds).items():
                params = {"change": change, "services": size, "proxies": proxies}
                must = Must(ratio=2.0) if size == SIZES[0] else None
                yield Record("cpu_per_change", median(costs.ours), "ms", median(costs.floor), params, must)


class _Costs:
    def __init__(self, types: Sequence[str]) -> None:
        self.types = types
        self.ours: list[float] = []
        self.floor: list[float] = []


def _costs(both: Arena, kind: Kind, size: int, rounds: int) -> dict[str, _Costs]:
    """CPU milliseconds per change of each round, of both sides."""
    begin = time.monotonic()
    costs = {kind.name: _Costs(tuple(both.record(kind.events(size, 0))))}
    took = time.monotonic() - begin
    if kind.back_name:
        costs[kind.back_name] = _Costs(tuple(both.record(kind.back(size, 0))))
    edits = max(1, min(_MOST_EDITS, int(_LONGEST_ROUND / took)))
    if took > _LONGEST_ROUND:
        rounds = 1
    for number in range(rounds):
        numbers = range(1 + number * edits, 1 + (number + 1) * edits)
        _round(both, costs[kind.name], [kind.events(size, each) for each in numbers])
        if kind.back_name:
            _round(both, costs[kind.back_name], [kind.back(size, each) for each in numbers])
    return costs


def _round(both: Arena, costs: _Costs, changes: Sequence[Sequence[ObjectEvent]]) -> None:
    """Our side makes the changes, then the floor writes the same."""
    both.ours.quiet()
    before = both.ours.usage().cpu
    payloads: list[Payload] = []
    for events in changes:
        both.ours.fleet.call("record")
        both.ours.push(events, costs.types)
        payloads.append(both.ours.fleet.call("recorded"))
    both.ours.quiet()
    costs.ours.append((both.ours.usage().cpu - before) / len(changes) * 1e3)
    costs.floor.append(_written(both.floor, payloads, costs.types))


def _written(floor: Side, payloads: Sequence[Payload], types: Sequence[str]) -> float:
    before = floor.usage().cpu
    for payload in payloads:
        floor.push(payload, types)
    floor.quiet()
    return (floor.usage().cpu - before) / len(payloads) * 1e3
