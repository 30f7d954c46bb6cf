"""HTTP/1 as bytes, for both ends of a test: what a library would hide is what these tests are about."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """A request or an answer as it came over the wire; header names are in lower case."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    trailers: tuple[tuple[str, str], ...] = ()

    @property
    def status(self) -> int:
        return int(self.start.split(" ", 2)[1])

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known == name), None)


async def exchange(port: int, request: bytes, *, within: float = 10.0) -> Message:
    """The final answer to the bytes of one request, on a connection of its own. HEAD has no body, whatever it says."""
    async with asyncio.timeout(within):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        try:
            writer.write(request)
            await writer.drain()
            head = await read_head(reader)
            while head.status // 100 == 1:
                head = await read_head(reader)
            return head if request.startswith(b"HEAD") else await with_body(reader, head, until_end=True)
        finally:
            writer.close()


async def read_head(reader: asyncio.StreamReader) -> Message:
    """Start line and headers. Raises asyncio.IncompleteReadError at the end of the connection."""
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    return Message(start, _fields(lines))


async def with_body(reader: asyncio.StreamReader, head: Message, *, until_end: bool = False) -> Message:
    """`head` with its body and trailers. `until_end`: without a length, it goes on until the connection ends.

    Raises asyncio.IncompleteReadError for a body that is cut off.
    """
    if head.header("transfer-encoding") == "chunked":
        body = bytearray()
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        trailers = []
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            trailers.append(line.decode("latin-1").strip())
        return Message(head.start, head.headers, bytes(body), _fields(trailers))
    length = head.header("content-length")
    if length is not None:
        return Message(head.start, head.headers, await reader.readexactly(int(length)))
    return Message(head.start, head.headers, await reader.read()) if until_end else head


def chunked(*parts: bytes, trailers: bytes = b"") -> bytes:
    """A chunked body: one chunk for each part, then `trailers`, each ended by a line break."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailers + b"\r\n"


def _fields(lines: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = (line.partition(":") for line in lines)
    return tuple((name.lower(), value.strip()) for name, _, value in pairs)
