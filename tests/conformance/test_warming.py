"""New clusters in a real Envoy: their endpoints travel with them, once, and nobody ever gets a 503."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from protos.envoy.config.cluster import v3_pb2 as cluster_v3
from protos.envoy.config.route import v3_pb2 as route_v3
from tests.server.conftest import key_pair, make_plane, root_pem, tls
from tests.server.plane import MakePlane, Plane, until
from tests.server.test_real_envoy import backends, both, envoy, ports, service, status_of, synced
from xds.resource import Resource, TypeUrl, resource

__all__ = ["backends", "key_pair", "make_plane", "ports", "root_pem", "tls"]
pytestmark = pytest.mark.envoy
COUNT = 60


def routes(count: int) -> Resource:
    """The route configuration of the one listener: /n/ leads to cluster n."""
    route = route_v3.RouteConfiguration(name="door")
    host = route.virtual_hosts.add(name="all", domains=["*"])
    for number in range(count):
        host.routes.add(match={"prefix": f"/{number}/"}, route={"cluster": f"c{number}"})
    return resource(TypeUrl.ROUTE, "door", route)


def added(number: int, backend: int) -> tuple[Resource, ...]:
    """What a new service brings: its cluster, its endpoints, and a route to it."""
    cluster, endpoints, _, _ = service(f"c{number}", 1, backend)
    return cluster, endpoints, routes(number + 1)


class Load:
    """GET requests to the latest service, one after another, and what they were answered."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.latest = 0
        self.statuses: Counter[int] = Counter()
        self.good = asyncio.Event()

    async def run(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                number = self.latest
                async with session.get(f"http://127.0.0.1:{self._port}/{number}/") as answer:
                    await answer.read()
                self.statuses[answer.status] += 1
                if answer.status == 200 and number == self.latest:
                    self.good.set()

    async def answered(self, number: int) -> None:
        """Until service ``number`` answers."""
        self.latest = number
        self.good.clear()
        async with asyncio.timeout(10):
            await self.good.wait()


@asynccontextmanager
async def serving(plane: Plane, api_type: str, root: bytes, directory: Path, port: int) -> AsyncIterator[Load]:
    """An Envoy under load whose first service answers."""
    async with envoy(plane.port, api_type, root, directory):
        await synced(plane)
        async with load(port) as running:
            await running.answered(0)
            running.statuses.clear()
            yield running


@asynccontextmanager
async def load(port: int) -> AsyncIterator[Load]:
    running = Load(port)
    tasks = [asyncio.create_task(running.run()) for _ in range(2)]
    yield running
    for task in tasks:
        assert not task.done()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def door(plane: Plane, port: int, backend: int) -> None:
    """One listener, whose routes lead to one service."""
    _, _, _, listener = service("door", port, backend)
    plane.put(listener, *added(0, backend))


def endpoint_answers(plane: Plane) -> int:
    return status_of(plane).answers_of(TypeUrl.ENDPOINT).acks


@both
async def test_endpoints_of_new_clusters_come_once_and_in_time(
    make_plane: MakePlane, api_type: str, root_pem: bytes, tmp_path: Path, ports: list[int], backends: list[int]
) -> None:
    plane = await make_plane(clusters=())
    await door(plane, ports[0], backends[0])
    async with serving(plane, api_type, root_pem, tmp_path, ports[0]) as running:
        before = endpoint_answers(plane)
        for number in range(1, COUNT):
            plane.put(*added(number, backends[0]))
            await running.answered(number)
        await synced(plane)
        assert set(running.statuses) <= {200, 404}, running.statuses
        assert endpoint_answers(plane) - before < 1.1 * COUNT


@both
async def test_a_burst_leaves_no_cluster_without_hosts(
    make_plane: MakePlane, api_type: str, root_pem: bytes, tmp_path: Path, ports: list[int], backends: list[int]
) -> None:
    """Envoy falls behind: responses and subscriptions cross each other in every way."""
    plane = await make_plane(clusters=())
    await door(plane, ports[0], backends[0])
    async with serving(plane, api_type, root_pem, tmp_path, ports[0]) as running:
        for number in range(1, COUNT):
            plane.put(*added(number, backends[0]))
            await asyncio.sleep(number % 4 / 1000)
        for number in range(1, COUNT):
            await running.answered(number)
        await synced(plane)
        assert set(running.statuses) <= {200, 404}, running.statuses


@both
async def test_no_cluster_waits_when_streams_end_in_between(
    make_plane: MakePlane, api_type: str, root_pem: bytes, tmp_path: Path, ports: list[int], backends: list[int]
) -> None:
    plane = await make_plane(clusters=())
    await door(plane, ports[0], backends[0])
    server: Any = plane.server
    async with serving(plane, api_type, root_pem, tmp_path, ports[0]) as running:
        for number in range(1, COUNT):
            plane.put(*added(number, backends[0]))
            if number % 5 == 0:
                await asyncio.sleep(number % 7 / 2000)
                for connection in tuple(server._streams.open):
                    connection.end(grpc.StatusCode.UNAVAILABLE, "again")
            await running.answered(number)
        await until(lambda: server.proxies.of("shop/buyer"))
        await synced(plane)
        assert set(running.statuses) <= {200, 404}, running.statuses


@both
async def test_a_good_cluster_beside_a_rejected_one_gets_its_endpoints(
    make_plane: MakePlane, api_type: str, root_pem: bytes, tmp_path: Path, ports: list[int], backends: list[int]
) -> None:
    plane = await make_plane(clusters=())
    await door(plane, ports[0], backends[0])
    async with serving(plane, api_type, root_pem, tmp_path, ports[0]) as running:
        for number in range(1, COUNT // 4):
            bad = cluster_v3.Cluster(name=f"bad{number}", type=cluster_v3.Cluster.EDS)
            plane.put(*added(number, backends[0]), resource(TypeUrl.CLUSTER, f"bad{number}", bad))
            await running.answered(number)
        assert status_of(plane).answers_of(TypeUrl.CLUSTER).nacks >= COUNT // 4 - 1
        assert set(running.statuses) <= {200, 404}, running.statuses
