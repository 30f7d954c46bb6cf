"""An HTTP/1.1 server that answers every request with what it saw of it: `python http_echo.py PORT [--version V]`.

The answer is JSON: version, method, path (exactly as received), headers (names in lower case), body. `GET
/targets-seen` answers with the targets of all requests before, oldest first. It speaks HTTP by itself, so that no
library changes a path on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import deque


class Echo(asyncio.Protocol):
    """One connection; it answers pipelined requests in order, and keeps open until the client closes."""

    def __init__(self, version: str, seen: deque[str]) -> None:
        self._version = version
        self._seen = seen
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._received[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            finish = end + 4 + int(headers.get("content-length", "0"))
            if len(self._received) < finish:
                return
            body, self._received = self._received[end + 4 : finish], self._received[finish:]
            self._transport.write(self._answer(first, headers, body))

    def _answer(self, first: str, headers: dict[str, str], body: bytes) -> bytes:
        method, path = first.split(" ")[:2]
        facts: object
        if path == "/targets-seen":
            facts = list(self._seen)
        else:
            self._seen.append(path)
            facts = {"version": self._version, "method": method, "path": path, "headers": headers}
            facts["body"] = body.decode("latin-1")
        said = json.dumps(facts).encode()
        content = b"" if method == "HEAD" else said
        head = f"HTTP/1.1 200 OK\r\nserver-version: {self._version}\r\ncontent-length: {len(said)}\r\n\r\n"
        return head.encode() + content


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--version", default="-")
    options = parser.parse_args()
    seen: deque[str] = deque(maxlen=100_000)
    server = await asyncio.get_running_loop().create_server(
        lambda: Echo(options.version, seen), "127.0.0.1", options.port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
