"""Rejected resources: whom a rejection blames, and when it is worth trying again.

In: the text of a NACK and what was sent. Out: names, and times. One stream's quarantine is nobody else's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from xds.resource import Resource

FIRST_RETRY = 1.0
LAST_RETRY = 300.0
"""Seconds before a rejected resource is tried again: the first time, and at most; it doubles in between."""

_TRUNCATED = "(truncated)"
_BEFORE = r"(?<![\w/.:\-])"
_AFTER = r"(?![\w/\-]|[.:]\w)"


@dataclass(slots=True)
class Held:
    """A resource this client rejected, kept back until its bytes change or ``retry_at``.

    ``previous`` is what the client goes on using, None when it has nothing under the name. ``retry_at`` is None while
    the resource is out for another try.
    """

    version: str
    previous: Resource | None
    attempts: int
    retry_at: float | None

    @property
    def waiting(self) -> bool:
        return self.retry_at is not None


def backoff(attempts: int) -> float:
    """Seconds to wait after the given number of rejections of the same bytes (1 or more)."""
    return min(FIRST_RETRY * 2.0 ** min(attempts - 1, 32), LAST_RETRY)


def blamed(message: str, names: Iterable[str]) -> set[str]:
    """Those of ``names`` that the text of a NACK mentions.

    Empty when it mentions none, or was cut off (Envoy cuts at 4096 characters) so that more may have been meant:
    then nothing is known, and all of them are suspects.
    """
    if message.rstrip().endswith(_TRUNCATED):
        return set()
    return {name for name in names if name in message and re.search(_BEFORE + re.escape(name) + _AFTER, message)}
