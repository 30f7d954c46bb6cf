"""`cold_start`: from decoded values to all resources encoded and framed, and what one edit costs after it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from deploy.live_mesh import LiveMesh
from smi.files import FileChange
from smi.index import Upsert
from tests.bench import meshes
from tests.bench.records import Record
from xds.store import Store

SIZES = (1_000, 10_000)


def measure(sizes: Iterable[int] = SIZES) -> Iterator[Record]:
    """Microseconds per service of a start from nothing, and milliseconds of one edit, at several sizes."""
    for size in sizes:
        live = LiveMesh(Store())
        whole = _seconds(live, tuple(Upsert(each) for each in meshes.mesh(size)))
        yield Record("cold_start", whole / size * 1e6, "us/service", None, {"services": size, "endpoints": size * 10})
        edit = _seconds(live, (Upsert(meshes.workload(0, meshes.ENDPOINTS)),))
        yield Record("recompute_after_edit", edit * 1e3, "ms", None, {"services": size, "endpoints": size * 10})


def _seconds(live: LiveMesh, events: tuple[Upsert, ...]) -> float:
    begin = time.process_time()
    live.take(FileChange(events, ()))
    return time.process_time() - begin
