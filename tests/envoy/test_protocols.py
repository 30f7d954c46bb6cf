"""Every form of HTTP passes through a pair of sidecars unharmed, under the deny-by-default policy."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import grpc
import grpc.aio
import pytest
import pytest_asyncio
from aiohttp import web

from tests.envoy.applications.grpc_echo import FAIL, STREAM, UNARY, grpc_server
from tests.envoy.applications.http2_echo import http2_server, request_http2
from tests.envoy.applications.raw_http import BIG, SLOW_SECONDS, RawHttpServer
from tests.envoy.explicit_mesh import ExplicitMesh, explicit_mesh
from tests.envoy.http1 import Message, chunked, exchange, read_head, with_body

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: server, namespace: web}
spec:
  selector: {app: server}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: http2, port: 81, targetPort: http2}
    - {name: grpc, port: 82, targetPort: grpc}
    - {name: web, port: 83, targetPort: ws, appProtocol: kubernetes.io/ws}
    - {name: http-dead, port: 84, targetPort: dead}
    - {name: http-any, port: 85, targetPort: any}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: server-0, namespace: web, labels: {app: server}}
spec:
  serviceAccountName: server
  address: 127.0.0.1
  ports:
    - {name: http, port: $http, appPort: $http_app}
    - {name: http2, port: $http2, appPort: $http2_app}
    - {name: grpc, port: $grpc, appPort: $grpc_app}
    - {name: ws, port: $ws, appPort: $ws_app}
    - {name: dead, port: $dead, appPort: $dead_app}
    - {name: any, port: $any, appPort: $any_app}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: client-0, namespace: web}
spec:
  serviceAccountName: client
  address: 127.0.0.1
  upstreams:
    - {service: server, port: 80, localPort: $to_http}
    - {service: server, port: 81, localPort: $to_http2}
    - {service: server, port: 82, localPort: $to_grpc}
    - {service: server, port: 83, localPort: $to_ws}
    - {service: server, port: 84, localPort: $to_dead}
    - {service: server, port: 85, localPort: $to_any}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: everything, namespace: web}
spec:
  matches:
    - {name: all, pathRegex: /.*, methods: ["*"]}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: client-to-server, namespace: web}
spec:
  destination: {kind: ServiceAccount, name: server, namespace: web}
  rules:
    - {kind: HTTPRouteGroup, name: everything}
  sources:
    - {kind: ServiceAccount, name: client, namespace: web}
"""
ADDED_BY_SIDECARS = {"x-forwarded-proto", "x-request-id", "x-forwarded-client-cert"}
"""The only headers that an application sees and its client did not send."""


@dataclass(frozen=True)
class Pair:
    running: ExplicitMesh
    application: RawHttpServer
    slow: asyncio.Task[tuple[Message, float]]

    def port(self, name: str) -> int:
        return self.running.ports[f"to_{name}"]

    async def exchange(self, request: bytes) -> Message:
        return await exchange(self.port("http"), request)

    async def echoed(self, request: bytes) -> dict[str, object]:
        """What the application saw of `request`."""
        answer = await self.exchange(request)
        assert answer.status == 200, answer
        return dict(json.loads(answer.body))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    work_dir = tmp_path_factory.mktemp("protocols")
    async with explicit_mesh(work_dir, OBJECTS, ["web/server-0", "web/client-0"]) as running, AsyncExitStack() as stack:
        ports = running.ports
        application = await stack.enter_async_context(RawHttpServer().serving(ports["http_app"]))
        await stack.enter_async_context(http2_server(ports["http2_app"]))
        await stack.enter_async_context(http2_server(ports["any_app"]))
        await stack.enter_async_context(grpc_server(ports["grpc_app"]))
        await stack.enter_async_context(websocket_server(ports["ws_app"]))
        slow = asyncio.create_task(timed_slow_request(ports["to_http"]))
        yield Pair(running, application, slow)
        slow.cancel()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_rejected(pair: Pair) -> AsyncIterator[None]:
    yield
    await pair.running.assert_nothing_rejected()


async def timed_slow_request(port: int) -> tuple[Message, float]:
    start = time.monotonic()
    answer = await exchange(port, b"GET /slow HTTP/1.1\r\nhost: server\r\n\r\n", within=40)
    return answer, time.monotonic() - start


