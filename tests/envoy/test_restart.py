"""The control plane may die: traffic goes on, and a new one on the same state carries on where it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from deploy.demo.waiting import eventually
from tests.envoy.http_wire import statuses
from tests.envoy.running_mesh import RunningMesh
from tests.envoy.steady_load import steady_load
from tests.envoy.store_mesh import CLIENT, V1, V2, access, http_versions, only, split, store_mesh, tcp_versions
from tests.envoy.timing import PROMPTLY, seconds_until

pytestmark = pytest.mark.envoy

ALONE = 1.0
"""Seconds that sidecars are watched without any control plane."""

LATECOMER = "shopper/latecomer-0"
LATE_WORKLOAD = """
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: latecomer-0, namespace: shopper}
spec:
  serviceAccountName: latecomer
  address: 127.0.0.1
  upstreams:
    - {service: store.store, port: 80, localPort: $late}
"""


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[RunningMesh]:
    async with store_mesh(tmp_path) as running:
        yield running


async def connected(mesh: RunningMesh) -> dict[str, datetime]:
    """Since when each sidecar is connected to the control plane."""
    proxies = await mesh.debug("/debug/proxies")
    return {each["proxy"]: datetime.fromisoformat(each["connected"]) for each in proxies if each["connected"]}


async def handshakes(mesh: RunningMesh) -> int:
    """How many TLS handshakes the client's sidecar has made with those of the store."""
    stats = await mesh.admin(CLIENT, "/stats?usedonly&filter=ssl.handshake")
    return sum(int(line.rpartition(": ")[2]) for line in stats.splitlines() if "store" in line)


async def test_killed_under_load_and_started_again(mesh: RunningMesh) -> None:
    mesh.apply("split.yaml", split(100, 0))
    await eventually(lambda: only(mesh, "v1"), "everything to go to v1")
    before = await connected(mesh)
    assert set(before) == {CLIENT, V1, V2}
    async with steady_load(mesh.port["store"]) as load:
        await mesh.kill_control_plane()
        alone = load.sent + int(200 * ALONE)

        async def enough() -> bool:
            return load.sent >= alone

        await eventually(enough, "some load without a control plane", within=10 * ALONE)
        assert await tcp_versions(mesh, 8) == {"v1": 8}  # new connections between sidecars are made meanwhile too
        await mesh.start_control_plane()
        await eventually(mesh.all_synced, "all sidecars to be connected again and in sync", within=30)
        after = await connected(mesh)
        assert set(after) == {CLIENT, V1, V2}
        assert all(after[each] > before[each] for each in before)

        # Identities of before and after trust each other: on new connections, and for a sidecar that comes only now.
        made = await handshakes(mesh)
        assert await tcp_versions(mesh, 40) == {"v1": 40}
        assert await handshakes(mesh) >= made + 40
        mesh.apply("latecomer.yaml", LATE_WORKLOAD)
        mesh.apply("late-access.yaml", access("latecomer", "latecomer"))
        await mesh.start_sidecar(LATECOMER)

        async def let_in() -> bool:
            return set(await statuses(mesh.port["late"])) == {200}

        await eventually(let_in, "the latecomer to be let in")

        # And what is edited now is in force as ever.
        mesh.apply("split.yaml", split(0, 100))
        assert await seconds_until(lambda: only(mesh, "v2"), "an edit after the restart") < PROMPTLY
        assert (await http_versions(mesh, 200))["v2"] == 200
    assert await mesh.all_synced()


async def test_edits_made_while_it_is_dead_are_taken_up(mesh: RunningMesh) -> None:
    async with steady_load(mesh.port["store"]) as load:
        await mesh.kill_control_plane()
        mesh.apply("split.yaml", split(0, 100))
        mesh.withdraw("access.yaml")
        mesh.apply("other-access.yaml", access("renamed", "shopper"))
        sent = load.sent

        async def some_more() -> bool:
            return load.sent > sent + 100

        await eventually(some_more, "some load without a control plane")
        await mesh.start_control_plane()
        await eventually(lambda: only(mesh, "v2"), "the edit to be in force", within=30)
        await eventually(mesh.all_synced, "all sidecars to be connected again and in sync", within=30)
