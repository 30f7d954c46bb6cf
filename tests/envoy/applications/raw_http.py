"""An HTTP/1.1 server that shows its bytes: it echoes what it saw as JSON, and misbehaves where a path asks for it.

Tests run it in their own loop, and look at what it `saw`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

from tests.envoy.http1 import Message, chunked, read_head, with_body

BIG = bytes(range(256)) * 40_000
"""A body of about 10 MB."""
SLOW_SECONDS = 16.0


class RawHttpServer:
    """`name` tells it from others."""

    def __init__(self, name: str = "raw") -> None:
        self.name = name
        self.saw: list[Message] = []
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self, port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Serve `port` of loopback, in TLS if given, until the end of the block."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", port, limit=1 << 20, ssl=tls)
        try:
            yield self
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read and answer one request; whether the connection goes on."""
        head = await read_head(reader)
        method, target, _version = head.start.split(" ")
        path = target.partition("?")[0]
        if head.header("expect") == "100-continue":
            if path == "/refuse-to-read":
                self.saw.append(head)
                writer.write(b"HTTP/1.1 413 Too Much\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                await writer.drain()
                return False
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = await with_body(reader, head)
        self.saw.append(request)
        if path == "/vanish":
            return False
        if path == "/slow":
            await asyncio.sleep(SLOW_SECONDS)
        writer.write(self._response(method, path, request))
        await writer.drain()
        return path not in {"/cut", "/without-length"}

    def _response(self, method: str, path: str, request: Message) -> bytes:
        made = _MADE.get(path)
        if made is None:
            echo = {"name": self.name, **_described(request)}
            made = _with_length("content-type: application/json\r\n", json.dumps(echo).encode())
        return made.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else made


def _with_length(headers: str, body: bytes, *, length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return f"{_START}{headers}content-length: {length}\r\n\r\n".encode() + body


_START = "HTTP/1.1 200 OK\r\nserver: raw/1.0\r\n"
_MADE = {
    "/trailers": f"{_START}trailer: x-sum, x-more\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    + chunked(b"first ", b"second", trailers=b"x-sum: 42\r\nx-more: yes\r\n"),
    "/without-length": b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "/cut": _with_length("", b"only this", length=1000),
    "/big": _with_length("", BIG),
    "/many-headers": _with_length("".join(f"x-extra-{number}: {number}\r\n" for number in range(150)), b""),
    "/teapot": b"HTTP/1.1 418 I'm a teapot\r\ncontent-length: 5\r\n\r\nshort",
    "/anonymous": b"HTTP/1.1 204 No Content\r\n\r\n",
}
"""Answers to paths that ask for something other than an echo."""


def _described(request: Message) -> dict[str, object]:
    method, target, version = request.start.split(" ")
    return {
        "method": method,
        "target": target,
        "version": version,
        "headers": dict(request.headers),
        "length": len(request.body),
        "sha256": hashlib.sha256(request.body).hexdigest(),
        "trailers": dict(request.trailers),
    }
