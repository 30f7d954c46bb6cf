"""What is known of rejected resources while proxies reject, accept, and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.live_mesh import LiveMesh
from deploy.rejection_watch import RejectionWatch
from tests.server.plane import PROXY, Client, Plane, cluster, until
from xds.rejections import RejectedVersion
from xds.resource import TypeUrl
from xds.store import ScopeChange
from xds.view import View

OTHER = "shop/thief"


async def rejecting(client: Client, message: str) -> None:
    response = await client.receive()
    await client.send(response_nonce=response.nonce, error_detail={"code": 13, "message": message})


@pytest.fixture
async def rejected(plane: Plane) -> AsyncIterator[tuple[Plane, Client]]:
    """A proxy that has rejected cluster a, version 2."""
    async with plane.connected() as client:
        plane.put(cluster("a", "2"))
        await rejecting(client, "a: no such thing")
        await until(lambda: len(plane.server.rejections))
        yield plane, client


def known(plane: Plane) -> list[tuple[str, tuple[str, ...], str]]:
    return [(each.resource.name, each.proxies, each.message) for each in plane.server.rejections]


async def test_it_says_who_and_why(rejected: tuple[Plane, Client]) -> None:
    plane, _ = rejected
    (one,) = plane.server.rejections
    assert one.resource == RejectedVersion(TypeUrl.CLUSTER, "a", cluster("a", "2").version)
    assert (one.proxies, one.message) == ((PROXY,), "a: no such thing")
    assert one.since > 0
    metrics = plane.server.metrics.exposition().decode()
    assert 'tulle_xds_nacks_total{type="Cluster"} 1.0' in metrics
    assert 'tulle_xds_rejected_resources{type="Cluster"} 1.0' in metrics
    assert 'tulle_xds_rejected_resources{type="Listener"} 0.0' in metrics


async def test_proxies_are_counted_by_version(rejected: tuple[Plane, Client]) -> None:
    plane, _ = rejected
    plane.store.set_view(OTHER, View(("all",)))
    async with plane.client(token="thief") as second:
        await second.send(node=OTHER)
        await rejecting(second, "a: nor here")
        await until(lambda: known(plane) == [("a", (PROXY, OTHER), "a: nor here")])
        assert plane.server.proxies.holders(TypeUrl.CLUSTER, "a") == 2
        assert plane.server.proxies.holders(TypeUrl.CLUSTER, "nothing") == 0
        assert plane.server.proxies.holders(TypeUrl.SECRET, "a") == 0
    await until(lambda: known(plane) == [("a", (PROXY,), "a: nor here")])


async def test_accepting_it_after_all_ends_it(rejected: tuple[Plane, Client]) -> None:
    plane, client = rejected
    heard: list[int] = []
    plane.server.rejections.on_change.append(lambda: heard.append(plane.server.rejections.revision))
    await client.acknowledge(await client.receive())
    await until(lambda: not len(plane.server.rejections))
    assert heard == [2]


async def test_other_bytes_end_it(rejected: tuple[Plane, Client]) -> None:
    plane, _ = rejected
    plane.put(cluster("a", "3"))
    await until(lambda: not len(plane.server.rejections))


async def test_its_removal_ends_it(rejected: tuple[Plane, Client]) -> None:
    plane, _ = rejected
    plane.store.apply([ScopeChange("all", (), ((TypeUrl.CLUSTER, "a"),))])
    await until(lambda: not len(plane.server.rejections))


async def test_the_end_of_the_stream_ends_it(rejected: tuple[Plane, Client]) -> None:
    plane, client = rejected
    client.call.cancel()
    await until(lambda: not len(plane.server.rejections))
    assert not plane.server.rejections._of


async def test_rejecting_the_retry_changes_nothing_but_the_words(rejected: tuple[Plane, Client]) -> None:
    plane, client = rejected
    (before,) = plane.server.rejections
    await rejecting(client, "a: still not")
    await until(lambda: known(plane) == [("a", (PROXY,), "a: still not")])
    (after,) = plane.server.rejections
    assert after.since == before.since


async def test_a_proxy_that_rejects_everything_disturbs_nobody(plane: Plane) -> None:
    plane.store.set_view(OTHER, View(("all",)))

    async def grumble(client: Client) -> None:
        await client.send(node=OTHER)
        while True:
            await rejecting(client, "no")

    async with plane.connected() as content, plane.client(token="thief") as client:
        grumbling = asyncio.create_task(grumble(client))
        await until(lambda: {name for name, _, _ in known(plane)} == {"a", "b"})
        for number in range(20):
            plane.put(cluster("a", str(number)))
            await content.acknowledge(await content.receive())
        status: Any = plane.server.proxies.of(PROXY)
        await until(lambda: status.synced)
        assert {proxies for _, proxies, _ in known(plane)} == {(OTHER,)}
        grumbling.cancel()


async def test_keys_in_a_reason_are_hidden(plane: Plane) -> None:
    async with plane.connected() as client:
        plane.put(cluster("a", "2"))
        await rejecting(client, "a: bad -----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----")
        await until(lambda: known(plane) == [("a", (PROXY,), "a: bad <redacted>")])


async def test_the_log_hears_of_each_version_once(
    rejected: tuple[Plane, Client], caplog: pytest.LogCaptureFixture
) -> None:
    """However many proxies reject it, one after the other, and however often it is tried."""
    plane, client = rejected
    watch = RejectionWatch(plane.server, LiveMesh(plane.store))

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "deploy.live_mesh"]

    plane.store.set_view(OTHER, View(("all",)))
    plane.put(cluster("b", "2"))
    await rejecting(client, "b: nor this")
    running = asyncio.create_task(watch.run())
    try:
        await until(lambda: len(lines()) == 2)
        async with plane.client(token="thief") as second:
            await second.send(node=OTHER)
            await rejecting(second, "a: nor here")
            await until(lambda: len(watch.diagnostics()) == 2 and "2 of 2" in watch.diagnostics()[0].message)
            plane.put(cluster("c", "2"))
            await rejecting(second, "c: nor that")
            await until(lambda: any("Cluster c" in line for line in lines()))
        assert len(lines()) == 3
    finally:
        running.cancel()
