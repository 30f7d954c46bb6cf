"""The floor: a bare grpc.aio mTLS server that writes given bytes once to each proxy, and reads what they answer.

It has the TLS and the channel options of the server under test, and no state machine: what a server in this stack
cannot go below.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import grpc

from tests.bench.credentials import Credentials
from tests.bench.fleet import Payload
from tests.bench.processes import Served
from tests.bench.wire import read_request, response_head
from xds.options import OPTIONS


class FloorServer(Served):
    """Each type is written when a proxy first asks for it; all writes after that are told."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._initial: Payload = {}

    async def open(self) -> None:
        self._next: asyncio.Future[_Push] = asyncio.get_running_loop().create_future()

    async def start(self, initial: Payload) -> int:
        """Listen; gives the port. ``initial`` is what each proxy gets of the types in it."""
        self._initial = initial
        server = self._server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((_AnyMethod(self),))
        port = server.add_secure_port("127.0.0.1:0", self._credentials.of_server())
        await server.start()
        return port

    async def push(self, payload: Payload) -> float:
        """Write to every proxy. Gives the time just before."""
        begin = time.monotonic()
        now, self._next = self._next, asyncio.get_running_loop().create_future()
        now.set_result(_Push(list(payload.items()), self._next))
        return begin

    async def serve(self, _requests: Any, context: Any) -> None:
        left = dict(self._initial)
        number = 0
        while left:
            data = await context.read()
            if data is grpc.aio.EOF:
                return
            type_url, answer = read_request(data)
            body = None if answer else left.pop(type_url.decode(), None)
            if body is not None:
                number += 1
                await context.write(response_head(type_url.decode(), b"%d" % number) + body)
        writer = asyncio.create_task(self._write(context, number))
        while await context.read() is not grpc.aio.EOF:
            pass
        await writer

    async def _write(self, context: Any, number: int) -> None:
        following = self._next
        while True:
            push = await following
            following = push.following
            for type_url, body in push.payload:
                number += 1
                await context.write(response_head(type_url, b"%d" % number) + body)


@dataclass(frozen=True, slots=True)
class _Push:
    payload: list[tuple[str, bytes]]
    following: asyncio.Future[_Push]


class _AnyMethod(grpc.GenericRpcHandler):
    def __init__(self, floor: FloorServer) -> None:
        self._handler: Any = grpc.stream_stream_rpc_method_handler(floor.serve)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handler
