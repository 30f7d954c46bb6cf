"""Light HTTP load on many ports at once: a kept connection to each, and now and then a new one beside it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

_REQUEST = b"GET / HTTP/1.1\r\nhost: any\r\n\r\n"
_FRESH_EVERY = 10
_PATIENCE = 10.0


class Load:
    """`rate` requests per second over all `ports` (by number, with a name for what is asked there).

    `answers` counts (name, body) of what is fine; `failures` has a line for each status that is not a 2xx and for each
    connection that was refused, or ended while a request was under way. That an answer announces the end of its
    connection is in order.
    """

    def __init__(self, ports: Iterable[tuple[int, str]], rate: float) -> None:
        self._ports = list(ports)
        self._interval = len(self._ports) / rate
        self._stopped = asyncio.Event()
        self.answers: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []
        self.announced_ends = 0

    @property
    def sent(self) -> int:
        return self.answers.total() + len(self.failures)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number, (port, name) in enumerate(self._ports):
                group.create_task(self._worker(port, name, self._interval * number / len(self._ports)))

    def stop(self) -> None:
        self._stopped.set()

    async def _worker(self, port: int, name: str, offset: float) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time() + offset
        kept: _Connection | None = None
        turn = 0
        while not await self._stopped_until(start + turn * self._interval):
            turn += 1
            fresh = turn % _FRESH_EVERY == 0
            used = kept if kept is not None and not fresh else _Connection()
            began = loop.time()
            try:
                async with asyncio.timeout(_PATIENCE):
                    status, body, closing = await used.get(port)
            except (OSError, EOFError, TimeoutError) as error:
                self.failures.append(f"{name}, port {port}, after {began - start:.2f} s: {error!r}")
                closing = True
            else:
                self.announced_ends += closing
                if status // 100 == 2:
                    self.answers[name, body] += 1
                else:
                    self.failures.append(f"{name}, port {port}, after {began - start:.2f} s: {status} {body}")
            if closing or fresh:
                used.close()
                kept = None if used is kept else kept
            else:
                kept = used
        if kept is not None:
            kept.close()

    async def _stopped_until(self, due: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._stopped.wait()
        return self._stopped.is_set()


class _Connection:
    """Opened with its first request."""

    def __init__(self) -> None:
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, port: int) -> tuple[int, str, bool]:
        """Status, body, and whether the connection ends with this answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = self._streams
        writer.write(_REQUEST)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0] or 0)
        body = (await reader.readexactly(length)).decode("latin-1")
        return int(head.split(" ", 2)[1]), body, "\r\nconnection: close\r\n" in head

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()


@asynccontextmanager
async def load(ports: Iterable[tuple[int, str]], rate: float) -> AsyncIterator[Load]:
    """Load for as long as the block."""
    made = Load(ports, rate)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        made.stop()
        await running
