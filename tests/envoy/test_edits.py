"""What people edit changes live traffic at once, and harms none of it: no request fails, no connection is cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.demo.waiting import eventually
from deploy.sidecar.envoy import find_envoy
from deploy.sidecar.process import DRAIN_TIME_S
from tests.envoy.http_wire import ask
from tests.envoy.running_mesh import RunningMesh
from tests.envoy.steady_load import steady_load
from tests.envoy.store_mesh import CLIENT, V1, V2, access, only, split, store_mesh
from tests.envoy.timing import PROMPTLY, seconds_until

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

EDITS = 100
SHORT_DRAIN = 2
"""Seconds instead of the launcher's 60, so that the fast tests outlive what a changed listener would cut."""

CLIENT_OF_V2 = """
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: client-0, namespace: shopper}
spec:
  serviceAccountName: shopper
  address: 127.0.0.1
  upstreams:
    - {service: store.store, port: 80, localPort: $store}
    - {service: store-v2.store, port: 7000, localPort: $orders}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningMesh]:
    folder = tmp_path_factory.mktemp("edits")
    async with store_mesh(folder, envoy=impatient_envoy(folder)) as running:
        yield running


def impatient_envoy(folder: Path) -> Path:
    """Envoy as the launcher starts it, but with the short drain time."""
    script = folder / "envoy"
    script.write_text(
        f"""#!/bin/sh
for argument; do
    shift
    [ "$before" = --drain-time-s ] && argument={SHORT_DRAIN}
    set -- "$@" "$argument"
    before=$argument
done
exec {find_envoy().path} "$@"
"""
    )
    script.chmod(0o755)
    return script


class HeldConnection:
    """A TCP connection to the store that says something every now and then; `version` answers it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.version = ""

    async def alive(self) -> bool:
        """Whether the same peer as ever still answers."""
        try:
            self._writer.write(b"still there\n")
            async with asyncio.timeout(10):
                version, _, said = (await self._reader.readline()).decode().partition(" ")
        except ConnectionError:
            return False
        self.version = self.version or version
        return (version, said) == (self.version, "still there\n")


@contextlib.asynccontextmanager
async def held_connection(mesh: RunningMesh) -> AsyncIterator[HeldConnection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.port["orders"])
    try:
        held = HeldConnection(reader, writer)
        assert await held.alive()
        yield held
    finally:
        writer.transport.abort()


async def listener_changes(mesh: RunningMesh) -> dict[str, int]:
    """How often each sidecar has changed, removed or drained a listener or a part of it since it started."""
    return {
        f"{workload} {name}": await mesh.counter(workload, f"listener_manager.{name}")
        for workload in (CLIENT, V1, V2)
        for name in (
            "listener_modified",
            "listener_removed",
            "listener_in_place_updated",
            "total_listeners_draining",
            "total_filter_chains_draining",
        )
    }


async def test_a_hundred_splits_under_load(mesh: RunningMesh) -> None:
    loop = asyncio.get_running_loop()
    mesh.apply("split.yaml", split(100, 0))
    await eventually(lambda: only(mesh, "v1"), "everything to go to v1")
    before = await listener_changes(mesh)
    seconds = []
    async with held_connection(mesh) as old, steady_load(mesh.port["store"]) as load:
        start = loop.time()
        for number in range(EDITS):
            # Everything or nothing, so that one answer tells whether the edit is in force.
            weights, version = ((0, 100), "v2") if number % 2 == 0 else ((100, 0), "v1")

            async def in_force(version: str = version) -> bool:
                return (await ask(mesh.port["store"])).version == version

            mesh.apply("split.yaml", split(*weights))
            seconds.append(await seconds_until(in_force, f"the split {weights} to be in force"))
            assert await old.alive()
        assert loop.time() - start > 2 * SHORT_DRAIN
        assert load.answers[200, "v1"] > 0.2 * load.sent
        assert load.answers[200, "v2"] > 0.2 * load.sent
    # One of a hundred may be late: the machine that runs this is not always idle.
    assert sorted(seconds)[-2] < PROMPTLY, seconds
    assert await listener_changes(mesh) == before


