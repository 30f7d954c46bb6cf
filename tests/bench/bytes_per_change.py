"""`bytes_per_change`: what one change sends to a proxy it concerns, and to one it does not, at several sizes.

Counted without a network: the bytes of the responses, by the real stream state machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from deploy.live_mesh import LiveMesh
from smi.files import FileChange
from smi.index import Delete, ObjectEvent, Upsert
from smi.model import WorkloadKey
from smi.objects import Meta
from tests.bench import meshes
from tests.bench.proxies import BenchProxy
from tests.bench.records import Must, Record, say
from xds.store import Store

SIZES = (100, 1_000, 10_000)
MOST = {
    "weight edit": 1_000,
    "endpoint added": 2_000,
    "endpoint removed": 2_000,
    "service added": 2_500,
    "TrafficTarget added": 1_500,
}


def measure(sizes: Sequence[int] = SIZES, *, quick: bool = False) -> Iterator[Record]:
    """Records for a weight edit, an endpoint, a service, and a TrafficTarget, and how they grow with the mesh."""
    by_change: dict[object, list[Record]] = {}
    for size in sizes[:1] if quick else sizes:
        for record in _measure(size):
            by_change.setdefault(record.params["change"], []).append(record)
            yield record
    for change, (small, *_, large) in by_change.items() if len(sizes) > 1 and not quick else ():
        params = {"change": change, "services": f"{sizes[-1]} to {sizes[0]}"}
        yield Record("bytes_growth", large.value, "B", small.value, params, Must(ratio=1.1))


def _measure(size: int) -> Iterator[Record]:
    say(f"bytes_per_change: {size} services")
    store = Store()
    live = LiveMesh(store)
    _apply(live, [Upsert(each) for each in (*meshes.mesh(size), meshes.split(90))])
    client = BenchProxy(store, WorkloadKey(meshes.NAMESPACE, "client"))
    server = BenchProxy(store, WorkloadKey(meshes.NAMESPACE, "workload-0-0"))
    bystander = _bystander(live, store)
    for proxy in (client, server, bystander):
        proxy.drain()
    unconcerned = 0
    for change, concerned, events in (
        ("weight edit", client, [Upsert(meshes.split(80))]),
        ("endpoint added", client, [Upsert(meshes.workload(0, meshes.ENDPOINTS))]),
        ("endpoint removed", client, [Delete(meshes.workload(0, meshes.ENDPOINTS).ref)]),
        ("service added", client, [Upsert(each) for each in meshes.service_objects(size)]),
        ("TrafficTarget added", server, [Upsert(meshes.target(0, "other"))]),
    ):
        client.drain()
        server.drain()
        _apply(live, events)
        sent = concerned.drain()
        params = {"change": change, "services": size}
        yield Record("bytes_per_change", sent, "B", None, params, Must(value=MOST[change]))
        unconcerned += bystander.drain()
    params = {"change": "all of them", "services": size}
    yield Record("bytes_unconcerned", unconcerned, "B", None, params, Must(value=0))


def _bystander(live: LiveMesh, store: Store) -> BenchProxy:
    """A proxy whose scope is one service that nothing here touches."""
    narrow = dataclasses.replace(
        meshes.CLIENT,
        meta=Meta(namespace="elsewhere", name="bystander", annotations={"tulle.dev/reaches": "shop/service-9"}),
    )
    _apply(live, [Upsert(narrow)])
    return BenchProxy(store, WorkloadKey("elsewhere", "bystander"))


def _apply(live: LiveMesh, events: Iterable[ObjectEvent]) -> None:
    live.take(FileChange(tuple(events), ()))
