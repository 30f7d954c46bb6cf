"""What becomes of a call that is refused: counted, logged once, answered, and late where somebody may be guessing."""

from __future__ import annotations

import logging
from typing import Any

import grpc

from xds.metrics import Metrics
from xds.refusal import Refused
from xds.repeats import RepeatLog
from xds.throttle import Throttle, origin_of

_LONGEST_STATUS = 1024
"""Characters. Clients limit metadata, and a reason may quote them."""
_log = logging.getLogger(__name__)


class Refusals:
    """Every service of the server tells it of whom it refuses."""

    def __init__(self, metrics: Metrics, throttle: Throttle | None = None) -> None:
        self._metrics = metrics
        self._throttle = throttle or Throttle()
        self._told = RepeatLog(_log, "stream refused")
        metrics.delayed = lambda: self._throttle.delayed

    def note(self, refused: Refused, peer: str) -> None:
        """Count and log it. ``peer`` is what gRPC calls the other end."""
        self._metrics.refused(refused.code.name)
        if refused.failure is not None:
            self._metrics.failed(refused.failure)
        self._told.tell(origin_of(peer), str(refused))

    async def refuse(self, refused: Refused, context: Any) -> None:
        """Note it, and end the call with its status: later, where the peer could not prove who it is.

        Like ``context.abort`` it does not return.
        """
        peer = context.peer()
        self.note(refused, peer)
        if refused.code is grpc.StatusCode.UNAUTHENTICATED:
            await self._throttle.delay(origin_of(peer))
        await context.abort(refused.code, refused.reason[:_LONGEST_STATUS])

    def close(self) -> None:
        """Say what has not been said, at the end."""
        self._told.close()
