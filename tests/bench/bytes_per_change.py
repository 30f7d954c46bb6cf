"""`bytes_per_change`: what one change sends to a proxy it concerns, and to one it does not, at several sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from deploy.live_mesh import LiveMesh
from smi.files import FileChange
from smi.index import Delete, ObjectEvent, Upsert
from smi.model import WorkloadKey
from smi.objects import Backend, Meta, TrafficSplit
from tests.bench import meshes
from tests.bench.proxies import BenchProxy
from tests.bench.records import Record
from xds.store import Store

SIZES = (100, 1_000, 10_000)


def measure(sizes: Iterable[int] = SIZES) -> Iterator[Record]:
    """Records for a weight edit, an endpoint, a service, and a TrafficTarget."""
    for size in sizes:
        yield from _measure(size)


def _measure(size: int) -> Iterator[Record]:
    store = Store()
    live = LiveMesh(store)
    _apply(live, [Upsert(each) for each in (*meshes.mesh(size), _split(90))])
    client = BenchProxy(store, WorkloadKey(meshes.NAMESPACE, "client"))
    server = BenchProxy(store, WorkloadKey(meshes.NAMESPACE, "workload-0-0"))
    bystander = _bystander(live, store)
    for proxy in (client, server, bystander):
        proxy.drain()
    new = meshes.service_objects(size)
    for change, concerned, events in (
        ("weight edit", client, [Upsert(_split(80))]),
        ("endpoint added", client, [Upsert(meshes.workload(0, meshes.ENDPOINTS))]),
        ("endpoint removed", client, [Delete(meshes.workload(0, meshes.ENDPOINTS).ref)]),
        ("service added", client, [Upsert(each) for each in new]),
        ("TrafficTarget added", server, [Upsert(meshes.target(0, "other"))]),
    ):
        client.drain()
        server.drain()
        _apply(live, events)
        sent = concerned.drain()
        yield Record("bytes_per_change", sent, "B", None, {"change": change, "services": size})
        unconcerned = bystander.drain()
        if unconcerned:
            yield Record("bytes_unconcerned", unconcerned, "B", None, {"change": change, "services": size})


def _bystander(live: LiveMesh, store: Store) -> BenchProxy:
    """A proxy whose scope is one service that nothing here touches."""
    narrow = dataclasses.replace(
        meshes.CLIENT,
        meta=Meta(namespace="elsewhere", name="bystander", annotations={"tulle.dev/reaches": "shop/service-9"}),
    )
    _apply(live, [Upsert(narrow)])
    return BenchProxy(store, WorkloadKey("elsewhere", "bystander"))


def _split(weight: int) -> TrafficSplit:
    return TrafficSplit(
        meta=Meta(namespace=meshes.NAMESPACE, name="split"),
        service="service-0",
        backends=(Backend("service-1", weight), Backend("service-2", 100 - weight)),
    )


def _apply(live: LiveMesh, events: Iterable[ObjectEvent]) -> None:
    live.take(FileChange(tuple(events), ()))
