"""How streams end when the server stops, drains, or has had them for long."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.server.plane import Client, MakePlane, Plane, cluster, until
from xds.authentication import Credential
from xds.services import ADS
from xds.view import View

STOPPING = ("UNAVAILABLE", "the control plane is shutting down")


async def crowd(plane: Plane, stack: AsyncExitStack, number: int) -> list[Any]:
    clients = []
    for index in range(number):
        name = f"shop/p{index}"
        plane.tokens.credentials[name] = Credential("spiffe://mesh/x", name)
        plane.store.set_view(name, View(("all",)))
        client = await stack.enter_async_context(plane.client(token=name))
        await client.send(node=name)
        await client.acknowledge(await client.receive())
        clients.append(client)
    await until(lambda: all(status.synced for status in plane.server.proxies))
    return clients


@pytest.mark.parametrize("stop", [True, False], ids=["stop", "drain"])
async def test_streams_end_one_by_one(plane: Plane, monkeypatch: pytest.MonkeyPatch, stop: bool) -> None:
    monkeypatch.setattr("xds.server.DRAIN_PER_STREAM", 0.1)
    ends: list[float] = []

    async def ending(client: Any) -> tuple[str, str]:
        found: tuple[str, str] = await client.ending()
        ends.append(time.monotonic())
        return found

    async with AsyncExitStack() as stack:
        clients = await crowd(plane, stack, 20)
        began = time.monotonic()
        draining = asyncio.create_task(plane.server.stop(4) if stop else plane.server.drain(2))
        assert set(await asyncio.gather(*map(ending, clients))) == {STOPPING}
        await draining
    assert ends[-1] - began < 3
    # Twenty moments within two seconds: the chance that they are within 0.4 s is below one in 10^10.
    assert ends[-1] - ends[0] > 0.4
    await until(lambda: not len(plane.server.proxies))


async def test_those_that_remain_are_served(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.server.DRAIN_PER_STREAM", 100.0)
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    async with plane.connected() as client:
        stopping = asyncio.create_task(plane.server.stop(4))
        await asyncio.sleep(0)
        plane.put(cluster("a", "while it stops"))
        await client.acknowledge(await client.receive())
        assert await client.ending() == STOPPING
        await stopping


async def test_no_new_streams_while_draining(plane: Plane) -> None:
    await plane.server.drain()
    async with plane.client() as client:
        await client.send(node="shop/buyer")
        assert await client.ending() == STOPPING


async def test_a_stream_that_is_being_prepared_ends_too(plane: Plane) -> None:
    plane.visits.hold = asyncio.Event()
    async with plane.client() as client:
        await client.send(node="shop/buyer")
        await until(lambda: plane.visits.heard)
        await plane.server.drain()
        plane.visits.hold.set()
        assert await client.ending() == STOPPING


async def test_stopping_without_streams_is_fast(plane: Plane) -> None:
    began = time.monotonic()
    await plane.server.stop(30)
    assert time.monotonic() - began < 1


async def test_stopping_twice_does_no_harm(plane: Plane) -> None:
    await plane.server.stop(1)
    await plane.server.stop(1)


async def test_a_client_that_does_not_read_keeps_nobody_from_stopping(make_plane: MakePlane) -> None:
    plane = await make_plane()
    async with plane.connected():
        plane.put(*(cluster(f"c{number}", "x" * 100_000) for number in range(150)))
        await until(lambda: plane.server._writes._due)
        began = time.monotonic()
        await plane.server.stop(1)
        assert time.monotonic() - began < 4


async def test_old_streams_end_and_come_back_on_another_connection(make_plane: MakePlane) -> None:
    """On the same one they would come back to the same replica."""
    plane = await make_plane(max_stream_age=1.0)
    metadata = (("authorization", "Bearer buyer"),)
    addresses = []
    async with plane.channel() as channel:
        for _ in range(2):
            client = Client(channel.stream_stream(f"{ADS}DeltaAggregatedResources")(metadata=metadata), delta=True)
            await client.send(node="shop/buyer")
            await client.acknowledge(await client.receive())
            status = plane.server.proxies.of("shop/buyer")
            assert status is not None
            addresses.append(status.address)
            began = time.monotonic()
            assert await client.ending() == ("UNAVAILABLE", "the stream is old: open another, on any replica")
            assert 0.5 < time.monotonic() - began < 3
            await until(lambda: not len(plane.server.proxies))
    assert addresses[0] != addresses[1]


async def test_the_earlier_end_counts(make_plane: MakePlane) -> None:
    plane = await make_plane(max_stream_age=60)
    plane.tokens.credentials["buyer"] = Credential("spiffe://mesh/x", "shop/buyer", time.time() + 0.4)
    async with plane.connected() as client:
        assert (await client.ending())[0] == "UNAUTHENTICATED"
