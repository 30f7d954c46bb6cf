"""What `STATE/ca/rotation.json` holds: the one commit point of the roots. In: JSON. Out: a frozen value. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ca.rotation import STEPS, Phase, Step

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class RotationRecord:
    """Which roots there are, and which of them issues."""

    phase: Phase
    root: str
    """Id of the root that was there before the rotation."""
    next_root: str | None
    since: datetime
    served_request: str | None = None
    """Id of the last request that was obeyed: its file may have survived a crash."""
    leaves_end: Mapping[str, datetime] = field(default_factory=dict)
    """By id of a root: no leaf that it issued ends later. A root that is not listed has issued none."""

    def __post_init__(self) -> None:
        if (self.phase is Phase.STABLE) != (self.next_root is None) or self.next_root == self.root:
            raise ValueError(f"the phase {self.phase} does not fit its roots")

    @property
    def roots(self) -> tuple[str, ...]:
        """The trusted roots, the older first: the same order through a whole rotation."""
        return (self.root,) if self.next_root is None else (self.root, self.next_root)

    @property
    def issuing(self) -> str:
        """The root that leaves come from."""
        return self.next_root if self.phase is Phase.ACTIVATED and self.next_root is not None else self.root

    def begun(self, next_root: str, now: datetime, request: str | None) -> RotationRecord:
        """After `Step.BEGIN` with a new root, to obey `request` if there is one."""
        phase = self._after(Step.BEGIN)
        served = request or self.served_request
        return replace(self, phase=phase, next_root=next_root, since=now, served_request=served)

    def activated(self, now: datetime) -> RotationRecord:
        """After `Step.ACTIVATE`."""
        return replace(self, phase=self._after(Step.ACTIVATE), since=now)

    def retired(self, now: datetime) -> RotationRecord:
        """After `Step.RETIRE`."""
        phase, old, new = self._after(Step.RETIRE), self.root, self.next_root
        assert new is not None  # noqa: S101  # __post_init__ saw to it
        left = {root: end for root, end in self.leaves_end.items() if root != old}
        return replace(self, phase=phase, root=new, next_root=None, since=now, leaves_end=left)

    def with_leaves_end(self, root: str, end: datetime) -> RotationRecord:
        """The same, with a later end of the leaves of one root."""
        return replace(self, leaves_end={**self.leaves_end, root: end})

    def _after(self, step: Step) -> Phase:
        due, following = STEPS[self.phase]
        if step is not due:
            raise ValueError(f"the step {step} does not follow the phase {self.phase}")
        return following

    def to_json(self) -> bytes:
        """The content of the file."""
        content = {
            "phase": self.phase.value,
            "root": self.root,
            "next_root": self.next_root,
            "since": self.since.isoformat(),
            "served_request": self.served_request,
            "leaves_end": {root: end.isoformat() for root, end in sorted(self.leaves_end.items())},
        }
        return json.dumps(content, indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> RotationRecord:
        """The reverse of `to_json`; raises ValueError for anything else."""
        try:
            found: Any = json.loads(content)
            following, served = found["next_root"], found["served_request"]
            return cls(
                Phase(found["phase"]),
                _id(found["root"]),
                None if following is None else _id(following),
                _time(found["since"]),
                None if served is None else str(served),
                {_id(root): _time(end) for root, end in found["leaves_end"].items()},
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("it lacks a part, or a part has the wrong form") from error


def _id(value: Any) -> str:
    # It becomes the name of a directory.
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("the id of a root is not 32 hexadecimal digits")
    return value


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time has no zone")
    return moment.astimezone(UTC)
