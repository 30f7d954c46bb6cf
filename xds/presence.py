"""Which proxies are connected, for whoever must prepare something for them (an identity certificate).

A proxy that reconnects may have two streams for a while: the observer hears of its first stream and of the end of
its last, in this order, never overlapping.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol


class Observer(Protocol):
    async def on_connect(self, proxy: str) -> None:
        """Awaited before the first response is made; raising refuses the stream."""

    async def on_disconnect(self, proxy: str) -> None:
        """The last stream of the proxy has ended."""


@dataclass(slots=True)
class _Entry:
    streams: int = 0
    announced: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Presence:
    """Counts streams by proxy and tells the observer."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._entries: dict[str, _Entry] = {}

    async def enter(self, proxy: str) -> None:
        """A stream begins. Every ``enter``, failed or not, needs its ``leave``."""
        entry = self._entries.setdefault(proxy, _Entry())
        entry.streams += 1
        async with entry.lock:
            if not entry.announced and self._observer is not None:
                await self._observer.on_connect(proxy)
            entry.announced = True

    async def leave(self, proxy: str) -> None:
        """A stream has ended."""
        entry = self._entries[proxy]
        entry.streams -= 1
        async with entry.lock:
            if entry.streams == 0 and entry.announced:
                entry.announced = False
                if self._observer is not None:
                    await self._observer.on_disconnect(proxy)
        if entry.streams == 0 and self._entries.get(proxy) is entry:
            del self._entries[proxy]
