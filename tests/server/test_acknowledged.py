"""What is known of a single name that a proxy holds, and when one hears of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.plane import PROXY, MakePlane, cluster, until
from xds.resource import TypeUrl
from xds.status import Holding, ProxyStatus


def holding(status: ProxyStatus, name: str) -> Holding:
    """One name, which must be what the list of all says of it."""
    found = status.holding(TypeUrl.CLUSTER, name)
    assert found is not None
    assert [each for each in status.holdings() if each.name == name] == [found]
    return found


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
async def test_one_name_through_its_life(make_plane: MakePlane, delta: bool) -> None:
    heard: list[str] = []
    plane = await make_plane(on_ack=heard.append)
    async with plane.connected(delta=delta) as client:
        status = plane.server.proxies.of(PROXY)
        assert status is not None
        assert heard == [PROXY]
        before = holding(status, "a").version
        assert holding(status, "a").acked == before

        plane.put(cluster("a", "2"))
        response = await client.receive()
        assert holding(status, "a").acked == before
        assert holding(status, "a").sent == holding(status, "a").version != before
        await client.acknowledge(response)
        await until(lambda: holding(status, "a").acked != before)
        assert heard == [PROXY, PROXY]

        plane.put(cluster("a", "3"))
        response = await client.receive()
        error: dict[str, Any] = {"error_detail": {"code": 13, "message": "cluster a is odd"}}
        await client.send(response_nonce=response.nonce, **error)
        await until(lambda: holding(status, "a").rejected is not None)
        assert holding(status, "a").acked not in (before, holding(status, "a").version)
        assert heard == [PROXY, PROXY]


async def test_a_name_that_is_not_asked_for(make_plane: MakePlane) -> None:
    plane = await make_plane()
    async with plane.connected() as client:
        status = plane.server.proxies.of(PROXY)
        assert status is not None
        assert status.holding(TypeUrl.SECRET, "trust") is None
        assert not status.begun, "it has not asked for listeners"
        await client.send(type_url=TypeUrl.LISTENER)
        response = await client.receive()
        assert not status.begun, "it has not accepted them"
        await client.acknowledge(response)
        await until(lambda: status.begun)
        await client.send(type_url=TypeUrl.SECRET, resource_names_subscribe=["trust"])
        await until(lambda: status.holding(TypeUrl.SECRET, "trust") is not None)
        assert status.holding(TypeUrl.SECRET, "trust") == Holding(TypeUrl.SECRET, "trust", None, None, None)


async def test_all_streams_of_a_proxy(make_plane: MakePlane) -> None:
    plane = await make_plane()
    assert plane.server.proxies.all_of(PROXY) == ()
    async with plane.connected():
        async with plane.connected():
            assert len(plane.server.proxies.all_of(PROXY)) == 2
        await until(lambda: len(plane.server.proxies.all_of(PROXY)) == 1)
