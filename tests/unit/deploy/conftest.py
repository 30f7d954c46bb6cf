"""A live mesh without files and without a network: objects in, and a store to look into."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ca.identity import TrustDomain
from ca.state import CaState, load_or_create
from deploy.live_mesh import LiveMesh
from smi.files import FileChange
from smi.index import Delete, Upsert
from smi.objects import MeshConfig, MeshObject, Meta, Service, ServicePort, Workload, WorkloadPort
from xds.store import Store


class Sink:
    """Stands for a proxy's stream: what the store tells it."""

    def __init__(self, store: Store, proxy: str) -> None:
        self.changed: list[str] = []
        self.revoked: list[str] = []
        store.attach(proxy, self)

    def offer(self, changes):
        self.changed.extend(change.name for change in changes)

    def revoke(self, reason):
        self.revoked.append(reason)


class Scene:
    """A store, and the live mesh that feeds it."""

    def __init__(self) -> None:
        self.store = Store()
        self.live = LiveMesh(self.store)

    def declare(self, *objects: MeshObject) -> bool:
        return self.live.take(FileChange(tuple(Upsert(each) for each in objects), ()))

    def withdraw(self, *objects: MeshObject) -> bool:
        return self.live.take(FileChange(tuple(Delete(each.ref) for each in objects), ()))


def service(name: str) -> Service:
    return Service(
        meta=Meta(namespace="shop", name=name),
        ports=(ServicePort("http", 80, "http"),),
        selector={"app": name},
        cluster_ips=("10.96.0.7",),
    )


def workload(name: str, **changes: object) -> Workload:
    values: dict[str, object] = {
        "meta": Meta(namespace="shop", name=name, labels={"app": name}),
        "service_account": name,
        "address": "10.0.0.1",
        "ports": (WorkloadPort("http", 8080),),
    }
    return Workload(**{**values, **changes})


def config(**settings: object) -> MeshConfig:
    return MeshConfig(meta=Meta(namespace="", name="default"), **settings)


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[CaState]:
    with load_or_create(tmp_path / "state", TrustDomain("cluster.local"), datetime.now(UTC)) as opened:
        yield opened
