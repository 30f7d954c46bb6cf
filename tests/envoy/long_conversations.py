"""TCP connections while something is changed: long ones, of which each must stay and answer every line, and new ones
all the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.envoy.http_wire import PATIENCE

_PAUSE = 0.1


class Conversation:
    """One connection to a TCP echo at `port` of loopback, opened once and for all."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = asyncio.Event()
        self.began = asyncio.Event()
        self.lines = 0

    async def run(self) -> None:
        """Talk until `stop`. Raises when the connection ends, or answers anything but the echo, or nothing."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while not self._stop.is_set():
                said = f"line-{self.lines}\n".encode()
                writer.write(said)
                async with asyncio.timeout(PATIENCE):
                    heard = await reader.readline()
                assert heard.endswith(b" " + said), f"after {self.lines} lines: {heard!r}"
                self.lines += 1
                self.began.set()
                await asyncio.sleep(_PAUSE)
        finally:
            self.began.set()
            writer.transport.abort()

    def stop(self) -> None:
        """Say nothing more."""
        self._stop.set()


@asynccontextmanager
async def long_conversations(*ports: int, each: int = 3) -> AsyncIterator[list[Conversation]]:
    """`each` connections to each of `ports`, from before the block until its end: all go on all the time."""
    made = [Conversation(port) for port in ports for _ in range(each)]
    # What fails in one of them cancels the block, and is raised.
    async with asyncio.TaskGroup() as group:
        for conversation in made:
            group.create_task(conversation.run())
        for conversation in made:
            await conversation.began.wait()
        try:
            yield made
        finally:
            for conversation in made:
                conversation.stop()
    assert all(conversation.lines > 1 for conversation in made), [conversation.lines for conversation in made]


class NewConnections:
    """A new connection to a TCP echo at `port` of loopback every `interval` seconds, for one line.

    Sidecars keep connections for HTTP, but not for TCP: each of these is a handshake between two of them.
    """

    def __init__(self, port: int, interval: float) -> None:
        self._port = port
        self._interval = interval
        self._stop = asyncio.Event()
        self.served = 0

    async def run(self) -> None:
        """Connect until `stop`. Raises when a connection is not served."""
        while not self._stop.is_set():
            await order(self._port)
            self.served += 1
            await asyncio.sleep(self._interval)

    def stop(self) -> None:
        """Connect no more."""
        self._stop.set()


@asynccontextmanager
async def new_connections(*ports: int, interval: float = 0.05) -> AsyncIterator[None]:
    """New connections to each of `ports` until the end of the block: all are served."""
    made = [NewConnections(port, interval) for port in ports]
    async with asyncio.TaskGroup() as group:
        for each in made:
            group.create_task(each.run())
        try:
            yield
        finally:
            for each in made:
                each.stop()
    assert all(each.served for each in made)


async def order(port: int) -> None:
    """One line over a TCP connection of its own, to an echo at `port` of loopback. Raises unless it is answered."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"order\n")
            heard = await reader.readline()
        finally:
            writer.transport.abort()
    assert heard.endswith(b" order\n"), f"a new connection heard {heard!r}"
