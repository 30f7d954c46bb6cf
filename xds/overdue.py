"""Many things that may each take equally long, with one timer for all of them.

A timer of its own for every write would cost as much as the rest of our part in it. Since all wait equally long, those
that began first are due first, and one timer for the oldest is enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Overdue(Generic[T]):
    """Calls ``late`` with whatever ``begin`` was called for ``seconds`` ago without an ``end``; once, and it counts as
    ended then.
    """

    def __init__(self, seconds: float, late: Callable[[T], None]) -> None:
        self._seconds = seconds
        self._late = late
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, item: T) -> None:
        """``item`` must not be under way already."""
        loop = asyncio.get_running_loop()
        self._due[item] = due = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._look)

    def end(self, item: T) -> bool:
        """Whether ``item`` was under way."""
        return self._due.pop(item, None) is not None

    def close(self) -> None:
        """Forget everything."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        late = []
        for item, due in self._due.items():
            if due > loop.time():
                self._timer = loop.call_at(due, self._look)
                break
            late.append(item)
        for item in late:
            del self._due[item]
        for item in late:
            self._late(item)
