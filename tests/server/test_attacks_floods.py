"""Attacks that want to cost the control plane something: memory, time, descriptors, lines of its log. While each goes
on, the honest proxy gets a change in about the time it takes without, and memory stays within a bound.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress

import grpc
import h2.config
import h2.connection
import pytest
import pytest_asyncio

from tests.server.plane import Client
from tests.server.siege import OTHER, Siege, besieged
from xds.resource import TypeUrl
from xds.server import ADS
from xds.subscription import MAX_NAMES

pytestmark = pytest.mark.asyncio(loop_scope="module")
DELTA = ADS + "DeltaAggregatedResources"
HALF_OPEN = 10_000

Attack = Callable[[Siege], Awaitable[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def siege(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Siege]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        async with besieged(tmp_path_factory.mktemp("siege") / "work") as started:
            yield started
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def harmless(siege: Siege, megabytes: float) -> AsyncIterator[None]:
    """What happens in here costs the honest proxy little time, and the control plane at most so much memory."""
    quiet, before = await siege.delays(), siege.memory()
    over = asyncio.Event()
    busy: list[float] = []

    async def watch() -> None:
        while not busy or not over.is_set():
            busy.append(await siege.delay())

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        over.set()
        await watching
    grown = siege.memory() - before
    # A scheduler's turn on a busy machine, and no multiple of what is usual. One large request of somebody who may
    # ask takes its time, once; an attack that goes on must not.
    assert len(busy) < 5 or sorted(busy)[len(busy) // 2] < 5 * quiet + 0.5, (quiet, busy)
    assert max(busy) < 10 * quiet + 2, (quiet, busy)
    assert grown < megabytes, f"{grown:.0f} MB more than before"


async def first(siege: Siege, client: Client) -> None:
    """Become an ordinary stream of shop/cart that has its clusters."""
    await client.send(node=OTHER, type_url=TypeUrl.CLUSTER)
    await client.acknowledge(await client.receive())


async def oversized_request(siege: Siege) -> None:
    for _ in range(5):
        async with siege.stream(siege.token(OTHER)) as client:
            await client.send(node=OTHER, type_url=TypeUrl.ENDPOINT, resource_names_subscribe=["x" * (17 << 20)])
            code, reason = await client.ending()
            assert code == "RESOURCE_EXHAUSTED"
            assert "larger than max" in reason


async def oversized_name(siege: Siege) -> None:
    for _ in range(5):
        async with siege.stream(siege.token(OTHER)) as client:
            await client.send(node=OTHER, type_url=TypeUrl.ENDPOINT, resource_names_subscribe=["x" * (8 << 20)])
            assert (await client.ending())[0] == "INVALID_ARGUMENT"


async def too_many_names(siege: Siege) -> None:
    names = [f"outbound/nowhere/service-{number}/80" for number in range(MAX_NAMES)]
    async with siege.stream(siege.token(OTHER)) as client:
        await client.send(node=OTHER, type_url=TypeUrl.ENDPOINT, resource_names_subscribe=names)
        got = 0
        while got < len(names):
            response = await client.receive()
            got += len(response.resources) + len(response.removed_resources)
        await client.send(type_url=TypeUrl.ENDPOINT, resource_names_subscribe=["one too many"])
        assert (await client.ending())[0] == "INVALID_ARGUMENT"
    async with siege.stream(siege.token(OTHER)) as client:
        more = [f"{name}/{number}" for name in names for number in range(3)]
        await client.send(node=OTHER, type_url=TypeUrl.ENDPOINT, resource_names_subscribe=more)
        assert (await client.ending())[0] == "INVALID_ARGUMENT"


async def megabyte_of_metadata(siege: Siege) -> None:
    async with siege.channel() as channel:
        for value in ("x" * (1 << 20), "y" * (100 << 10)):
            call = channel.stream_stream(DELTA)(metadata=(("authorization", f"Bearer {value}"),))
            assert await asyncio.wait_for(call.code(), 10) is not grpc.StatusCode.OK


async def malformed_protobuf(siege: Siege) -> None:
    for data in (b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a" * 100_000, b"\x2b" * 10_000):
        async with siege.stream(siege.token(OTHER)) as client:
            await client.call.write(data)
            code, reason = await client.ending()
            assert (code, "could not be decoded" in reason) == ("INVALID_ARGUMENT", True)


async def nack_storm(siege: Siege) -> None:
    async with siege.stream(siege.token(OTHER)) as client:
        await first(siege, client)
        for number in range(5000):
            error = {"code": 13, "message": f"no {number}\n2026-01-01 INFO all is well\x1b[2J"}
            await client.send(type_url=TypeUrl.CLUSTER, response_nonce="1", error_detail=error)
    await siege.settled(lambda: len(siege.told("rejected: Cluster: no ")) >= 1, "the rejections to be logged")
    assert len(siege.told("rejected: Cluster")) < 50
    assert not [line for line in siege.log().splitlines() if not line.isprintable() or line.startswith("2026-01-01")]


async def slow_first_requests(siege: Siege) -> None:
    """Streams that say nothing: few are waited for, and not for long."""
    token = siege.token(OTHER)
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(siege.channel()) for _ in range(3)]
        calls = [
            channel.stream_stream(DELTA)(metadata=(("authorization", f"Bearer {token}"),))
            for channel in channels
            for _ in range(10)
        ]
        codes = await asyncio.wait_for(asyncio.gather(*(call.code() for call in calls)), 30)
    assert {code.name for code in codes} == {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}


async def half_of_a_request(siege: Siege) -> None:
    """A message that says it is 16 MB long and comes byte by byte, by hand in HTTP/2."""
    reader, writer = await hand_made(siege)
    wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    wire.initiate_connection()
    headers = [(":method", "POST"), (":scheme", "https"), (":authority", "besieged"), (":path", DELTA)]
    headers += [("content-type", "application/grpc"), ("te", "trailers")]
    wire.send_headers(1, [*headers, ("authorization", f"Bearer {siege.token(OTHER)}")])
    wire.send_data(1, b"\0" + (15 << 20).to_bytes(4))
    ended = None
    async with asyncio.timeout(30):
        while ended is None:
            with suppress(Exception):
                wire.send_data(1, b"x")
            writer.write(wire.data_to_send())
            with suppress(TimeoutError):
                for event in wire.receive_data(await asyncio.wait_for(reader.read(1 << 16), 0.1)):
                    ended = dict(getattr(event, "headers", ())).get("grpc-status", ended)
    writer.close()
    assert ended == "4", "DEADLINE_EXCEEDED"


ATTACKS: dict[str, tuple[Attack, float]] = {
    "requests above the limit": (oversized_request, 60),
    "a name of megabytes": (oversized_name, 60),
    "as many names as may be, one more, and three times as many": (too_many_names, 150),
    "1 MB of metadata": (megabyte_of_metadata, 30),
    "malformed protobuf": (malformed_protobuf, 30),
    "a storm of rejections": (nack_storm, 30),
    "streams that say nothing": (slow_first_requests, 30),
    "a request that never ends": (half_of_a_request, 30),
}


@pytest.mark.parametrize(("attack", "megabytes"), ATTACKS.values(), ids=ATTACKS)
async def test_a_flood_costs_nobody_else_anything(siege: Siege, attack: Attack, megabytes: float) -> None:
    async with harmless(siege, megabytes):
        await attack(siege)


@contextmanager
def connections(siege: Siege) -> Iterator[Callable[[], socket.socket]]:
    """Makes connections without a word of TLS, and closes them all at the end."""
    host, _, port = siege.xds.partition(":")
    with ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection((host, int(port))))


async def hand_made(siege: Siege) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """TLS as gRPC wants it, and nothing in it yet."""
    host, _, port = siege.xds.partition(":")
    return await asyncio.open_connection(host, int(port), ssl=believing())


def believing() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(1 << 16):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        pass
    return False


async def all_closed(held: list[socket.socket]) -> None:
    async with asyncio.timeout(40):
        while any(map(is_open, held)):
            await asyncio.sleep(0.5)


@pytest.mark.slow
async def test_ten_thousand_connections_without_tls(siege: Siege) -> None:
    # 20 kB each, and twice that for a moment when all of them time out.
    before = siege.memory()
    async with harmless(siege, 600):
        with connections(siege) as connect:
            held = []
            for number in range(HALF_OPEN):
                held.append(connect())
                if number % 100 == 0:
                    await asyncio.sleep(0)
            assert sum(map(is_open, held)) == HALF_OPEN
            await all_closed(held)
    first_round = siege.memory()
    with connections(siege) as connect:
        await all_closed([connect() for _ in range(HALF_OPEN)])
    # The allocator gives little back, and uses most of it again.
    assert siege.memory() - first_round < 0.6 * (first_round - before)


@pytest.mark.slow
async def test_two_thousand_connections_with_tls_and_no_http2(siege: Siege) -> None:
    loop, context = asyncio.get_running_loop(), believing()
    async with harmless(siege, 400):
        with connections(siege) as connect, ExitStack() as stack:
            held: list[socket.socket] = []
            for _ in range(2000):
                greeted = await loop.run_in_executor(None, context.wrap_socket, connect())
                held.append(stack.enter_context(greeted))
            await all_closed(held)
