"""The outlines of the public xDS test harness, played against the adapter over real gRPC, aggregated variants.

``tests/harness_adapter/client.py`` plays the original's client. The rows of one outline run side by side, each as a
node of its own. Outlines are numbered as in ``tests/conformance``: S (SotW), U (SotW, unsubscribing), D (delta).
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import pytest

from protos.envoy.service.discovery import v3_pb2 as discovery_v3
from tests.harness_adapter.__main__ import serving
from tests.harness_adapter.client import TYPES, AdapterClient, Client
from xds.placeholder import placeholder
from xds.server import ADS

# -- the outlines


async def s1(c: Client, service: str, names: str) -> None:
    await c.adapter.set_state([service], names)
    await c.subscribe(service)
    await c.receives(service, names)
    c.at_once(service, names)


async def s2(c: Client, service: str, names: str) -> None:
    await s1(c, service, names)
    await c.adapter.edit("UpdateResource", service, names[0], "2")
    await c.receives(service, names, "2")
    c.at_once(service, names)


async def s3(c: Client, service: str, names: str, added: str) -> None:
    await s1(c, service, names)
    await c.adapter.edit("AddResource", service, added, "2")
    await c.receives(service, names + added, "2")
    c.at_once(service, names + added)


async def s4(c: Client, service: str, names: str, wanted: str) -> None:
    await c.adapter.set_state([service], names)
    await c.subscribe(service, wanted)
    await c.receives(service, wanted)


async def s5(c: Client, service: str, names: str, wanted: str, changed: str) -> None:
    await s4(c, service, names, wanted)
    await c.adapter.edit("UpdateResource", service, changed, "2")
    await c.receives(service, wanted, "2")
    c.at_once(service, wanted)


async def s6(c: Client, service: str) -> None:
    await s4(c, service, "ABCD", "BD")
    await c.adapter.edit("UpdateResource", service, "B", "2")
    await c.receives(service, "B", "2")


async def s7(c: Client, service: str, names: str, wanted: str, added: str) -> None:
    await c.adapter.set_state([service], names)
    await c.subscribe(service, wanted)
    await c.receives(service, wanted.replace(added, ""))
    await c.adapter.edit("AddResource", service, added, "2")
    await c.receives(service, wanted, "2")
    c.at_once(service, wanted)


async def s8(c: Client, service: str) -> None:
    await c.adapter.set_state([service], "ABCD")
    await c.subscribe(service, "AZ")
    await c.receives(service, "A")
    await c.adapter.edit("AddResource", service, "Z", "2")
    await c.receives(service, "Z", "2")


async def s9(c: Client, first: str, second: str) -> None:
    await c.adapter.set_state([first, second], "ABC")
    await c.subscribe(first, "B")
    await c.receives(first, "B")
    await c.subscribe(second, "B")
    await c.receives(second, "B")
    await c.adapter.edit("UpdateResource", first, "B", "2")
    await c.receives(first, "B", "2")


async def u1(c: Client, service: str, names: str, wanted: str, kept: str) -> None:
    await s4(c, service, names, wanted)
    await c.narrow(service, [kept])
    await c.adapter.edit("UpdateResource", service, kept, "2")
    await c.receives(service, kept, "2")


async def u2(c: Client, service: str) -> None:
    await u1(c, service, "ABCD", "BD", "B")
    assert list(c.seen[service]) == ["B"]


async def u3(c: Client, service: str) -> None:
    await s4(c, service, "ABCD", "AB")
    await c.narrow(service, [""], version=False)
    await c.adapter.edit("UpdateResource", service, "B", "2")
    await c.silence(service)


async def d1(c: Client, service: str) -> None:
    await s4(c, service, "ABC", "A")
    await c.subscribe(service, "B")
    await c.receives(service, "B")


async def d2(c: Client, service: str) -> None:
    await s4(c, service, "ABC", "ABC")
    await c.adapter.edit("UpdateResource", service, "A", "2")
    await c.receives(service, "A", "2")
    c.alone(service, "A")


async def d3(c: Client, service: str) -> None:
    await c.adapter.set_state([service], "A")
    await c.subscribe(service, "AB")
    await c.receives(service, "A")
    if service in ("CDS", "LDS"):
        c.alone(service, "A")
        assert c.removed[service] == {"B"}
    else:
        # Not as the original has it: what is missing is explicitly empty, which Envoy understands.
        empty = placeholder(TYPES[service], "B")
        assert empty is not None
        assert c.seen[service]["B"].body == empty.body
    await c.adapter.edit("AddResource", service, "B", "1")
    await c.until(lambda: c.seen[service].get("B", c.seen[service]["A"]).nonce != c.seen[service]["A"].nonce)
    c.alone(service, "B", same_version=True)


async def d4(c: Client, service: str) -> None:
    await s4(c, service, "AB", "AB")
    await c.adapter.edit("RemoveResource", service, "B", "1")
    if service in ("CDS", "LDS"):
        await c.told_removed(service, "B")
    else:
        # Not as the original has it: what uses these goes first, and Envoy does not understand their removal.
        await c.silence(service)
    await c.adapter.edit("AddResource", service, "B", "2")
    await c.receives(service, "B", "2")
    c.alone(service, "B")


async def d5(c: Client, service: str) -> None:
    await s4(c, service, "AB", "AB")
    for name in "BA":
        await c.unsubscribe(service, name)
        await c.adapter.edit("UpdateResource", service, name, "2")
        await c.silence(service, name)


async def d6(c: Client, first: str, second: str) -> None:
    await c.adapter.set_state([first, second], "ABC")
    for service in (first, second):
        await c.subscribe(service, "B")
    for service in (first, second):
        await c.receives(service, "B")
    for service in (first, second):
        await c.adapter.edit("UpdateResource", service, "B", "2")
        await c.receives(service, "B", "2")


Outline = Callable[..., Awaitable[None]]
PARTIAL = [("RDS",), ("EDS",)]
ALL = [(service,) for service in TYPES]
WHOLE = [("CDS", "ABC"), ("LDS", "DEF")]
ROWS: list[tuple[Outline, bool, Sequence[tuple[str, ...]]]] = [
    (s1, False, WHOLE),
    (s2, False, WHOLE),
    (s3, False, [("CDS", "ABC", "D"), ("LDS", "DEF", "G")]),
    (s4, False, [("LDS", "GBLD", "LG"), ("RDS", "BA", "BA")]),
    (s4, True, [("LDS", "GBLD", "LG"), ("RDS", "BA", "BA")]),
    (s5, False, [("CDS", "ABCD", "BD", "B"), ("LDS", "GBLD", "LG", "G")]),
    (s6, False, PARTIAL),
    (s7, False, [("CDS", "ABC", "AZ", "Z"), ("LDS", "GBD", "BDX", "X")]),
    (s8, False, PARTIAL),
    (s9, False, [("CDS", "LDS"), ("RDS", "EDS")]),
    (u1, False, [("CDS", "FABCD", "CAB", "A"), ("LDS", "GBLD", "BDL", "B")]),
    (u2, False, PARTIAL),
    (u3, False, ALL),
    (d1, True, ALL),
    (d2, True, ALL),
    (d3, True, ALL),
    (d4, True, ALL),
    (d5, True, ALL),
    (d6, True, [("CDS", "LDS"), ("LDS", "CDS"), ("RDS", "EDS"), ("EDS", "RDS")]),
]


@pytest.mark.parametrize(
    ("outline", "delta", "rows"), ROWS, ids=[f"{row[0].__name__}-{'delta' if row[1] else 'sotw'}" for row in ROWS]
)
async def test_outline(outline: Outline, delta: bool, rows: Sequence[tuple[str, ...]]) -> None:
    method = ADS + ("DeltaAggregatedResources" if delta else "StreamAggregatedResources")
    async with (
        serving("127.0.0.1:0", "127.0.0.1:0", settle=0) as served,
        grpc.aio.insecure_channel(f"127.0.0.1:{served.target_port}") as target,
        grpc.aio.insecure_channel(f"127.0.0.1:{served.adapter_port}") as adapter,
    ):

        async def play(node: str, row: tuple[str, ...]) -> None:
            stream: Any = target.stream_stream(method)()
            client = Client(served.server, delta, node, AdapterClient(adapter, node), stream)
            listening = asyncio.create_task(client.listen())
            try:
                await outline(client, *row)
                await client.ends()
                assert not listening.done(), listening.exception()
            except Exception as error:
                error.add_note(f"row {row}, of which the client has seen {client.seen}")
                raise
            finally:
                listening.cancel()
                stream.cancel()

        await asyncio.gather(*(play(f"test/{number}", row) for number, row in enumerate(rows)))


# -- the adapter itself


async def test_clearing_a_node_ends_its_streams_and_forgets_its_state() -> None:
    async with (
        serving("127.0.0.1:0", "127.0.0.1:0", settle=0) as served,
        grpc.aio.insecure_channel(f"127.0.0.1:{served.target_port}") as target,
        grpc.aio.insecure_channel(f"127.0.0.1:{served.adapter_port}") as channel,
    ):
        adapter = AdapterClient(channel, "test/id")
        await adapter.set_state(["CDS"], "AB")
        stream: Any = target.stream_stream(f"{ADS}DeltaAggregatedResources")()
        client = Client(served.server, True, "test/id", adapter, stream)
        await client.subscribe("CDS")
        await stream.read()
        assert (await adapter.call("ClearState")).response
        assert await asyncio.wait_for(stream.code(), 5) == grpc.StatusCode.NOT_FOUND
        await adapter.set_state(["CDS"], "C")
        stream = target.stream_stream(f"{ADS}DeltaAggregatedResources")()
        client = Client(served.server, True, "test/id", adapter, stream)
        await client.subscribe("CDS")
        response = discovery_v3.DeltaDiscoveryResponse.FromString(await stream.read())
        assert [each.name for each in response.resources] == ["C"]
        stream.cancel()
        with pytest.raises(grpc.aio.AioRpcError, match="is not a valid TypeUrl"):
            await adapter.call("AddResource", typeUrl="type.googleapis.com/strange", resourceName="A")


async def test_it_runs_until_it_is_told_to_stop() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.harness_adapter", "--target", "127.0.0.1:0", "--adapter", "127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert (await asyncio.wait_for(process.stdout.readline(), 20)).startswith(b"target at ")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
