"""What the control plane says of the rotation to people beside it: `STATE/ca/status.json`, no secrets in it.

The running control plane holds a lock on `STATE/ca/serving`, so that others can tell whether it runs.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from ca.private_file import StateError, read_private, write_private
from ca.rotation import Phase, Reason, Wait

STATUS = "status.json"
_SERVING = "serving"


@dataclass(frozen=True, slots=True)
class RotationStatus:
    """How far the rotation is, by the proxies that are connected. Roots are told by their ids."""

    phase: Phase
    since: datetime
    root: str
    next_root: str | None
    proxies: int
    """Workloads with a sidecar."""
    connected: int
    trusting: int
    """Of the connected ones, those that acknowledged the roots of this phase; 0 in the stable one."""
    moved: int
    """Of the connected ones, those that acknowledged a certificate of the new root."""
    waits: tuple[Wait, ...] = field(default=())
    """What the next step waits for."""
    problem: str | None = None
    """Why it cannot be taken although nothing is waited for."""

    def to_json(self) -> bytes:
        """The content of the file."""
        content = {
            "phase": self.phase.value,
            "since": self.since.isoformat(),
            "root": self.root,
            "next_root": self.next_root,
            "proxies": self.proxies,
            "connected": self.connected,
            "trusting": self.trusting,
            "moved": self.moved,
            "waits": [wait_data(wait) for wait in self.waits],
            "problem": self.problem,
        }
        return json.dumps(content, indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """The reverse of `to_json`; raises ValueError for anything else."""
        try:
            found: Any = json.loads(content)
            return cls(
                phase=Phase(found["phase"]),
                since=_time(found["since"]),
                root=str(found["root"]),
                next_root=None if found["next_root"] is None else str(found["next_root"]),
                proxies=int(found["proxies"]),
                connected=int(found["connected"]),
                trusting=int(found["trusting"]),
                moved=int(found["moved"]),
                waits=tuple(_wait(each) for each in found["waits"]),
                problem=None if found["problem"] is None else str(found["problem"]),
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("a part is missing or has the wrong form") from error


def wait_data(wait: Wait) -> dict[str, object]:
    """One thing that is waited for, as plain data."""
    until = None if wait.until is None else wait.until.isoformat()
    return {"reason": wait.reason.value, "proxies": list(wait.proxies), "until": until}


def _wait(found: Any) -> Wait:
    until = None if found["until"] is None else _time(found["until"])
    return Wait(Reason(found["reason"]), tuple(map(str, _list(found["proxies"]))), until)


def _list(found: Any) -> Iterable[Any]:
    if not isinstance(found, list):
        raise TypeError("not a list")
    return found


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def write_status(state_dir: Path, status: RotationStatus) -> None:
    """Replace the file in one step. Raises StateError."""
    write_private(state_dir / "ca" / STATUS, status.to_json(), durable=False)


def read_status(state_dir: Path) -> RotationStatus | None:
    """What the running control plane says; None when none runs, or it has not said anything yet.

    Raises StateError when the file cannot be read.
    """
    if not is_served(state_dir):
        return None
    path = state_dir / "ca" / STATUS
    content = read_private(path)
    try:
        return None if content is None else RotationStatus.from_json(content)
    except ValueError as error:
        raise StateError(f"{path} is damaged: {error}; it is written anew when tulle serve starts") from error


def is_served(state_dir: Path) -> bool:
    """Whether a control plane runs on this state directory."""
    try:
        descriptor = os.open(state_dir / "ca" / _SERVING, os.O_RDONLY)
    except OSError:
        return False
    try:
        # For an instant only: whoever wants to serve tries again.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class ServingMark:
    """Says that this process serves, until it ends or `close`."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "ca" / _SERVING
        self._descriptor: int | None = None

    def put(self) -> bool:
        """Put the mark up, if it is not up yet. Whether it is up: somebody who looks may be in the way for an instant.

        Raises StateError.
        """
        if self._descriptor is not None:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"cannot open {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
