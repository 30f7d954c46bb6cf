"""Requests at a steady rate, of which not one may fail: what live traffic is while something is changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.envoy.http_wire import PATIENCE, Answer, HttpConnection

CONNECTIONS = 10
FRESH_EVERY = 10
"""One of so many requests goes over a connection of its own, so that accepting is tried all the time too."""


class SteadyLoad:
    """`rate` GET requests per second to a port of loopback; what is late is caught up with.

    `answers` counts (status, version); a connection that ends, even in order, is a failure: `failures` has a line for
    each.
    """

    def __init__(self, port: int, rate: float, target: str) -> None:
        self._port = port
        self._interval = CONNECTIONS / rate
        self._target = target
        self._rate = rate
        self._start = asyncio.get_running_loop().time()
        self._stop = asyncio.Event()
        self.answers: Counter[tuple[int, str | None]] = Counter()
        self.failures: list[str] = []

    @property
    def sent(self) -> int:
        return self.answers.total() + len(self.failures)

    def require_no_failure(self) -> None:
        """Fails the test unless all were answered with 200, at the rate that was wanted."""
        elapsed = asyncio.get_running_loop().time() - self._start
        assert not self.failures, f"{len(self.failures)} of {self.sent} failed, the first: {self.failures[0]}"
        assert {status for status, _ in self.answers} == {200}, self.answers
        assert self.sent > 0.9 * self._rate * elapsed, f"only {self.sent} requests in {elapsed:.1f} s"

    async def run(self) -> None:
        """Send until `stop` is called."""
        async with asyncio.TaskGroup() as group:
            for number in range(CONNECTIONS):
                group.create_task(self._worker(number * self._interval / CONNECTIONS))

    def stop(self) -> None:
        """Send nothing more; what is under way is still waited for."""
        self._stop.set()

    async def _worker(self, offset: float) -> None:
        loop = asyncio.get_running_loop()
        kept: HttpConnection | None = None
        turn = 0
        try:
            while not self._stop.is_set():
                due = self._start + offset + turn * self._interval
                turn += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._stop.wait()
                        return
                fresh = turn % FRESH_EVERY == 0
                try:
                    connection = kept if kept and not fresh else await HttpConnection.open(self._port)
                    if not fresh:
                        kept = connection
                    self._note(await connection.request(self._target))
                    if fresh:
                        connection.close()
                except (OSError, asyncio.IncompleteReadError) as error:
                    self.failures.append(f"after {loop.time() - self._start:.2f} s: {error!r}")
                    if kept is not None:
                        kept.close()
                        kept = None
        finally:
            if kept is not None:
                kept.close()

    def _note(self, answer: Answer) -> None:
        self.answers[answer.status, answer.version] += 1


@asynccontextmanager
async def steady_load(port: int, *, rate: float = 200.0, target: str = "/") -> AsyncIterator[SteadyLoad]:
    """Load during the block; at its end, unless it failed itself, not one request may have failed."""
    load = SteadyLoad(port, rate, target)
    running = asyncio.create_task(load.run())
    try:
        yield load
        load.require_no_failure()
    finally:
        load.stop()
        async with asyncio.timeout(PATIENCE):
            await running
    load.require_no_failure()
