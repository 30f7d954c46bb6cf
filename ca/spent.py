"""Which single-use tokens have been used: remembered until they have expired, over every crash.

In: ids of tokens and when they expire. Out: whether this was the first use, once that is on the disk. The file has a
line `EXPIRES ID` for each, is only appended to while it grows, and written anew, by rename, without what has expired.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from ca.private_file import StateError, read_private, write_private

SPENT_TOKENS = "spent-tokens"
"""The name of the file in `STATE/ca`."""

KEPT_AFTER_EXPIRY = timedelta(days=1)
"""A clock that is set back by less does not make a used token good again."""

_LINE = re.compile(rb"([0-9]{1,12}) ([0-9a-f]{32})")
_SLACK = 1024
"""The file is written anew after as many lines again as it had, and this many more."""


class SpentTokens:
    """The memory of one state directory, which its caller has locked against other processes.

    `spend` may be called by several threads at once, and takes as long as the disk.
    """

    def __init__(self, path: Path, now: datetime) -> None:
        """Read `path`, where it exists. Raises StateError when it is damaged, or others could read it."""
        self._path = path
        self._writing = threading.Lock()
        self._expiry = _read(path)
        self._file = -1
        self._end = 0
        """The length of the file, up to what was written whole."""
        self._written = self._most = 0
        """Lines in the file, and how many it may have before it is written anew."""
        self._write_anew(now)

    def spend(self, token_id: str, expires_at: datetime, now: datetime) -> bool:
        """Whether this is the first use of a token; if so, it is on the disk. Of two calls at once one gets True.

        Raises StateError when it cannot be written down: then the token has not been used.
        """
        with self._writing:
            if token_id in self._expiry:
                return False
            expiry = int(expires_at.timestamp())
            if self._written >= self._most or self._file < 0:
                self._write_anew(now)
            self._append(f"{expiry} {token_id}\n".encode("ascii"))
            self._expiry[token_id] = expiry
            return True

    def __contains__(self, token_id: str) -> bool:
        return token_id in self._expiry

    def close(self) -> None:
        """Close the file; may be called again."""
        with self._writing:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        try:
            os.pwrite(self._file, line, self._end)
            os.fsync(self._file)
        except OSError as error:
            # What did arrive must not stand in the way of the next line, nor count after a restart.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise StateError(f"cannot write {self._path}: {error.strerror}") from error
        self._end += len(line)
        self._written += 1

    def _write_anew(self, now: datetime) -> None:
        self._expiry = _unexpired(self._expiry, now)
        self._close()
        content = b"".join(f"{expiry} {token}\n".encode("ascii") for token, expiry in self._expiry.items())
        write_private(self._path, content, durable=True)
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StateError(f"cannot write {self._path}: {error.strerror}") from error
        self._end, self._written = len(content), len(self._expiry)
        self._most = 2 * self._written + _SLACK

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _unexpired(expiry: dict[str, int], now: datetime) -> dict[str, int]:
    oldest = int((now - KEPT_AFTER_EXPIRY).timestamp())
    return {token: end for token, end in expiry.items() if end >= oldest}


def _read(path: Path) -> dict[str, int]:
    content = read_private(path) or b""
    *lines, torn = content.split(b"\n")
    # After the last newline stands what a crash cut off: its use was never answered.
    del torn
    expiry = {}
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            raise StateError(
                f"{path} is damaged: remove it together with join-token.key; every token is then issued anew"
            )
        expiry[found[2].decode("ascii")] = int(found[1])
    return expiry