async def test_a_split_comes_and_goes_under_load(mesh: RunningMesh) -> None:
    """Its clusters are new each time: routes must not lead to them while they warm, nor when they are gone."""

    async def answers(version: str) -> None:
        async def in_force() -> bool:
            return (await ask(mesh.port["store"])).version == version

        await eventually(in_force, f"{version} to answer")

    async with steady_load(mesh.port["store"]) as load:
        for _ in range(10):
            mesh.apply("split.yaml", split(0, 100))
            await answers("v2")
            mesh.withdraw("split.yaml")
            await answers("v1")
            await eventually(lambda: mesh.all_synced(CLIENT), "the client's sidecar to have all of it")
        assert load.sent > 100


async def test_traffic_targets_come_and_go_under_load(mesh: RunningMesh) -> None:
    """The client is allowed all the time: by one target, by another one, by both, and with others beside it."""
    before = await listener_changes(mesh)

    async def in_force(*names: str) -> None:
        async def granted() -> bool:
            classes = (await mesh.debug("/debug/mesh"))["classes"].values()
            ports = [port for found in classes for port in found["ports"].values() if port["protocol"] == "http"]
            sides = [{name.rpartition("-")[0] for name in port["grants"]} for port in ports]
            return sides == [{f"store/{name}" for name in names}] * 2

        await eventually(granted, f"the targets {names} to be in force")
        await eventually(mesh.all_synced, f"all sidecars to have the targets {names}")

    async with held_connection(mesh) as old, steady_load(mesh.port["store"]) as load:
        for _ in range(5):
            mesh.apply("second.yaml", access("second", "shopper", "guest"))
            await in_force("client", "second")
            mesh.withdraw("access.yaml")
            await in_force("second")
            mesh.apply("guest.yaml", access("guest", "guest"))
            await in_force("second", "guest")
            mesh.apply("access.yaml", access("client", "shopper"))
            await in_force("client", "second", "guest")
            mesh.withdraw("second.yaml", "guest.yaml")
            await in_force("client")
            assert await old.alive()
        assert load.sent > 200
    assert await listener_changes(mesh) == before


async def test_what_changes_a_listener_is_seen_by_these_tests(mesh: RunningMesh) -> None:
    """The other tests here are worth something only if a changed listener shows: this edit must change one."""
    before = await listener_changes(mesh)
    async with held_connection(mesh) as old:
        mesh.apply("client.yaml", CLIENT_OF_V2)
        workloads = (mesh.directory / "workloads.yaml").read_text()
        mesh.write("workloads.yaml", workloads.rpartition("---")[0])

        async def cut() -> bool:
            return not await old.alive()

        await eventually(cut, "the changed listener to cut its connections", within=SHORT_DRAIN + 10)
    assert await listener_changes(mesh) != before
    mesh.withdraw("client.yaml")
    mesh.write("workloads.yaml", workloads)


@pytest.mark.slow
async def test_a_held_connection_outlives_the_drain_time(tmp_path: Path) -> None:
    """As the fast test, with the drain time that sidecars have in earnest."""
    loop = asyncio.get_running_loop()
    async with store_mesh(tmp_path) as patient, held_connection(patient) as old:
        before = await listener_changes(patient)
        for number in range(10):
            patient.apply("split.yaml", split(100 * (number % 2), 100 - 100 * (number % 2)))
            await eventually(lambda: only(patient, "v1" if number % 2 else "v2"), "the split to be in force")  # noqa: B023
        last = loop.time()
        while loop.time() < last + DRAIN_TIME_S + 10:
            assert await old.alive()
            await asyncio.sleep(1)
        assert await listener_changes(patient) == before
        assert await patient.nacks() == 0
