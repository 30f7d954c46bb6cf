"""A TCP server that speaks first, as SMTP and MySQL do: it greets, then echoes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

GREETING = b"220 ready\r\n"


@asynccontextmanager
async def greeting_server(port: int) -> AsyncIterator[None]:
    """Serve `port` of loopback until the end of the block."""
    server = await asyncio.start_server(_connection, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.CancelledError):
        writer.write(GREETING)
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
