"""`reconnect_storm`: 2,000 proxies come at once to a control plane that has just started.

Cold: they hold nothing. Warm: they come again after the server was killed, with the versions they hold; each needs its
new certificate only. A time ends when the last proxy has everything. `retried` counts streams that ended and were
opened anew: with this many handshakes at once some fail in gRPC's client, before anything was sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.arena import Side, begin_floor, begin_ours, profile, state_directory
from tests.bench.credentials import make_credentials
from tests.bench.fleet import Counts
from tests.bench.processes import Child
from tests.bench.records import Must, Record, say
from xds.resource import TypeUrl

SERVICES, PROXIES = 200, 2_000
_MOST_RATIO = 1.5


@dataclass(frozen=True, slots=True)
class _Storm:
    seconds: float
    bytes: int
    failures: int


def measure(*, quick: bool = False) -> Iterator[Record]:
    """Seconds until all have everything, and megabytes sent, cold and warm."""
    services, proxies = (10, 40) if quick else (SERVICES, PROXIES)
    say(f"reconnect_storm: {services} services, {proxies} proxies")

    def start(server: Child) -> int:
        return int(server.call("start", services, proxies + 1))

    credentials = make_credentials()
    with state_directory() as state:
        with ExitStack() as stack:
            ours = begin_ours(stack, credentials, state, start)
            ours.connect(1)
            initial = ours.fleet.call("recorded")
            with profile(ours.server):
                cold = _cold(ours, proxies)
            say(f"cold: {cold}")
            ours.fleet.call("disconnect")
            ours.server.kill()
            ours.fleet.call("record")
            again = begin_ours(stack, credentials, state, start)
            with profile(again.server):
                warm = _warm(Side(again.server, ours.fleet, again.port))
            say(f"warm: {warm}")
            fresh = {str(TypeUrl.SECRET): ours.fleet.call("recorded")[TypeUrl.SECRET]}
        with ExitStack() as stack:
            floor = begin_floor(stack, credentials, initial)
            floor.connect(1)
            cold_floor = _cold(floor, proxies)
            say(f"cold floor: {cold_floor}")
            floor.fleet.call("disconnect")
            floor.server.kill()
            again = begin_floor(stack, credentials, fresh)
            warm_floor = _warm(Side(again.server, floor.fleet, again.port))
            say(f"warm floor: {warm_floor}")
    for name, storm, least in (("cold", cold, cold_floor), ("warm", warm, warm_floor)):
        params = {"start": name, "proxies": proxies, "services": services}
        must = Must(ratio=_MOST_RATIO)
        yield Record("reconnect_storm", storm.seconds, "s", least.seconds, {**params, "retried": storm.failures}, must)
        yield Record("reconnect_bytes", storm.bytes / 1e6, "MB", least.bytes / 1e6, params)


def _cold(side: Side, proxies: int) -> _Storm:
    before: Counts = side.fleet.call("counts")
    return _storm(side, before, side.connect(proxies, at_once=proxies))


def _warm(side: Side) -> _Storm:
    before: Counts = side.fleet.call("counts")
    begin = time.monotonic()
    return _storm(side, before, side.fleet.call("reconnect", side.port) - begin)


def _storm(side: Side, before: Counts, seconds: float) -> _Storm:
    side.quiet()
    after: Counts = side.fleet.call("counts")
    failures = sum(after.failures.values()) - sum(before.failures.values())
    return _Storm(seconds, after.bytes - before.bytes, failures)
