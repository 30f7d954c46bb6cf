"""Waiting for conditions, never for time to pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_PAUSE_SECONDS = 0.02


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, *, within: float = 10.0) -> None:
    """Tries `condition` again and again until it holds.

    Raises TimeoutError, saying `what` was waited for, when it does not hold within that many seconds.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while not await condition():
        if loop.time() > end:
            raise TimeoutError(f"waited {within:g} s in vain for {what}")
        await asyncio.sleep(_PAUSE_SECONDS)
