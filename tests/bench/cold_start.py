"""`cold_start`: from decoded values to all resources encoded and framed, in CPU time per service."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

from deploy.live_mesh import LiveMesh
from smi.files import FileChange
from smi.index import Upsert
from tests.bench import meshes
from tests.bench.records import Must, Record, say
from xds.store import Store

SIZES = (1_000, 10_000)
_MOST = 300.0


def measure(*, quick: bool = False) -> Iterator[Record]:
    """Microseconds per service of taking a whole mesh into a control plane that has nothing."""
    for size in (100,) if quick else SIZES:
        say(f"cold_start: {size} services")
        events = tuple(map(Upsert, meshes.mesh(size)))
        live = LiveMesh(Store())
        gc.collect()
        begin = time.process_time()
        live.take(FileChange(events, ()))
        spent = time.process_time() - begin
        params = {"services": size, "endpoints": size * meshes.ENDPOINTS}
        yield Record("cold_start", spent / size * 1e6, "us/service", None, params, Must(value=_MOST))
