"""A server that remembers every request exactly as it came, in HTTP/1 or HTTP/2 without TLS, and answers all of them
with an empty 200, or with 503 where the target ends in `/fail`.

It is as plain as servers are: it takes no upgrade, reads a body by its length or its chunks, and takes what comes
behind a request for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, TrailersReceived
from h2.exceptions import ProtocolError

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Fields = tuple[tuple[str, str], ...]
"""Names in lower case and values, in order, with repetitions; bytes as Latin-1. `:authority` of HTTP/2 is `host`."""
ANSWERED = "witness"
"""The `server` header of every answer, by which it is told from one that a sidecar gave."""


@dataclass
class Request:
    """One request as the application received it, on `port`."""

    port: int
    method: str
    target: str
    headers: Fields
    trailers: Fields = ()

    def values(self, name: str) -> list[str]:
        """The values of all lines of a header."""
        return [value for known, value in self.headers if known == name]


class Witness:
    """`saw` is all that came, oldest first."""

    def __init__(self) -> None:
        self.saw: list[Request] = []

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[Self]:
        """Serve `port` of loopback until the end of the block."""
        server = await asyncio.start_server(partial(self._connection, port), "127.0.0.1", port, limit=1 << 20)
        try:
            yield self
        finally:
            server.close()

    async def _connection(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, ProtocolError):
                head = await reader.readuntil(b"\r\n\r\n")
                if _PREFACE.startswith(head):
                    await self._http2(port, reader, writer, head)
                while True:
                    await self._http1(port, reader, writer, head)
                    head = await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.close()

    async def _http1(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        start, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, _, rest = start.partition(" ")
        request = Request(port, method, rest.rpartition(" ")[0], _fields(lines))
        self.saw.append(request)
        if request.values("transfer-encoding"):
            while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                await reader.readexactly(size + 2)
            trailers = []
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                trailers.append(line.decode("latin-1").removesuffix("\r\n"))
            request.trailers = _fields(trailers)
        else:
            await reader.readexactly(int("".join(request.values("content-length")) or "0"))
        writer.write(f"HTTP/1.1 {_status(request)} -\r\nserver: {ANSWERED}\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()

    async def _http2(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: bytes
    ) -> None:
        http = H2Connection(
            H2Configuration(client_side=False, header_encoding="latin-1", validate_inbound_headers=False)
        )
        http.initiate_connection()
        streams: dict[int, Request] = {}
        while received:
            for event in http.receive_data(received):
                match event:
                    case RequestReceived():
                        streams[event.stream_id] = request = _from_http2(port, event.headers)
                        self.saw.append(request)
                    case TrailersReceived():
                        streams[event.stream_id].trailers = tuple((str(n), str(v)) for n, v in event.headers)
                    case DataReceived():
                        http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case StreamEnded():
                        answer = [(":status", _status(streams[event.stream_id])), ("server", ANSWERED)]
                        http.send_headers(event.stream_id, answer, end_stream=True)
            writer.write(http.data_to_send())
            await writer.drain()
            received = await reader.read(65536)


def _status(request: Request) -> str:
    return "503" if request.target.endswith("/fail") else "200"


def _fields(lines: list[str]) -> Fields:
    pairs = (line.partition(":") for line in lines)
    return tuple((name.lower(), value.strip(" \t")) for name, _, value in pairs)


def _from_http2(port: int, fields: object) -> Request:
    pairs = [(str(name), str(value)) for name, value in fields]  # type: ignore[attr-defined]
    pseudo = {name: value for name, value in pairs if name.startswith(":")}
    headers = [(name, value) for name, value in pairs if not name.startswith(":")]
    if ":authority" in pseudo:
        headers.append(("host", pseudo[":authority"]))
    return Request(port, pseudo.get(":method", ""), pseudo.get(":path", ""), tuple(headers))
