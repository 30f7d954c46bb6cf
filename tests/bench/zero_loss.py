"""`zero_loss`: how many requests fail at many real Envoys under load while their mesh is edited. It must be none."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.ports import HeldPorts
from deploy.demo.waiting import eventually
from tests.bench.envoy_edits import ASKED, BESIDE, SERVERS, VERSIONS, ChangingMesh, Ports
from tests.bench.envoy_load import Load, load
from tests.bench.envoy_mesh import client_key
from tests.bench.envoy_plane import PlaneProcess
from tests.bench.envoys import envoys
from tests.bench.records import Must, Record, say

SEED = 20
_PAUSE = 0.12
"""Seconds between edits: less than an edit needs to reach all Envoys, so that edits also meet each other."""
_FAILURES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Size:
    """`rate`: requests per second over all clients."""

    clients: int
    splits: int
    rate: float


SIZES = (Size(clients=3, splits=30, rate=100), Size(clients=30, splits=500, rate=400))


def measure(*, quick: bool = False) -> Iterator[Record]:
    """The number of failures, with what was sent and edited, and the first failures in words."""
    size = SIZES[0] if quick else SIZES[1]
    say(f"zero_loss: {size.clients} clients, {size.splits} split edits")
    with tempfile.TemporaryDirectory() as directory, closing(HeldPorts()) as ports:
        yield asyncio.run(_measure(size, SEED, Path(directory), ports))


async def _measure(size: Size, seed: int, directory: Path, ports: HeldPorts) -> Record:
    applications = [*VERSIONS, "plain-0", "plain-1", *(key.name for key in SERVERS)]
    chosen = Ports(
        {client_key(each): {name: ports.take() for name in (*ASKED, *BESIDE)} for each in range(size.clients)},
        {name: ports.take() for name in applications},
        {key: ports.take() for key in SERVERS},
    )
    mesh = ChangingMesh(chosen, seed)
    sidecars = (*chosen.clients, *SERVERS)
    with (
        PlaneProcess(directory / "state", mesh.objects(), sidecars) as plane,
        envoys(directory, ports) as started,
    ):
        started.start_application({port: name for name, port in chosen.applications.items()})
        for key in sidecars:
            started.start(key, directory / "state", plane.port)
        started.wait_ready()

        async def synced() -> bool:
            return await asyncio.to_thread(plane.synced) == len(sidecars)

        await eventually(synced, "all Envoys to be in sync", within=30)
        asked = [(found[name], name) for found in chosen.clients.values() for name in ASKED]
        begin = time.monotonic()
        async with load(asked, size.rate) as running:
            edits = await _edit(mesh, plane, size.splits)
            await eventually(synced, "all Envoys to be in sync again", within=30)
        seconds = time.monotonic() - begin
        rejections = plane.rejections()
    return _record(size, running, edits, seconds, rejections)


async def _edit(mesh: ChangingMesh, plane: PlaneProcess, splits: int) -> Counter[str]:
    """Make all edits at a steady pace; those that come late follow at once. Gives how many there were of each kind."""
    kinds = mesh.edits(splits)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number, kind in enumerate(kinds):
        await asyncio.sleep(begin + (number + 1) * _PAUSE - loop.time())
        await asyncio.to_thread(plane.take, *mesh.edit(kind))
    return Counter(kinds)


def _record(size: Size, running: Load, edits: Counter[str], seconds: float, rejections: int) -> Record:
    params: dict[str, object] = {
        "envoys": size.clients + len(SERVERS),
        "requests": running.sent,
        "edits": edits.total(),
        **{f"edits_{kind}": count for kind, count in sorted(edits.items())},
        "seconds": round(seconds),
        "connections_ended_in_order": running.announced_ends,
        "rejections": rejections,
    }
    if running.failures:
        params["first"] = "; ".join(running.failures[:_FAILURES_SHOWN])
    return Record("zero_loss", len(running.failures), "failures", None, params, Must(value=0))
