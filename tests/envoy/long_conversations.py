"""TCP connections that go on while something is changed: each must stay, and answer every line."""

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
