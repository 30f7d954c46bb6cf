"""Where all connections of one server write down what happens to them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xds.fanout import Fanout
from xds.metrics import Metrics, type_name
from xds.overdue import Overdue
from xds.redaction import without_keys
from xds.rejections import Rejections
from xds.repeats import RepeatLog
from xds.status import ProxyStatus, Rejection
from xds.stream import Ack, Nack

if TYPE_CHECKING:
    from xds.connection import Connection

_LONGEST_MESSAGE = 4096
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Records:
    """What is counted, what is rejected, who is busy, and which writes are under way. ``on_ack`` hears of each proxy
    that has accepted a response.
    """

    metrics: Metrics
    rejections: Rejections
    fanout: Fanout
    writes: Overdue[Connection]
    on_ack: Callable[[str], None] | None = None
    told: RepeatLog = field(default_factory=lambda: RepeatLog(_log, "rejected"))

    def acknowledged(self, status: ProxyStatus, ack: Ack, now: float) -> None:
        """A proxy has accepted a response. ``now``: monotonic seconds, as the changes of ``ack`` have them."""
        status.answers_of(ack.type_url).acks += 1
        self.metrics.acknowledged(ack.type_url, None if ack.changed_at is None else now - ack.changed_at)
        if self.on_ack is not None:
            self.on_ack(status.proxy)

    def rejected(self, status: ProxyStatus, nack: Nack) -> None:
        """A proxy has rejected a response, in its own words."""
        message = without_keys(nack.message)[:_LONGEST_MESSAGE].strip()
        now = time.time()
        answers = status.answers_of(nack.type_url)
        answers.nacks += 1
        answers.last_nack = Rejection(message, now, nack.names)
        self.metrics.rejected(nack.type_url)
        self.rejections.add(status, nack.type_url, nack.names, message, now)
        self.told.tell(status.proxy, f"{type_name(nack.type_url)}: {message}")
