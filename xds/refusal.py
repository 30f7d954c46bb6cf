"""Why a stream is not served, or no longer."""

from __future__ import annotations

import grpc


class Refused(Exception):  # noqa: N818  # it says what happened
    """The stream ends with this status; the reason goes to the peer and to the log.

    ``failure`` is for peers that have not proved to be what they say: why not, in a word that can be counted.
    """

    def __init__(self, code: grpc.StatusCode, reason: str, *, failure: str | None = None) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason
        self.failure = failure
