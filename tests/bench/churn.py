"""`churn`: endpoints that change 100 times per second for a minute, with 500 proxies that see all of it.

Every change moves one endpoint to an address that numbers it, so that a proxy's answers tell which changes it has.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from smi.index import Upsert
from tests.bench import meshes
from tests.bench.arena import Arena, arena
from tests.bench.records import Must, Record, median, quantile, say

SERVICES, PROXIES, RATE, SECONDS = 200, 500, 100.0, 60
_FLOOR_ROUNDS = 30
_MOST_RATIO = 3.0
_PATIENCE = 5.0
"""Seconds after the last change was due in which a control plane that is behind may still take changes."""


def measure(*, quick: bool = False) -> Iterator[Record]:
    """Milliseconds from when an event was due to its last acknowledgement, and what is left behind at the end."""
    services, proxies, rate, seconds = (10, 10, 20.0, 3) if quick else (SERVICES, PROXIES, RATE, SECONDS)
    changes = int(rate * seconds)
    say(f"churn: {services} services, {proxies} proxies, {rate:.0f} changes per second for {seconds} s")
    with arena(proxies, lambda server: int(server.call("start", services, proxies))) as both:
        floor = _fan_out(both)
        both.ours.quiet()
        before = both.ours.fleet.call("counts").responses
        both.ours.fleet.call("mark", changes, services)
        due, taken = both.ours.server.call("churn", changes, services, rate, seconds + _PATIENCE)
        time.sleep(max(0.0, due[-1] + _MOST_RATIO * floor / 1e3 - time.monotonic()))
        missing, _ = both.ours.fleet.call("marked")
        backlog = sum(map(bool, missing))
        both.ours.quiet()
        missing, last = both.ours.fleet.call("marked")
        end = time.monotonic()
        responses = both.ours.fleet.call("counts").responses - before
    # What has not reached everyone by now counts as if it did at this moment.
    times = [
        ((end if lacking else moment) - begin) * 1e3 for lacking, moment, begin in zip(missing, last, due, strict=True)
    ]
    params = {"proxies": proxies, "services": services, "rate": rate, "seconds": seconds}
    yield Record("churn", quantile(times, 0.5), "ms", floor, {**params, "quantile": "p50"})
    yield Record("churn", quantile(times, 0.99), "ms", floor, {**params, "quantile": "p99"}, Must(ratio=_MOST_RATIO))
    yield Record("churn_backlog", backlog, "changes", None, params, Must(value=0))
    yield Record("churn_merged", taken * proxies / max(1, responses), "changes/response", None, params)


def _fan_out(both: Arena) -> float:
    """Milliseconds the floor needs for one change to reach all proxies: the median."""
    payload = both.record([Upsert(meshes.moved(0, 1))])
    return median(both.floor.push(payload, tuple(payload)).seconds * 1e3 for _ in range(_FLOOR_ROUNDS))
