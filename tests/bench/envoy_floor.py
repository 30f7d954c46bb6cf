"""The least that a change of routes can cost: a bare gRPC server that writes ready bytes to every stream.

It speaks delta RDS alone. There is no state machine, no view and no encoding: what it is told to write goes to all
streams as it is, and what they answer is read and dropped.
"""

from __future__ import annotations

import asyncio
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc

from ca.state import load_or_create
from deploy.clock import now
from deploy.server_certificate import ServerCertificate
from protos.envoy.config.route.v3_pb2 import RouteConfiguration
from tests.bench.envoy_plane import DOMAIN, Child, answer_messages
from xds import framing
from xds.resource import Resource, TypeUrl, resource

METHOD = "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes"
ROUTES = "floor"
"""The name of the one resource."""


class FloorProcess(Child):
    """The server in a process of its own; `bundle` is what its clients must trust.

    A message is a response to write to all streams, answered with when it came, on the monotonic clock.
    """

    def __init__(self, state_dir: Path, routes: bytes) -> None:
        super().__init__(_main, state_dir, routes)
        self.port: int
        self.bundle: str
        self.port, self.bundle = self.first


def response(routes: RouteConfiguration) -> bytes:
    """A whole response with `routes` under the name of the floor's resource."""
    renamed = RouteConfiguration()
    renamed.CopyFrom(routes)
    renamed.name = ROUTES
    made: Resource = resource(TypeUrl.ROUTE, ROUTES, renamed)
    prefix = framing.delta_prefix(TypeUrl.ROUTE, "floor") + framing.nonce_field("1")
    return prefix + made.delta_header + made.body


class _Floor(grpc.GenericRpcHandler):
    def __init__(self, routes: bytes) -> None:
        self._routes = routes
        self._streams: set[Any] = set()
        self._writing: set[asyncio.Task[Any]] = set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_stream_rpc_method_handler(self._serve) if handler_call_details.method == METHOD else None

    async def _serve(self, _requests: Any, context: Any) -> None:
        await context.read()
        await context.write(self._routes)
        self._streams.add(context)
        try:
            while await context.read() is not grpc.aio.EOF:
                pass
        finally:
            self._streams.discard(context)

    def write(self, routes: bytes) -> float:
        told = time.monotonic()
        self._routes = routes
        for context in self._streams:
            task = asyncio.create_task(context.write(routes))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        return told


def _main(pipe: Connection, state_dir: Path, routes: bytes) -> None:
    asyncio.run(_serve(pipe, state_dir, routes))


async def _serve(pipe: Connection, state_dir: Path, routes: bytes) -> None:
    with load_or_create(state_dir, DOMAIN, now()) as state:
        floor = _Floor(routes)
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((floor,))
        port = server.add_secure_port("127.0.0.1:0", ServerCertificate(state).credentials())
        await server.start()
        pipe.send((port, state.authority(now()).bundle.own_pem.decode()))
        try:
            await answer_messages(pipe, floor.write)
        finally:
            await server.stop(0)
