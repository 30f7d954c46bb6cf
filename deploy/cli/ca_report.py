"""What `tulle ca status` says: as data, and as text for people. Pure.

In: what is stored, what a running control plane reports (None: none runs, or it has not reported), the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ca.deadlines import Deadline, Urgency
from ca.inventory import Inventory, StoredRoot
from ca.rotation import Phase, Wait
from deploy.rotation_status import RotationStatus, wait_data

PHASES = {
    Phase.STABLE: "there is one root",
    Phase.PREPARED: "both roots are trusted, certificates come from the old one",
    Phase.ACTIVATED: "both roots are trusted, certificates come from the new one",
}
_MANY = 10
"""Proxies that are named in a line."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All there is to know of a state directory at one moment."""

    stored: Inventory
    served: bool
    reported: RotationStatus | None
    now: datetime

    @property
    def progress(self) -> RotationStatus | None:
        """What is reported of the phase that is stored; None while the two differ, for an instant after a step."""
        reported, record = self.reported, self.stored.record
        return (
            reported
            if reported is not None and (reported.phase, reported.root) == (record.phase, record.root)
            else None
        )

    @property
    def warnings(self) -> list[str]:
        """What is due, or wrong."""
        found = [_warning(each, self.now) for root in self.stored.roots for each in root.deadlines]
        lost = [
            f"the intermediate of root {root.life.id} is missing" for root in self.stored.roots if not root.intermediate
        ]
        problem = self.progress.problem if self.progress is not None else None
        stuck = [f"the rotation cannot go on: {problem}"] if problem else []
        return [*stuck, *lost, *(each for each in found if each is not None)]


def role(root: StoredRoot, stored: Inventory) -> str:
    """What a root is for now."""
    if stored.record.phase is Phase.STABLE:
        return "the root"
    return "the old root" if root.life.id == stored.record.root else "the new root"


def as_data(picture: Picture) -> dict[str, Any]:
    """For programs."""
    stored, progress = picture.stored, picture.progress
    record, request = stored.record, stored.request
    return {
        "phase": record.phase.value,
        "since": record.since.isoformat(),
        "control_plane": "running" if picture.served else "not running",
        "signing_root": record.issuing,
        "roots": [
            {
                "id": root.life.id,
                "role": role(root, stored).removeprefix("the "),
                "key": "offline" if root.life.offline else "online",
                "ends": root.life.ends.isoformat(),
                "intermediate_ends": None
                if not root.intermediate
                else root.intermediate.not_valid_after_utc.isoformat(),
                "last_leaf_ends": _iso(record.leaves_end.get(root.life.id)),
            }
            for root in stored.roots
        ],
        "requested_at": None if request is None else request.requested_at.isoformat(),
        "proxies": None
        if progress is None
        else {
            "declared": progress.proxies,
            "connected": progress.connected,
            "trusting": progress.trusting,
            "moved": progress.moved,
        },
        "waits": [] if progress is None else [{**wait_data(each), "text": str(each)} for each in progress.waits],
        "warnings": picture.warnings,
    }


def as_lines(picture: Picture) -> Iterator[tuple[str, str]]:
    """For people: pairs of a label, which is empty where the one before goes on, and a text."""
    stored, record = picture.stored, picture.stored.record
    yield "phase", f"{record.phase}: {PHASES[record.phase]}, since {moment(record.since)}"
    yield "control plane", _control_plane(picture)
    for root in stored.roots:
        yield from _root_lines(root, picture)
    if stored.request is not None:
        yield "requested", f"a rotation, at {moment(stored.request.requested_at)}"
    waits = picture.progress.waits if picture.progress is not None and record.phase is not Phase.STABLE else ()
    for wait in waits:
        yield "waiting for", wait_text(wait, picture.now)
    for warning in picture.warnings:
        yield "warning", warning


def _control_plane(picture: Picture) -> str:
    seen = picture.progress
    if seen is None:
        if picture.served:
            return "running; it has not reported yet"
        return "not running: nothing rotates and nothing is issued until tulle serve runs"
    counts = f"{seen.connected} of {seen.proxies} proxies connected"
    if seen.phase is not Phase.STABLE:
        counts += f", {seen.trusting} trust both roots"
    if seen.phase is Phase.ACTIVATED:
        counts += f", {seen.moved} have a certificate of the new one"
    return f"running; {counts}"


def _root_lines(root: StoredRoot, picture: Picture) -> Iterator[tuple[str, str]]:
    record = picture.stored.record
    signs = "signs" if root.life.id == record.issuing else "does not sign"
    key = "key offline" if root.life.offline else "key here"
    label = role(root, picture.stored).removeprefix("the ")
    yield label, f"{root.life.id}: {signs}, {key}, ends {_end(root.life.ends, picture.now)}"
    if root.intermediate is not None:
        yield "", f"its intermediate ends {_end(root.intermediate.not_valid_after_utc, picture.now)}"
    last = record.leaves_end.get(root.life.id)
    if last is not None and record.phase is not Phase.STABLE:
        yield "", f"its last certificate ends {_end(last, picture.now)} at the latest"


def wait_text(wait: Wait, now: datetime) -> str:
    """What is waited for, with names."""
    text = str(Wait(wait.reason, wait.proxies[:_MANY], wait.until)) if len(wait.proxies) <= _MANY else str(wait)
    return f"{text} (in {span(wait.until - now)})" if wait.until is not None and wait.until > now else text


def _warning(deadline: Deadline, now: datetime) -> str | None:
    urgency = deadline.urgency(now)
    if urgency is Urgency.LATER:
        return None
    ends = "has ended" if urgency is Urgency.ENDED else f"ends {_end(deadline.ends, now)}"
    action = deadline.action or "the control plane renews it by itself while it runs"
    return f"{'urgent: ' if urgency is Urgency.URGENT else ''}the {deadline.subject} {deadline.root} {ends}: {action}"


def _end(end: datetime, now: datetime) -> str:
    return f"{moment(end)} ({'in ' + span(end - now) if end > now else 'over'})"


def moment(time: datetime) -> str:
    """A time, for people."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def span(length: timedelta) -> str:
    """A length of time in one unit, for people."""
    seconds = int(length.total_seconds())
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} seconds"


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
