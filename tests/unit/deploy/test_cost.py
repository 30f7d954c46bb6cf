"""What a change costs does not grow with the mesh: counted in calls, which no busy machine disturbs."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from smi.files import FileChange
from smi.index import Delete, ObjectEvent, Upsert
from smi.objects import Backend, Meta, TrafficSplit
from tests.bench import meshes
from tests.unit.deploy.conftest import Scene, Sink

SMALL, LARGE = 30, 300


def split(weight: int) -> TrafficSplit:
    backends = (Backend("service-1", weight), Backend("service-2", 100 - weight))
    return TrafficSplit(meta=Meta(namespace=meshes.NAMESPACE, name="split"), service="service-0", backends=backends)


EDITS: dict[str, list[ObjectEvent]] = {
    "weight": [Upsert(split(80))],
    "endpoint added": [Upsert(meshes.workload(0, meshes.ENDPOINTS))],
    "endpoint removed": [Delete(meshes.workload(0, 0).ref)],
    "service added": [Upsert(each) for each in meshes.service_objects(9000)],
    "service removed": [Delete(each.ref) for each in meshes.service_objects(5)],
    "target added": [Upsert(meshes.target(0, "other"))],
}


def calls(work: Callable[[], object]) -> int:
    """How many functions `work` calls, built-in ones included."""
    count = 0

    def counter(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(counter)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("edit", EDITS)
def test_a_change_costs_the_same_in_a_mesh_ten_times_as_large(edit: str) -> None:
    counts = []
    for size in (SMALL, LARGE):
        scene = Scene()
        scene.declare(*meshes.mesh(size), split(90))
        Sink(scene.store, "shop/client")
        change = FileChange(tuple(EDITS[edit]), ())
        counts.append(calls(lambda scene=scene, change=change: scene.live.take(change)))
    small, large = counts
    assert large <= small * 1.05 + 20, f"{small} calls with {SMALL} services, {large} with {LARGE}"
