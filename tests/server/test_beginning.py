"""Admission: how many streams begin at once, who waits, and who is turned away."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.server.plane import PROXY, Client, MakePlane, Plane, cluster, until
from xds.admission import Admission
from xds.authentication import Credential
from xds.view import View


def proxies(plane: Plane, number: int) -> list[str]:
    """Proxies with a view and a token of their own."""
    names = [f"shop/p{index}" for index in range(number)]
    for name in names:
        plane.tokens.credentials[name] = Credential("spiffe://mesh/x", name)
        plane.store.set_view(name, View(("all",)))
    return names


async def opened(plane: Plane, stack: AsyncExitStack, name: str) -> Client:
    client = await stack.enter_async_context(plane.client(token=name))
    await client.send(node=name)
    return client


async def in_line(plane: Plane, stack: AsyncExitStack, name: str) -> Client:
    """A client that has its place, or its turn after all that came before."""
    before = metric(plane, "waiting") + metric(plane, "admitted_total")
    client = await opened(plane, stack, name)
    await until(lambda: metric(plane, "waiting") + metric(plane, "admitted_total") > before)
    return client


def metric(plane: Plane, name: str) -> float:
    lines = plane.server.metrics.exposition().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"tulle_xds_streams_{name} ")).split()[1])


async def test_streams_begin_in_order_as_places_are_free(make_plane: MakePlane) -> None:
    plane = await make_plane(admission=Admission(places=1, longest_answer=60))
    async with AsyncExitStack() as stack:
        clients = [await in_line(plane, stack, name) for name in proxies(plane, 3)]
        assert metric(plane, "initial") == 1
        assert metric(plane, "waiting") == 2
        for number, client in enumerate(clients):
            response = await client.receive()
            assert metric(plane, "waiting") == 2 - number
            assert len(plane.server.proxies) == number + 1
            await client.acknowledge(response)
        await until(lambda: metric(plane, "initial") == 0)
        assert metric(plane, "admitted_total") == 3
        assert metric(plane, "turned_away_total") == 0


@pytest.mark.parametrize("phase", ["longest_phase", "longest_answer"])
async def test_who_never_answers_frees_its_place(make_plane: MakePlane, phase: str) -> None:
    """Whether it does not read its answers, or does not acknowledge them."""
    times = {"longest_phase": 60.0, "longest_answer": 60.0, phase: 0.2}
    plane = await make_plane(admission=Admission(places=1, **times))  # type: ignore[arg-type]
    if phase == "longest_phase":
        plane.put(*(cluster(f"c{number}", "x" * 100_000) for number in range(150)))
    async with AsyncExitStack() as stack:
        first, second, third = proxies(plane, 3)
        await in_line(plane, stack, first)
        await in_line(plane, stack, second)
        last = await in_line(plane, stack, third)
        await last.receive()
        assert metric(plane, "initial_late_total") >= 2
        assert len(plane.server.proxies) == 3


async def test_who_leaves_the_queue_is_not_waited_for(make_plane: MakePlane) -> None:
    plane = await make_plane(admission=Admission(places=1, longest_answer=60))
    async with AsyncExitStack() as stack:
        names = proxies(plane, 3)
        first = await opened(plane, stack, names[0])
        response = await first.receive()
        gone = await opened(plane, stack, names[1])
        await until(lambda: metric(plane, "waiting") == 1)
        last = await opened(plane, stack, names[2])
        await until(lambda: metric(plane, "waiting") == 2)
        gone.call.cancel()
        await until(lambda: metric(plane, "waiting") == 1)
        await first.acknowledge(response)
        await last.receive()


async def test_a_stream_that_ends_frees_its_place(make_plane: MakePlane) -> None:
    plane = await make_plane(admission=Admission(places=1, longest_answer=60))
    async with AsyncExitStack() as stack:
        names = proxies(plane, 2)
        first = await opened(plane, stack, names[0])
        await first.receive()
        second = await opened(plane, stack, names[1])
        first.call.cancel()
        await second.receive()


async def test_the_queue_is_bounded(make_plane: MakePlane) -> None:
    plane = await make_plane(admission=Admission(places=1, longest_answer=60, longest_queue=1))
    async with AsyncExitStack() as stack:
        names = proxies(plane, 3)
        await opened(plane, stack, names[0])
        await until(lambda: metric(plane, "initial") == 1)
        await opened(plane, stack, names[1])
        await until(lambda: metric(plane, "waiting") == 1)
        third = await opened(plane, stack, names[2])
        assert await third.ending() == ("RESOURCE_EXHAUSTED", "too many proxies are waiting to be served")
        assert metric(plane, "turned_away_total") == 1


async def test_waiting_is_bounded(make_plane: MakePlane) -> None:
    plane = await make_plane(admission=Admission(places=1, longest_answer=60, longest_wait=0.1))
    async with AsyncExitStack() as stack:
        names = proxies(plane, 2)
        await opened(plane, stack, names[0])
        await until(lambda: metric(plane, "initial") == 1)
        second = await opened(plane, stack, names[1])
        assert await second.ending() == ("UNAVAILABLE", "too many proxies begin at once")


async def test_one_proxy_has_one_turn(make_plane: MakePlane) -> None:
    """However many streams a workload opens, it takes the place of one."""
    plane = await make_plane(admission=Admission(places=1, longest_answer=60))
    async with AsyncExitStack() as stack:
        names = proxies(plane, 3)
        first = await opened(plane, stack, names[0])
        response = await first.receive()
        older = await opened(plane, stack, names[1])
        await until(lambda: metric(plane, "waiting") == 1)
        other = await opened(plane, stack, names[2])
        await until(lambda: metric(plane, "waiting") == 2)
        newer = await opened(plane, stack, names[1])
        assert await older.ending() == ("UNAVAILABLE", "a newer stream of this proxy is waiting")
        assert metric(plane, "waiting") == 2
        await first.acknowledge(response)
        await newer.receive()
        assert metric(plane, "waiting") == 1
        assert plane.server.proxies.of(names[1]) is not None
        assert plane.server.proxies.of(names[2]) is None
        newer.call.cancel()
        await other.receive()


async def test_settled_streams_are_served_while_others_wait(make_plane: MakePlane) -> None:
    plane = await make_plane(admission=Admission(places=2, longest_answer=60))
    async with AsyncExitStack() as stack:
        settled = await stack.enter_async_context(plane.connected())
        for name in proxies(plane, 30):
            await opened(plane, stack, name)
        await until(lambda: metric(plane, "waiting") == 28)
        for number in range(5):
            plane.put(cluster("a", str(number)))
            await settled.acknowledge(await settled.receive())
        assert metric(plane, "waiting") == 28


async def test_the_end_of_the_server_ends_the_waiting(make_plane: MakePlane) -> None:
    plane = await make_plane(admission=Admission(places=1, longest_answer=60))
    async with AsyncExitStack() as stack:
        names = proxies(plane, 2)
        await opened(plane, stack, names[0])
        await until(lambda: metric(plane, "initial") == 1)
        waiting = await opened(plane, stack, names[1])
        await until(lambda: metric(plane, "waiting") == 1)
        stopping = asyncio.create_task(plane.server.stop(5))
        assert await waiting.ending() == ("UNAVAILABLE", "the control plane is shutting down")
        await asyncio.wait_for(stopping, 5)


async def test_a_storm_is_served_whole(make_plane: MakePlane) -> None:
    plane = await make_plane(admission=Admission(places=4))

    async def one(name: str) -> None:
        async with plane.client(token=name) as client:
            await client.send(node=name)
            await client.acknowledge(await client.receive())
            await until(lambda: (status := plane.server.proxies.of(name)) is not None and status.synced)

    await asyncio.gather(*map(one, proxies(plane, 60)))
    assert metric(plane, "admitted_total") == 60
    assert plane.server.proxies.of(PROXY) is None
