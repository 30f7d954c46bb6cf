"""Changes on their way to the mesh: alone they pass at once; while a fan-out is under way they merge.

Every stream that is told of a change costs a write and an answer. While those of one change are still being written,
what else happens is gathered, and goes out as one change when they are, or after a while: so a burst costs as many
fan-outs as there is time for, and never a queue of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from smi.diagnostics import Diagnostic
from smi.files import FileChange
from smi.index import ObjectEvent
from xds.fanout import Fanout

HOLD_OFF = 0.1
"""Seconds that a change waits at most for the fan-out before it."""


class Intake:
    """Gives changes to `take`, merged while `fanout` is busy, but no longer than `hold_off` seconds."""

    def __init__(self, take: Callable[[FileChange], object], fanout: Fanout, hold_off: float = HOLD_OFF) -> None:
        self._take = take
        self._fanout = fanout
        self._hold_off = hold_off
        self._events: list[ObjectEvent] = []
        self._diagnostics: tuple[Diagnostic, ...] = ()
        self._arrived = asyncio.Event()

    def put(self, change: FileChange) -> None:
        """Something has changed. Its diagnostics are all that there are, as of now."""
        self._events.extend(change.events)
        self._diagnostics = change.diagnostics
        self._arrived.set()

    async def run(self) -> None:
        """Pass on what is put, until cancelled. Fails where `take` does."""
        while True:
            await self._arrived.wait()
            if self._fanout.busy:
                await self._fanout.idle(self._hold_off)
            self._arrived.clear()
            events, self._events = self._events, []
            self._take(FileChange(tuple(events), self._diagnostics))
