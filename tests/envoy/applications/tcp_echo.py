"""A TCP server that answers each line with its version and the line: `python tcp_echo.py PORT [--version V]`."""

from __future__ import annotations

import argparse
import asyncio


class Echo(asyncio.Protocol):
    def __init__(self, version: str) -> None:
        self._version = version.encode()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._transport.write(self._version + b" " + line + b"\n")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--version", default="-")
    options = parser.parse_args()
    server = await asyncio.get_running_loop().create_server(
        lambda: Echo(options.version), "127.0.0.1", options.port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