@asynccontextmanager
async def websocket_server(port: int) -> AsyncIterator[None]:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["tulle-test"], max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.data == "close":
                await socket.close(code=4321, message=b"as you wish")
            elif message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
        return socket

    application = web.Application()
    application.router.add_get("/chat", echo)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_a_request_arrives_as_it_was_sent(pair: Pair) -> None:
    head = b"PATCH /a%20b;v=1/~x?y=%2F..%2F&z=a+b HTTP/1.1\r\nhost: any.name:99\r\ncontent-length: 3\r\n"
    saw = await pair.echoed(head + b"cookie: a=1\r\nuser-agent: me\r\nX-Mixed: Kept\r\n\r\nabc")
    assert (saw["method"], saw["target"], saw["length"]) == ("PATCH", "/a%20b;v=1/~x?y=%2F..%2F&z=a+b", 3)
    headers = saw["headers"]
    assert isinstance(headers, dict)
    sent = {"host": "any.name:99", "cookie": "a=1", "content-length": "3", "user-agent": "me", "x-mixed": "Kept"}
    assert {name: headers[name] for name in sent} == sent
    assert headers.keys() - sent.keys() <= ADDED_BY_SIDECARS
    assert "URI=spiffe://cluster.local/ns/web/sa/client" in headers["x-forwarded-client-cert"].split(";")


@pytest.mark.parametrize("host", [b"", b"host: old.example\r\n"])
async def test_http_1_0(pair: Pair, host: bytes) -> None:
    answer = await pair.exchange(b"GET /old HTTP/1.0\r\n" + host + b"\r\n")
    assert answer.status == 200
    assert answer.header("transfer-encoding") is None
    saw = json.loads(answer.body)
    assert saw["target"] == "/old"
    assert saw["headers"]["host"] == ("old.example" if host else "server.web")


async def test_http_1_0_gets_no_chunks(pair: Pair) -> None:
    answer = await pair.exchange(b"GET /trailers HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.header("transfer-encoding"), answer.body) == (200, None, b"first second")


async def test_an_application_that_speaks_http_1_0(pair: Pair) -> None:
    answer = await pair.exchange(b"GET /without-length HTTP/1.1\r\nhost: server\r\n\r\n")
    assert (answer.status, answer.body) == (200, b"until the end")


async def test_chunks_and_trailers_go_both_ways(pair: Pair) -> None:
    head = b"POST /upload HTTP/1.1\r\nhost: server\r\nte: trailers\r\ntrailer: x-check\r\n"
    saw = await pair.echoed(
        head + b"transfer-encoding: chunked\r\n\r\n" + chunked(b"one ", b"two ", b"three", trailers=b"x-check: 7\r\n")
    )
    assert (saw["length"], saw["trailers"]) == (13, {"x-check": "7"})
    assert saw["sha256"] == hashlib.sha256(b"one two three").hexdigest()
    answer = await pair.exchange(b"GET /trailers HTTP/1.1\r\nhost: server\r\nte: trailers\r\n\r\n")
    assert (answer.status, answer.body) == (200, b"first second")
    assert dict(answer.trailers) == {"x-sum": "42", "x-more": "yes"}


async def test_large_bodies_both_ways(pair: Pair) -> None:
    upload = b"POST /up HTTP/1.1\r\nhost: server\r\ncontent-length: %d\r\n\r\n" % len(BIG)
    saw = await pair.echoed(upload + BIG)
    assert (saw["length"], saw["sha256"]) == (len(BIG), hashlib.sha256(BIG).hexdigest())
    answer = await pair.exchange(b"GET /big HTTP/1.1\r\nhost: server\r\n\r\n")
    assert len(answer.body) >= 10_000_000
    assert answer.body == BIG


async def test_head_keeps_the_length_and_has_no_body(pair: Pair) -> None:
    answer = await pair.exchange(b"HEAD /big HTTP/1.1\r\nhost: server\r\n\r\n")
    assert (answer.status, answer.header("content-length"), answer.body) == (200, str(len(BIG)), b"")


async def test_expect_100_continue_is_the_applications_to_answer(pair: Pair) -> None:
    """Answered by a sidecar, a server could not refuse an upload before it is sent."""
    head = b"PUT %s HTTP/1.1\r\nhost: server\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", pair.port("http"))
    async with asyncio.timeout(5):
        writer.write(head % b"/accepted")
        assert (await read_head(reader)).status == 100
        writer.write(b"hello")
        answer = await with_body(reader, await read_head(reader))
        assert (answer.status, json.loads(answer.body)["length"]) == (200, 5)
        writer.close()
    refused = await pair.exchange(head % b"/refuse-to-read")
    assert refused.status == 413
    assert pair.application.saw[-1].body == b""


async def test_many_headers_both_ways(pair: Pair) -> None:
    extra = b"".join(b"x-extra-%d: %d\r\n" % (number, number) for number in range(150))
    saw = await pair.echoed(b"GET /h HTTP/1.1\r\nhost: server\r\nx-large: " + b"y" * 16_000 + b"\r\n" + extra + b"\r\n")
    headers = saw["headers"]
    assert isinstance(headers, dict)
    assert all(headers[f"x-extra-{number}"] == str(number) for number in range(150))
    assert len(headers["x-large"]) == 16_000
    answer = await pair.exchange(b"GET /many-headers HTTP/1.1\r\nhost: server\r\n\r\n")
    assert (answer.status, answer.header("x-extra-149")) == (200, "149")


