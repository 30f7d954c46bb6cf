"""Applications and clients for random meshes on loopback: ports tell who they are, requests go out as written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.demo.ports import HeldPorts
from tests.envoy.http_wire import HttpConnection
from tests.oracle.calls import Place, Request
from tests.oracle.layout import ACCOUNTS, TARGET_PORTS, Host, Layout

Outcome = tuple[int, Place | None]
"""The status of an answer, and who gave it; 0 for a connection that was closed without any."""
CLOSED: Outcome = (0, None)


def real_layout(ports: HeldPorts, upstreams: int) -> Layout:
    """Hosts with addresses of this machine, and free ports, `upstreams` of them for each host's calls."""
    # Each process has a network of its own, so that two runs do not meet.
    network = os.getpid() % 65_000
    hosts = [
        Host(
            key,
            account,
            f"127.{1 + network // 250}.{1 + network % 250}.{number}",
            {port: ports.take() for port in TARGET_PORTS},
            [ports.take() for _ in range(upstreams)],
        )
        for number, (key, account) in enumerate(ACCOUNTS.items(), 1)
        if key != ("shop", "w1")
    ]
    return Layout(tuple(hosts), varied=False)


class _Teller(asyncio.Protocol):
    """Answers every request, and all bytes that look like one, with who it is."""

    def __init__(self, place: Place) -> None:
        (namespace, name), port = place
        self._answer = (
            f"HTTP/1.1 200 OK\r\nserver-version: {namespace}/{name}:{port}\r\ncontent-length: 0\r\n\r\n".encode()
        )
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        *requests, self._received = self._received.split(b"\r\n\r\n")
        self._transport.write(self._answer * len(requests))


@asynccontextmanager
async def applications(layout: Layout) -> AsyncIterator[None]:
    """Every application of the layout, running."""
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda place=(host.key, port): _Teller(place), "127.0.0.1", app_port)  # type: ignore[misc]
        for host in layout.hosts
        for port, app_port in host.app_ports.items()
    ]
    try:
        yield
    finally:
        for server in servers:
            server.close()


async def outcome(address: str, port: int, request: Request) -> Outcome:
    """What becomes of a request over a connection of its own."""
    lines = [f"{request.method} {request.path} HTTP/1.1", f"host: {request.host}"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    try:
        async with asyncio.timeout(10):
            connection = HttpConnection(*await asyncio.open_connection(address, port))
        async with connection:
            answer = await connection.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
    except (OSError, asyncio.IncompleteReadError):
        return CLOSED
    if answer.version is None:
        return answer.status, None
    workload, _, number = answer.version.partition(":")
    namespace, _, name = workload.partition("/")
    return answer.status, ((namespace, name), int(number))
