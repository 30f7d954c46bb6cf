"""Waiting for conditions, never for time to pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from deploy.demo.errors import DemoError


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, *, within: float = 10.0) -> float:
    """Tries `condition` again and again until it holds; returns the seconds that took.

    Raises DemoError with `what` when it does not hold within that many seconds.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    while not await condition():
        if loop.time() - start > within:
            raise DemoError(f"waited {within:g} s in vain for: {what}")
        await asyncio.sleep(0.02)
    return loop.time() - start
