"""How long it takes until an edit is in force."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from deploy.demo.waiting import eventually

PROMPTLY = 1.0
"""Seconds in which an edit of the files must change live traffic."""


async def seconds_until(condition: Callable[[], Awaitable[bool]], what: str) -> float:
    """Tries `condition` until it holds, and returns the seconds that took; the test fails when it never does.

    The limit is far above PROMPTLY, so that a test can tell what is slow from what does not work.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    await eventually(condition, what)
    return loop.time() - start
