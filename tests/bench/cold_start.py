"""`cold_start`: from decoded values to all resources encoded and framed, and the same again after one edit."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from deploy.configuration import Translation
from smi.index import MeshIndex, Upsert
from smi.resolve import resolve
from tests.bench import meshes
from tests.bench.records import Record

SIZES = (1_000, 10_000)


def measure(sizes: Iterable[int] = SIZES) -> Iterator[Record]:
    """Microseconds per service of a start from nothing, and milliseconds of one edit, at several sizes."""
    for size in sizes:
        index = MeshIndex()
        index.apply(Upsert(each) for each in meshes.mesh(size))
        translation = Translation()
        begin = time.process_time()
        translation.configuration(resolve(index.snapshot()))
        whole = time.process_time() - begin
        yield Record("cold_start", whole / size * 1e6, "us/service", None, {"services": size, "endpoints": size * 10})
        index.apply([Upsert(meshes.workload(0, meshes.ENDPOINTS))])
        begin = time.process_time()
        translation.configuration(resolve(index.snapshot()))
        edit = time.process_time() - begin
        yield Record("recompute_after_edit", edit * 1e3, "ms", None, {"services": size, "endpoints": size * 10})
