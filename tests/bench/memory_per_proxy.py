"""`memory_per_proxy`: what the server's process grows by for each connected proxy with 1,000 services in view."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.arena import Side, arena
from tests.bench.records import Must, Record, say

SERVICES, FIRST, MORE = 1_000, 50, 250
_MOST_ABOVE = 30.0


def measure(*, quick: bool = False) -> Iterator[Record]:
    """One record in kB, each of 1,000 bytes. The first proxies are not counted: what they cost, is needed once."""
    services, first, more = (20, 5, 20) if quick else (SERVICES, FIRST, MORE)
    say(f"memory_per_proxy: {services} services, {first} + {more} proxies")
    with arena(1, lambda server: int(server.call("start", services, first + more))) as both:
        ours, floor = (_kilobytes(side, first - 1, more) for side in (both.ours, both.floor))
    params = {"proxies": more, "services": services}
    yield Record("memory_per_proxy", ours, "kB", floor, params, Must(above=_MOST_ABOVE))


def _kilobytes(side: Side, first: int, more: int) -> float:
    side.connect(first, at_once=8)
    before = _settled(side)
    side.connect(more, at_once=8)
    return (_settled(side) - before) / more / 1e3


def _settled(side: Side) -> int:
    """Bytes that are resident when nothing is under way."""
    side.quiet()
    side.server.call("tidy")
    return side.usage().rss
