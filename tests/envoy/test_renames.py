"""Clusters that are renamed under load: each time a route leads to a new one, and the old one is gone with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.demo.waiting import eventually
from tests.envoy.http_wire import HttpConnection
from tests.envoy.running_mesh import RunningMesh
from tests.envoy.steady_load import steady_load
from tests.envoy.store_mesh import CLIENT, store_mesh

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

_RENAMED = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: store}}
spec:
  selector: {{app: store, version: {version}}}
  ports: [{{name: http, port: 80, targetPort: http}}]
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {{name: store, namespace: store}}
spec:
  service: store
  backends: [{{service: {name}, weight: 1}}]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningMesh]:
    async with store_mesh(tmp_path_factory.mktemp("renames")) as running:
        yield running


async def clusters(mesh: RunningMesh) -> set[str]:
    """The HTTP clusters of services that the client's Envoy holds now."""
    found = json.loads(await mesh.admin(CLIENT, "/clusters?format=json"))["cluster_statuses"]
    return {each["name"] for each in found if each["name"].startswith("outbound/") and each["name"].endswith("/80")}


def name(mesh: RunningMesh, backend: str, version: str) -> None:
    """Make `backend` the only one of the store, under a name that nobody had before; `version` answers for it."""
    mesh.apply("split.yaml", _RENAMED.format(name=backend, version=version))


async def nothing_else_is_left(mesh: RunningMesh, backend: str) -> None:
    async def alone() -> bool:
        return await clusters(mesh) == {"outbound/store/store/80", f"outbound/store/{backend}/80"}

    await eventually(alone, "the clusters of other names to be gone")


async def rename(mesh: RunningMesh, times: int) -> None:
    """Rename the only backend of the store again and again; each name is in force before the next one comes."""
    name(mesh, "renamed-first", "v2")
    await nothing_else_is_left(mesh, "renamed-first")
    removed_before = await mesh.counter(CLIENT, "cluster_manager.cluster_removed")
    async with steady_load(mesh.port["store"]), await HttpConnection.open(mesh.port["store"]) as asking:
        for number in range(times):
            # Versions take turns, so that answers tell when a name is in force.
            version = ("v1", "v2")[number % 2]
            name(mesh, f"renamed-{number}", version)

            async def in_force(version: str = version) -> bool:
                answer = await asking.request("/")
                assert answer.status == 200, answer
                return answer.version == version

            await eventually(in_force, f"renamed-{number} to be in force")
        await nothing_else_is_left(mesh, f"renamed-{times - 1}")
    # Each was there, and each was taken away: none was passed over.
    assert await mesh.counter(CLIENT, "cluster_manager.cluster_removed") == removed_before + times
    await eventually(lambda: mesh.all_synced(CLIENT), "the client's sidecar to be in sync")


async def test_sixty_renames_under_load(mesh: RunningMesh) -> None:
    await rename(mesh, 60)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_six_hundred_renames_under_load(mesh: RunningMesh) -> None:
    await rename(mesh, 600)


async def test_renames_that_overtake_each_other(mesh: RunningMesh) -> None:
    """Nobody waits until a name is in force: clusters come and go while their endpoints are still on their way."""
    async with steady_load(mesh.port["store"]):
        for number in range(40):
            name(mesh, f"hasty-{number}", ("v1", "v2")[number % 2])
            # Not a wait for anything: the pace of the edits, of which the control plane sees each or merges some.
            await asyncio.sleep(0.03)
        await nothing_else_is_left(mesh, "hasty-39")
