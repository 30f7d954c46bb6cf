"""HTTP/1.1 as bytes on a socket: nothing is normalised, retried or pooled behind a test's back."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

PATIENCE = 15.0
"""Seconds after which an answer that does not come fails the test."""


@dataclass(frozen=True)
class Answer:
    """One response. `headers`: names in lower case; of repeated ones the last."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def version(self) -> str | None:
        """Which application answered; None when a sidecar did."""
        return self.headers.get("server-version")


class HttpConnection:
    """One keep-alive connection. What ends it early is an OSError or asyncio.IncompleteReadError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, *, tls: ssl.SSLContext | None = None) -> Self:
        """Connect to `port` of loopback."""
        async with asyncio.timeout(PATIENCE):
            return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls))

    async def request(self, target: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request without a body, with `target` exactly as it is, and wait for the answer."""
        lines = [f"{method} {target} HTTP/1.1", "host: in.the.mesh"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def send(self, request: bytes) -> Answer:
        """Send the bytes of a whole request, and wait for the answer."""
        self._writer.write(request)
        async with asyncio.timeout(PATIENCE):
            return await self._answer(bodiless=request.startswith(b"HEAD "))

    async def _answer(self, *, bodiless: bool) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = b"" if bodiless else await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split(" ")[1]), headers, body)

    def close(self) -> None:
        self._writer.transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def ask(port: int, target: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
    """One request over a connection of its own."""
    async with await HttpConnection.open(port) as connection:
        return await connection.request(target, method, headers)


async def statuses(
    port: int,
    target: str = "/",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    *,
    connections: int = 8,
) -> Counter[int]:
    """How many of some requests at once had which status.

    Each has a connection of its own, so that together they reach every worker thread of the sidecars.
    """
    answers = await asyncio.gather(*(ask(port, target, method, headers) for _ in range(connections)))
    return Counter(answer.status for answer in answers)
