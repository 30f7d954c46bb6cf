"""Notices that something may have changed in a directory, and waits until writers have finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path

from watchfiles import awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

from smi.directory import Stamp, identity, list_directory

_LOOK_EVERY = 0.5
"""Seconds after which to look without any notice: not every file system and link gives notice."""
_SETTLE_STEP = 0.03
_SETTLE_STEPS = 15
"""A file that keeps growing is read as it is after this many steps of seconds."""


class _Ending(asyncio.Event):
    """Set when `stop` is, or by itself: watchfiles sets its event when cancelled, which must not stop others."""

    def __init__(self, stop: asyncio.Event) -> None:
        super().__init__()
        self._stop = stop

    def is_set(self) -> bool:
        return super().is_set() or self._stop.is_set()


async def stirrings(directory: Path, stop: asyncio.Event) -> AsyncGenerator[None, None]:
    """Yields whenever it is worth to look at `directory`, and at once; ends when `stop` is set.

    A directory that is missing, or replaced by another one, is waited for and watched anew.
    """
    while not stop.is_set():
        yield
        watched = await asyncio.to_thread(identity, directory)
        if watched is not None:
            notices = awatch(
                directory,
                watch_filter=None,  # a renamed `..data` link is hidden, and yet the notice that counts
                debounce=100,
                step=20,
                stop_event=_Ending(stop),
                rust_timeout=int(_LOOK_EVERY * 1000),
                yield_on_timeout=True,
                ignore_permission_denied=True,
            )
            with suppress(OSError, WatchfilesRustInternalError):
                async with aclosing(notices):
                    async for _ in notices:
                        yield
                        if await asyncio.to_thread(identity, directory) != watched:
                            break
        if not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_EVERY / 5)


async def settled(directory: Path, known: Mapping[str, Stamp]) -> None:
    """Return when the directory is as `known`, or when two looks at it in a row saw the same."""
    seen = dict(known)
    for _ in range(_SETTLE_STEPS):
        files = (await asyncio.to_thread(list_directory, directory)).files
        if files == seen:
            return
        seen = files
        await asyncio.sleep(_SETTLE_STEP)
