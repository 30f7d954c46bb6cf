"""What happens on an open stream: pushes, slow and dying clients, the end of the server."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import pytest

from tests.server.plane import PROXY, MakePlane, Plane, cluster, until
from xds.resource import TypeUrl
from xds.server import XdsServer
from xds.subscription import MAX_NAMES
from xds.view import View

OTHER = "shop/thief"


def nothing_left(plane: Plane) -> bool:
    """Whether no trace of any stream remains."""
    server: Any = plane.server
    return not (
        len(server.proxies)
        or server._streams.open
        or server._streams._departures
        or server._admission._active
        or server._writes._due
        or server.fanout._left
        or len(server.rejections)
        or server._presence._entries
        or plane.store.record(PROXY).sinks
        or server.metrics.connected
    )


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
async def test_a_change_is_pushed_and_its_answer_known(plane: Plane, delta: bool) -> None:
    async with plane.connected(delta=delta) as client:
        plane.put(cluster("a", "2"))
        response = await client.receive()
        assert len(response.resources) == (1 if delta else 2)
        status = plane.server.proxies.of(PROXY)
        assert status is not None
        assert not status.synced
        assert {each.name: (each.sent == each.version, each.acked == each.version) for each in status.holdings()} == {
            "a": (True, False),
            "b": (True, True),
        }
        await client.acknowledge(response)
        await until(lambda: status.synced)
        assert status.answers[TypeUrl.CLUSTER].acks == 2
        metrics = plane.server.metrics.exposition().decode()
        assert 'tulle_xds_push_seconds_count{type="Cluster"} 1.0' in metrics
        assert 'tulle_xds_acks_total{type="Cluster"} 2.0' in metrics
        assert 'tulle_xds_resources_sent_total{type="Cluster"} 3.0' in metrics
        assert "tulle_xds_connected_proxies 1.0" in metrics
    await until(lambda: nothing_left(plane))


async def test_a_rejection_is_recorded_and_retried(plane: Plane, caplog: pytest.LogCaptureFixture) -> None:
    async with plane.connected() as client:
        plane.put(cluster("a", "2"))
        response = await client.receive()
        error = {"code": 13, "message": "a: no such thing"}
        await client.send(response_nonce=response.nonce, error_detail=error)
        status = plane.server.proxies.of(PROXY)
        assert status is not None
        await until(lambda: status.answers[TypeUrl.CLUSTER].nacks)
        nack = status.answers[TypeUrl.CLUSTER].last_nack
        assert nack is not None
        assert (nack.message, nack.names) == ("a: no such thing", ("a",))
        assert "rejected: Cluster: a: no such thing (shop/buyer)" in caplog.text
        again = await client.receive()
        assert [each.name for each in again.resources] == ["a"]
        await client.acknowledge(again)
        await until(lambda: status.synced)


async def test_large_answers_pass(plane: Plane) -> None:
    plane.put(*(cluster(f"c{number}", "x" * 2000) for number in range(1000)))
    async with plane.connected():
        pass


async def test_a_large_request_passes(plane: Plane) -> None:
    """Larger than gRPC takes by default: 4 MiB."""
    names = [f"outbound/namespace-{number}/{'service' * 20}-{number}/{number}" for number in range(MAX_NAMES)]
    assert sum(map(len, names)) > 4 << 20
    async with plane.client() as client:
        await client.send(node=PROXY, type_url=TypeUrl.SECRET, resource_names_subscribe=names)
        assert len((await client.receive()).removed_resources) == MAX_NAMES


async def test_a_client_that_is_cancelled_leaves_nothing(plane: Plane) -> None:
    for _ in range(5):
        async with plane.connected() as client:
            client.call.cancel()
    await until(lambda: nothing_left(plane))


async def test_a_client_that_is_done_gets_ok(plane: Plane) -> None:
    async with plane.connected() as client:
        await client.call.done_writing()
        assert await client.ending() == ("OK", "")
    await until(lambda: nothing_left(plane))


async def test_a_client_that_says_nothing_and_goes(plane: Plane) -> None:
    async with plane.client() as client:
        await client.call.done_writing()
        assert await client.ending() == ("OK", "")
    await until(lambda: nothing_left(plane))


KILLED = """
import sys, time, grpc
from protos.envoy.service.discovery import v3_pb2 as d
port, roots = int(sys.argv[1]), sys.stdin.buffer.read()
channel = grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(roots))
request = d.DeltaDiscoveryRequest(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")
request.node.id = "shop/buyer"
def requests():
    yield request.SerializeToString()
    time.sleep(600)
call = channel.stream_stream("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources")(
    requests(), metadata=(("authorization", "Bearer buyer"),))
next(call)
print("connected", flush=True)
time.sleep(600)
"""


async def test_a_client_that_is_killed_leaves_nothing(plane: Plane, root_pem: bytes) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        KILLED,
        str(plane.port),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(root_pem)
    process.stdin.close()
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"connected\n"
        assert len(plane.server.proxies) == 1
    finally:
        process.kill()
        await process.wait()
    await until(lambda: nothing_left(plane))


async def test_a_slow_reader_disturbs_nobody_and_is_cut_off(make_plane: MakePlane) -> None:
    plane = await make_plane(write_deadline=1.0)
    plane.store.set_view(OTHER, View(("all",)))
    async with plane.client(token="thief") as slow, plane.connected() as quick:
        await slow.send(node=OTHER)
        await slow.receive()
        rounds = 0
        while plane.server.proxies.of(OTHER) is not None:
            rounds += 1
            assert rounds < 500
            plane.put(cluster("a", str(rounds) + "x" * 200_000))
            with contextlib.suppress(TimeoutError):
                await quick.acknowledge(await asyncio.wait_for(quick.receive(), 5))
            if (status := plane.server.proxies.of(OTHER)) is not None:
                # What it does not read merges: one name is owed, however often that changed, and what gRPC took of
                # it before is about 4 MB.
                clusters = status.stream.substreams[TypeUrl.CLUSTER]
                assert len(clusters.pending) <= 1
                assert len(clusters.unacked) < 40
            if rounds > 60:
                await asyncio.sleep(0.05)
        assert plane.server.proxies.of(PROXY) is not None
        code, _ = await slow.ending()
        assert code == "DEADLINE_EXCEEDED"


async def test_stopping_ends_streams(make_plane: MakePlane) -> None:
    plane = await make_plane()
    async with plane.connected() as client:
        stopping = asyncio.create_task(plane.server.stop(5))
        assert await client.ending() == ("UNAVAILABLE", "the control plane is shutting down")
        await asyncio.wait_for(stopping, 5)
    await until(lambda: nothing_left(plane))


async def test_a_port_is_had_once(plane: Plane, tls: Any) -> None:
    second = XdsServer(plane.store, plane.tokens, lambda *_: None, tls[0], f"127.0.0.1:{plane.port}")
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{plane.port}"):
        await second.start()
