"""Those who guess wait for their refusal, and nobody else does; nobody holds many streams."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from tests.server.plane import MakePlane, Plane, until
from xds.options import OPTIONS
from xds.throttle import Throttle


async def test_guessing_is_slowed_and_the_honest_are_not(make_plane: MakePlane) -> None:
    plane: Plane = await make_plane(throttle=Throttle(first=0.2, longest=0.8))
    loop = asyncio.get_running_loop()
    took = []
    for _ in range(4):
        began = loop.time()
        async with plane.client(token="guess") as client:
            assert (await client.ending())[0] == "UNAUTHENTICATED"
        took.append(loop.time() - began)
    for seconds, least in zip(took, (0.2, 0.4, 0.8, 0.8), strict=True):
        assert seconds >= least
    async with plane.client(token="guess") as guessing:
        began = loop.time()
        async with plane.connected():  # from the same address, while a refusal waits
            assert loop.time() - began < 0.8
        await guessing.ending()
    exposed = plane.server.metrics.exposition()
    assert b'tulle_xds_authentication_failures_total{reason="unproven"} 5.0' in exposed
    assert b"tulle_xds_refusals_delayed 0.0" in exposed


async def test_a_crowd_of_guessers_is_not_held(make_plane: MakePlane) -> None:
    """Beyond so many delayed answers, the next are refused at once: holding them would be the greater cost."""
    plane: Plane = await make_plane(throttle=Throttle(first=30, longest=30, most_delayed=3))
    async with plane.channel() as channel:
        calls = [
            channel.stream_stream("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources")(
                metadata=(("authorization", f"Bearer guess {number}"),)
            )
            for number in range(9)
        ]
        ended = [asyncio.ensure_future(call.code()) for call in calls]
        done: set[object] = set()
        async with asyncio.timeout(10):
            while len(done) < 6:
                done, _ = await asyncio.wait(ended, timeout=0.1)
        assert len(done) == 6
        for call in calls:
            call.cancel()
        await asyncio.wait(ended)


async def test_a_thief_of_a_credential_gets_few_streams(make_plane: MakePlane) -> None:
    plane: Plane = await make_plane()
    async with plane.connected() as oldest:
        newer = [plane.connected() for _ in range(4)]
        for each in newer:
            await each.__aenter__()
        assert await oldest.ending() == ("RESOURCE_EXHAUSTED", "the proxy has opened newer streams")
        assert len(plane.server._streams.open) == 4
        for each in newer:
            await each.__aexit__(None, None, None)


async def test_few_streams_of_a_credential_may_say_nothing(make_plane: MakePlane) -> None:
    plane: Plane = await make_plane()
    method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
    async with plane.channel() as one, plane.channel() as two:
        for number in range(16):
            (one, two)[number % 2].stream_stream(method)(metadata=(("authorization", "Bearer buyer"),))
        await until(lambda: plane.server._streams._openings["shop/buyer"] == 16)
        async with plane.client() as silent:
            assert await silent.ending() == (
                "RESOURCE_EXHAUSTED",
                "too many streams of shop/buyer have not said anything yet",
            )
        async with plane.client(token="thief") as other:
            await other.send(node="shop/thief")
            assert (await other.ending())[0] == "NOT_FOUND", "another workload is not concerned"
    await until(lambda: not plane.server._streams._openings)


async def is_served(plane: Plane) -> bool:
    try:
        async with plane.connected():
            return True
    except grpc.aio.AioRpcError:
        return False


async def test_connections_are_limited(make_plane: MakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that do not even speak TLS count too; when some go, there is room again."""
    most = (("grpc.max_allowed_incoming_connections", 20),)
    monkeypatch.setattr("xds.server.OPTIONS", tuple(each for each in OPTIONS if each[0] != most[0][0]) + most)
    plane: Plane = await make_plane()
    held = [await asyncio.open_connection("127.0.0.1", plane.port) for _ in range(30)]
    closed = [asyncio.create_task(reader.read()) for reader, _ in held]
    await until(lambda: sum(task.done() for task in closed) == 10)
    for _, writer in held:
        writer.transport.abort()
    async with asyncio.timeout(10):
        while not await is_served(plane):
            pass  # the server has not seen yet that they went
    await asyncio.gather(*closed, return_exceptions=True)