async def test_answers_stay_as_the_application_made_them(pair: Pair) -> None:
    answer = await pair.exchange(b"GET /teapot HTTP/1.1\r\nhost: server\r\n\r\n")
    assert (answer.status, answer.body, answer.header("server")) == (418, b"short", None)
    assert (await pair.exchange(b"GET / HTTP/1.1\r\nhost: server\r\n\r\n")).header("server") == "raw/1.0"
    nameless = await pair.exchange(b"HEAD /anonymous HTTP/1.1\r\nhost: server\r\n\r\n")
    assert (nameless.status, nameless.header("server")) == (204, None)
    assert {name for name, _ in nameless.headers} <= {"date"}


async def test_a_cut_answer_is_not_passed_off_as_whole(pair: Pair) -> None:
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await pair.exchange(b"GET /cut HTTP/1.1\r\nhost: server\r\n\r\n")


async def test_what_may_have_been_processed_is_not_sent_twice(pair: Pair) -> None:
    answer = await pair.exchange(b"POST /vanish HTTP/1.1\r\nhost: server\r\ncontent-length: 2\r\n\r\nhi")
    assert answer.status in {502, 503}
    assert [message.start for message in pair.application.saw if "/vanish" in message.start] == [
        "POST /vanish HTTP/1.1"
    ]


async def test_a_dead_application_is_a_503_at_once(pair: Pair) -> None:
    start = time.monotonic()
    answer = await exchange(pair.port("dead"), b"GET / HTTP/1.1\r\nhost: server\r\n\r\n")
    assert answer.status == 503
    assert time.monotonic() - start < 5


async def test_websocket(pair: Pair) -> None:
    url = pair.running.url("to_ws", "/chat").replace("http", "ws")
    async with pair.running.http.ws_connect(url, protocols=["tulle-test"], max_msg_size=0) as socket:
        assert socket.protocol == "tulle-test"
        await socket.send_str("grüße")
        assert await socket.receive_str(timeout=5) == "grüße"
        blob = os.urandom(1_000_000)
        await socket.send_bytes(blob)
        assert await socket.receive_bytes(timeout=10) == blob
        await socket.send_str("close")
        message = await socket.receive(timeout=5)
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 4321, "as you wish")


@pytest.mark.parametrize("port", ["http2", "any"])
async def test_http_2_without_tls(pair: Pair, port: str) -> None:
    """On a port that declares it, and on one that only says `http`: there the client's version is kept."""
    async with asyncio.timeout(10):
        body = os.urandom(1_000_000)
        answer = await request_http2(pair.port(port), "POST", "/two?x=1", body, [("x-check", "7")])
    assert answer.headers[":status"] == "200"
    assert bytes(answer.body) == body
    assert answer.trailers == {"x-method": "POST", "x-path": "/two?x=1", "x-check": "7"}
    assert answer.headers["server"] == "h2-echo"


async def test_http_1_to_an_application_that_speaks_http_2(pair: Pair) -> None:
    answer = await exchange(pair.port("http2"), b"GET /one HTTP/1.1\r\nhost: server\r\nte: trailers\r\n\r\n")
    assert (answer.status, dict(answer.trailers).get("x-path")) == (200, "/one")


async def test_grpc(pair: Pair) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{pair.port('grpc')}") as channel:
        call = channel.unary_unary(UNARY)(b"x" * 100_000, timeout=10)
        assert await call == b"x" * 100_000
        assert dict(await call.trailing_metadata())["x-length"] == "100000"
        assert await call.code() is grpc.StatusCode.OK

        failing = channel.unary_unary(FAIL)(b"", timeout=10)
        assert await failing.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert await failing.details() == "the shelf is empty: 100 %"
        assert dict(await failing.trailing_metadata())["x-reason"] == "empty"

        missing = channel.unary_unary("/echo.Echo/Missing")(b"", timeout=10)
        assert await missing.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_grpc_streams_both_ways_at_once(pair: Pair) -> None:
    """Each answer comes before the next question is asked: nothing is held back until the stream ends."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{pair.port('grpc')}") as channel:
        stream = channel.stream_stream(STREAM)(timeout=10)
        for number in range(50):
            await stream.write(b"%d" % number)
            assert await stream.read() == b"%d" % number
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        assert dict(await stream.trailing_metadata())["x-count"] == "50"
        assert await stream.code() is grpc.StatusCode.OK


async def test_an_answer_after_16_seconds(pair: Pair) -> None:
    """Begun with the module, so that it waits while the others work. Envoy's own limit is 15 s."""
    answer, seconds = await pair.slow
    assert answer.status == 200
    assert SLOW_SECONDS <= seconds < SLOW_SECONDS + 5
