"""Requests as an attacker sends them: any bytes, in HTTP/1 and HTTP/2, with nothing corrected on the way out.

Out: the statuses of the answers, as far as the other side gave any.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

PATIENCE = 10.0
"""Seconds after which an answer that does not come fails the test."""
Lines = Sequence[tuple[str, str]]
"""Headers as they are written, bytes as Latin-1."""


@dataclass(frozen=True)
class WayIn:
    """Where to send to: `port` of loopback, in TLS if given."""

    port: int
    tls: ssl.SSLContext | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls, limit=1 << 20)


def http1(method: str, target: str, headers: Lines = (), version: str = "HTTP/1.1") -> bytes:
    """The bytes of a request without a body."""
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def send_http1(way: WayIn, request: bytes, *, answers: int = 1) -> list[int]:
    """Send bytes on a connection of its own; the statuses of the first `answers` answers, fewer when it was closed.

    Answers in between (1xx) do not count. A body that has a length or chunks is read.
    """
    reader, writer = await way.open()
    found: list[int] = []
    try:
        with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            async with asyncio.timeout(PATIENCE):
                writer.write(request)
                await writer.drain()
                while len(found) < answers:
                    status = await _http1_answer(reader, has_body=not request.startswith((b"HEAD ", b"CONNECT ")))
                    if status >= 200 or status == 101:
                        found.append(status)
    finally:
        writer.transport.abort()
    return found


async def _http1_answer(reader: asyncio.StreamReader, *, has_body: bool) -> int:
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")[:-2]
    headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if has_body:
        await reader.readexactly(int(headers.get("content-length", "0")))
    return int(start.split(" ")[1])


async def send_http2(
    way: WayIn, fields: Lines, *, body: bytes = b"", trailers: Lines = (), ended: bool = True
) -> list[int]:
    """Send one request, pseudo headers included in `fields`, on a connection of its own; its status, none if it was
    reset. Not `ended`: the request is left open, as an upgrade is.
    """
    reader, writer = await way.open()
    plain = H2Configuration(
        header_encoding="latin-1",
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
    )
    http = H2Connection(plain)
    http.initiate_connection()
    try:
        with suppress(ConnectionError, ssl.SSLError, ProtocolError):
            async with asyncio.timeout(PATIENCE):
                http.send_headers(1, [(n.encode("latin-1"), v.encode("latin-1")) for n, v in fields])
                if body:
                    http.send_data(1, body)
                if trailers:
                    http.send_headers(
                        1, [(n.encode("latin-1"), v.encode("latin-1")) for n, v in trailers], end_stream=True
                    )
                elif ended:
                    http.end_stream(1)
                return await _http2_answer(reader, writer, http)
    finally:
        writer.transport.abort()
    return []


async def _http2_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, http: H2Connection) -> list[int]:
    found: list[int] = []
    while True:
        writer.write(http.data_to_send())
        received = await reader.read(65536)
        if not received:
            return found
        for event in http.receive_data(received):
            match event:
                case ResponseReceived():
                    found = [int(value) for name, value in event.headers if name == ":status"]
                case StreamEnded() | StreamReset() | ConnectionTerminated():
                    return found
