"""When something must be renewed, and when that becomes urgent: data for `tulle ca status` and for logs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509

from ca.authority import INTERMEDIATE_RENEWAL, ROOT_LIFETIME
from ca.rotation import RootLife

_INTERMEDIATE_URGENT = timedelta(days=14)
_ROOT_URGENT = ROOT_LIFETIME / 10


class Urgency(StrEnum):
    """How much time there is, from the least urgent to the most."""

    LATER = "later"
    DUE = "due"
    URGENT = "urgent"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Deadline:
    """One certificate that ends: `subject` is "root" or "intermediate", `root` the id of the root it is or is below."""

    subject: str
    root: str
    due: datetime
    urgent: datetime
    ends: datetime
    action: str | None
    """What a person must do; None when the control plane does it by itself."""

    def urgency(self, now: datetime) -> Urgency:
        """How it stands at `now`."""
        if now >= self.ends:
            return Urgency.ENDED
        if now >= self.urgent:
            return Urgency.URGENT
        return Urgency.DUE if now > self.due else Urgency.LATER


def deadlines(root: RootLife, intermediate: x509.Certificate) -> tuple[Deadline, ...]:
    """Those of a root and its intermediate."""
    ends = intermediate.not_valid_after_utc
    rotate = "run tulle ca rotate, and say where the key of the new root goes" if root.offline else None
    found = [Deadline("root", root.id, root.renewal, root.ends - _ROOT_URGENT, root.ends, rotate)]
    if ends < root.ends:
        renew = "run tulle ca renew-intermediate with the root's key" if root.offline else None
        found.append(
            Deadline("intermediate", root.id, ends - INTERMEDIATE_RENEWAL, ends - _INTERMEDIATE_URGENT, ends, renew)
        )
    return tuple(found)
