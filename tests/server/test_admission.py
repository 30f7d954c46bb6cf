"""Who is refused, with which status and which words, and that it is said once."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from tests.server.plane import PROXY, MakePlane, Plane, cluster, until
from xds.authentication import Credential
from xds.server import ADS


async def test_nothing_is_served_before_the_first_sync(make_plane: MakePlane) -> None:
    plane = await make_plane(ready=False)
    async with plane.client() as client:
        assert await client.ending() == (
            "UNAVAILABLE",
            "the control plane is not ready: its first sync is not done",
        )
    plane.store.mark_ready()
    async with plane.connected():
        pass


@pytest.mark.parametrize("token", [None, "stolen"])
async def test_unproven_peers_are_refused(plane: Plane, token: str | None) -> None:
    async with plane.client(token=token) as client:
        assert await client.ending() == ("UNAUTHENTICATED", "the token is unknown")


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
async def test_a_node_must_be_its_credential(plane: Plane, delta: bool) -> None:
    async with plane.client(token="thief", delta=delta) as client:
        await client.send(node=PROXY)
        assert await client.ending() == (
            "PERMISSION_DENIED",
            "node id 'shop/buyer' is not 'shop/thief', which the credential belongs to",
        )


@pytest.mark.parametrize("node", ["buyer", "shop/", "/buyer", "shop/buyer/x"])
async def test_a_node_id_names_a_workload(plane: Plane, node: str) -> None:
    async with plane.client(token="anyone") as client:
        await client.send(node=node)
        assert await client.ending() == (
            "PERMISSION_DENIED",
            f"node id {node!r} is not of the form namespace/workload",
        )


async def test_the_authorizer_has_the_last_word(plane: Plane) -> None:
    plane.refusals[PROXY] = "workload shop/buyer runs as another service account"
    async with plane.client(token="anyone") as client:
        await client.send(node=PROXY)
        assert await client.ending() == ("PERMISSION_DENIED", plane.refusals[PROXY])


async def test_a_proxy_without_view_is_not_known(plane: Plane) -> None:
    async with plane.client(token="anyone") as client:
        await client.send(node="shop/nobody")
        assert await client.ending() == ("NOT_FOUND", "proxy shop/nobody is not known")


async def test_the_first_request_names_the_node(plane: Plane) -> None:
    async with plane.client() as client:
        await client.send()
        assert await client.ending() == ("INVALID_ARGUMENT", "the first request has no node.id")


async def test_the_node_stays_the_same(plane: Plane) -> None:
    async with plane.connected() as client:
        await client.send(node=PROXY, resource_names_subscribe=["a"])
        await client.receive()
        await client.send(node="shop/thief")
        assert await client.ending() == (
            "INVALID_ARGUMENT",
            "node id 'shop/thief': this stream began as 'shop/buyer'",
        )


@pytest.mark.parametrize("first", [True, False], ids=["first request", "later request"])
async def test_garbage_ends_the_stream(plane: Plane, first: bool) -> None:
    async with plane.client() as client:
        if not first:
            await client.send(node=PROXY)
        await client.call.write(b"\xff\xff\xff")
        code, reason = await client.ending()
        assert code == "INVALID_ARGUMENT"
        assert "could not be decoded" in reason


async def test_a_request_needs_a_type(plane: Plane) -> None:
    async with plane.client() as client:
        await client.send(node=PROXY, type_url="")
        assert (await client.ending())[0] == "INVALID_ARGUMENT"


async def test_an_expired_credential_opens_nothing(plane: Plane) -> None:
    plane.tokens.credentials["buyer"] = Credential("spiffe://mesh/x", PROXY, time.time() - 1)
    async with plane.client() as client:
        assert await client.ending() == ("UNAUTHENTICATED", "the credential has expired")


async def test_a_stream_ends_with_its_credential(plane: Plane) -> None:
    plane.tokens.credentials["buyer"] = Credential("spiffe://mesh/x", PROXY, time.time() + 0.5)
    async with plane.connected() as client:
        assert await client.ending() == (
            "UNAUTHENTICATED",
            "the credential that opened this stream has expired",
        )


async def test_a_stream_ends_when_its_credential_is_not_that_of_its_proxy_any_more(plane: Plane) -> None:
    async with plane.connected() as client:
        plane.server.judge_again([PROXY, "shop/other"])
        plane.put(cluster("b", "1"))
        assert (await client.receive()).resources, "it goes on while nothing is against it"
        plane.refusals[PROXY] = "workload shop/buyer runs as another service account"
        plane.server.judge_again([PROXY])
        assert await client.ending() == ("PERMISSION_DENIED", plane.refusals[PROXY])


@pytest.mark.parametrize(
    "method",
    [
        "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
        "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats",
    ],
)
async def test_other_services_point_to_ads(plane: Plane, method: str) -> None:
    async with plane.client(method=method) as client:
        code, reason = await client.ending()
        assert code == "UNIMPLEMENTED"
        assert reason == f"{method} is not served: use ADS, {ADS}DeltaAggregatedResources"


async def test_losing_the_view_ends_the_stream(plane: Plane) -> None:
    async with plane.connected() as client:
        plane.store.set_view(PROXY, None)
        assert await client.ending() == ("NOT_FOUND", "proxy shop/buyer is no longer known")


async def test_an_error_of_ours_is_loud_here_and_mute_there(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_peer: Any) -> Credential:
        raise RuntimeError("the key is 4711")

    plane.tokens.authenticate = broken  # type: ignore[method-assign]
    async with plane.client() as client:
        assert await client.ending() == ("INTERNAL", "internal error of the control plane")
    assert "4711" in caplog.text


@pytest.mark.parametrize("reading", [True, False], ids=["while reading", "while writing"])
async def test_an_error_of_ours_on_an_open_stream(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reading: bool
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("the key is 4711")

    async with plane.connected() as client:
        monkeypatch.setattr("xds.stream.Stream.receive" if reading else "xds.stream.Stream.poll", broken)
        if reading:
            await client.send(response_nonce="1")
        else:
            plane.put(cluster("a", "2"))
        assert await client.ending() == ("INTERNAL", "internal error of the control plane")
    assert "4711" in caplog.text
    await until(lambda: not len(plane.server.proxies))


async def test_a_refusal_is_logged_once_and_without_the_token(plane: Plane, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="xds")
    for _ in range(3):
        async with plane.client(token="s3cret") as client:
            await client.ending()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("xds")] == [
        "stream refused: UNAUTHENTICATED: the token is unknown (127.0.0.1)"
    ]
    assert "s3cret" not in caplog.text
    assert b'tulle_xds_streams_refused_total{reason="UNAUTHENTICATED"} 3.0' in plane.server.metrics.exposition()


async def test_the_observer_prepares_before_the_first_response(plane: Plane) -> None:
    plane.visits.hold = asyncio.Event()
    plane.visits.on_arrival = lambda proxy: plane.store.set_own(proxy, (cluster("own"),))
    async with plane.client() as client:
        await client.send(node=PROXY)
        await until(lambda: plane.visits.heard == [("connect", PROXY)])
        plane.visits.hold.set()
        response = await client.receive()
        assert [each.name for each in response.resources] == ["a", "b", "own"]
    await until(lambda: plane.visits.heard == [("connect", PROXY), ("disconnect", PROXY)])


async def test_two_streams_of_a_proxy_are_one_visit(plane: Plane) -> None:
    async with plane.connected():
        async with plane.connected():
            assert plane.visits.heard == [("connect", PROXY)]
        await until(lambda: plane.server.proxies.of(PROXY) is not None)
    await until(lambda: plane.visits.heard == [("connect", PROXY), ("disconnect", PROXY)])
