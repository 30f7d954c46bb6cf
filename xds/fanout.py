"""Whether a change is still on its way out.

A stream counts from the moment that changes are offered to it until its writer has written what it made of them. So
whoever feeds the store can let an isolated change go at once, and merge those that arrive while streams are busy.
"""

from __future__ import annotations

import asyncio
import time

LONGEST = 0.1
"""Seconds after which streams that are not done are not counted any more: a client that does not read must not make
every change of everybody wait."""


class Fanout:
    """Counts the streams that have something to write. Costs two additions per stream and change."""

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest
        self._round = 1
        self._left = 0
        self._began = 0.0
        self._waiting: list[asyncio.Future[None]] = []

    # -- from the streams

    def begin(self) -> int:
        """One more stream has something to write. Returns what to give to ``end``; never 0."""
        if not self._left:
            self._began = time.monotonic()
        self._left += 1
        return self._round

    def end(self, round_: int) -> None:
        """A stream has written it, or is gone."""
        if round_ != self._round:
            return  # it took too long to be counted still
        self._left -= 1
        if not self._left:
            self._tell()

    def counts(self, round_: int) -> bool:
        """Whether a stream that began in this round is counted still, or has taken too long."""
        return round_ == self._round

    # -- to whoever feeds the store

    @property
    def busy(self) -> bool:
        """Whether a stream still has to write what it was offered at most ``longest`` seconds ago."""
        if self._left and time.monotonic() - self._began >= self._longest:
            self._left = 0
            self._round += 1
            self._tell()
        return self._left > 0

    async def idle(self, timeout: float) -> bool:  # noqa: ASYNC109  # a result, not an error
        """Wait until no stream is busy, at most ``timeout`` seconds. Whether that is so."""
        if not self.busy:
            return True
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        remaining = self._began + self._longest - time.monotonic()
        await asyncio.wait({done}, timeout=max(0.0, min(timeout, remaining)))
        if not done.done():
            self._waiting.remove(done)
        return not self.busy

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            if not done.done():
                done.set_result(None)
