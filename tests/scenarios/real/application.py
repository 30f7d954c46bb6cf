"""A server that says who it is, in HTTP or to any other bytes: `python application.py NAME PORT...`."""

from __future__ import annotations

import asyncio
import sys

NAME, *PORTS = sys.argv[1:]
ANSWER = f"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nanswered-by: {NAME}\r\n\r\n".encode()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Requests here have no bodies; what is no request is one line."""
    while first := await reader.readline():
        if b" HTTP/1." not in first:
            writer.write(f"{NAME}\n".encode())
            continue
        while await reader.readline() not in (b"\r\n", b""):
            pass
        writer.write(ANSWER)
    writer.close()


async def main() -> None:
    servers = [await asyncio.start_server(answer, "0.0.0.0", int(port)) for port in PORTS]
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main())
