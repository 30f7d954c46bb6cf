"""`convergence`: from the event to the last acknowledgement, with 1,000 proxies; `convergence_file`: from the write.

The mesh is a directory that the control plane follows. Edits of `convergence` are events at the index, half of them
weights of a split, half of them endpoints; those of `convergence_file` write a split of the directory anew.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from smi.index import ObjectEvent, Upsert
from tests.bench import meshes
from tests.bench.arena import Arena, Push, arena
from tests.bench.mesh_files import write_mesh, write_split
from tests.bench.records import Must, Record, quantile, say

SERVICES, PROXIES, EDITS, FILE_EDITS = 100, 1_000, 200, 20
_BLOCK = 20
_LONGEST = 120.0
"""Seconds after which no new block of edits begins; the record says how many there were."""
_MOST_RATIO = 1.5
_MOST_ADDED = 150.0
_QUANTILES = {"p50": 0.5, "p90": 0.9}


def measure(*, quick: bool = False) -> Iterator[Record]:
    """Records in milliseconds, p50 and p90."""
    services, proxies, edits, file_edits = (10, 20, 8, 3) if quick else (SERVICES, PROXIES, EDITS, FILE_EDITS)
    say(f"convergence: {services} services, {proxies} proxies")
    with tempfile.TemporaryDirectory(prefix="tulle-bench-") as name:
        directory = Path(name)
        write_mesh(directory, services, proxies)
        with arena(proxies, lambda server: int(server.call("start_from_files", directory))) as both:
            ours, floor = _alternating(both, services, edits)
            params = {"proxies": proxies, "services": services}
            for share, value in _QUANTILES.items():
                record = Record(
                    "convergence",
                    quantile(ours, value),
                    "ms",
                    quantile(floor, value),
                    {**params, "edits": len(ours), "quantile": share},
                    Must(ratio=_MOST_RATIO),
                )
                yield record
            files, beside = _file_edits(both, directory, file_edits)
    params = {**params, "edits": file_edits}
    for share, value in _QUANTILES.items():
        yield Record(
            "convergence_file", quantile(files, value), "ms", quantile(floor, value), {**params, "quantile": share}
        )
    added = quantile(files, 0.5) - quantile(beside, 0.5)
    yield Record("convergence_file_added", added, "ms", None, {**params, "quantile": "p50"}, Must(value=_MOST_ADDED))


def _alternating(both: Arena, services: int, edits: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each edit, of both sides, in alternating blocks."""
    kinds = [[Upsert(meshes.split(10))], [Upsert(meshes.moved(1, 1))]]
    payloads = [both.record(events) for events in kinds]
    ours: list[float] = []
    floor: list[float] = []
    end = time.monotonic() + _LONGEST
    while len(ours) < edits and time.monotonic() < end:
        block = range(len(ours), min(edits, len(ours) + _BLOCK))
        both.ours.quiet()
        ours += [_ms(both.ours.push(_edit(services, number), tuple(payloads[number % 2]))) for number in block]
        both.floor.quiet()
        # The floor varies little, and time is short.
        fewer = block[: -(-len(block) * 2 // 5)]
        floor += [_ms(both.floor.push(payloads[number % 2], tuple(payloads[number % 2]))) for number in fewer]
    return ours, floor


def _edit(services: int, number: int) -> Sequence[ObjectEvent]:
    if number % 2:
        return [Upsert(meshes.moved(number % services, 2 + number))]
    return [Upsert(meshes.split(20 + number // 2 % 60))]


def _file_edits(both: Arena, directory: Path, edits: int) -> tuple[list[float], list[float]]:
    """Milliseconds from before the write to the last acknowledgement; and of equal events at the index, in between."""
    both.ours.fleet.call("record")
    write_split(directory, 10)
    time.sleep(1.0)
    both.ours.quiet()
    types = tuple(both.ours.fleet.call("recorded"))
    times, beside = [], []
    for number in range(edits):
        both.ours.quiet()
        arrival = both.ours.fleet.post("expect", types)
        both.ours.fleet.call("counts")
        begin = time.monotonic()
        write_split(directory, 20 + number % 60)
        times.append(_ms(Push(begin, both.ours.fleet.wait(arrival))))
        beside.append(_ms(both.ours.push([Upsert(meshes.split(20 + number % 60))], types)))
        # Not in step with the looks of the watcher.
        time.sleep(0.2 + number % 7 * 0.037)
    return times, beside


def _ms(push: Push) -> float:
    return push.seconds * 1e3
