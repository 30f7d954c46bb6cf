"""What peers cause to be logged: each thing once, what repeats summed up, and always one line.

In: who, and what is to be said. Out: log records. A peer chooses how often it fails and, in part, the words in which
that is told, so both are bounded: per peer so many different texts a minute, so many peers, and no control characters.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

WINDOW = 60.0
MOST_TEXTS = 32
MOST_PEERS = 1000
LONGEST_TEXT = 1024


def one_line(text: str) -> str:
    """``text`` with everything escaped that could end a line, or that a terminal would act on."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


@dataclass(slots=True)
class _Heard:
    """What one peer has caused: ``told`` already; ``repeats`` since the last sum, of which ``last`` is one."""

    told: set[str] = field(default_factory=set)
    repeats: int = 0
    last: str = ""


class RepeatLog:
    """Logs warnings that begin with ``what``. A peer is forgotten after a window without anything of it.

    ``window`` is in seconds. It is used from within one event loop.
    """

    def __init__(
        self,
        log: logging.Logger,
        what: str,
        *,
        window: float = WINDOW,
        most_texts: int = MOST_TEXTS,
        most_peers: int = MOST_PEERS,
    ) -> None:
        self._log = log
        self._what = what
        self._window = window
        self._most_texts = most_texts
        self._most_peers = most_peers
        self._heard: dict[str, _Heard] = {}
        self._unnamed = 0
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, who: str, text: str) -> None:
        """Log that ``who`` caused ``text``, now or in the next sum."""
        text = one_line(text[:LONGEST_TEXT])
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._window, self._next_window)
        heard = self._heard.get(who)
        if heard is None:
            if len(self._heard) >= self._most_peers:
                self._unnamed += 1
                return
            heard = self._heard[who] = _Heard()
        if text not in heard.told and len(heard.told) < self._most_texts:
            heard.told.add(text)
            self._log.warning("%s: %s (%s)", self._what, text, who)
        else:
            heard.repeats += 1
            heard.last = text

    def close(self) -> None:
        """Sum up what is left, at the end."""
        if self._timer is not None:
            self._timer.cancel()
            self._next_window()
            if self._timer is not None:
                self._timer.cancel()

    def _next_window(self) -> None:
        self._timer = None
        for who, heard in tuple(self._heard.items()):
            if heard.repeats:
                self._log.warning("%s: %d times more; the last: %s (%s)", self._what, heard.repeats, heard.last, who)
                heard.repeats = 0
            else:
                del self._heard[who]
        if self._unnamed:
            self._log.warning("%s: %d times more, by others", self._what, self._unnamed)
            self._unnamed = 0
        if self._heard:
            self._timer = asyncio.get_running_loop().call_later(self._window, self._next_window)
