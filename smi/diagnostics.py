"""Diagnostics: what is wrong in what a person wrote, as data. They never stop anything that was good."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Severity(enum.IntEnum):
    """How bad it is: an error means that the object, or a part of it, is not in force as written."""

    INFO = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file, as people count: the first line is 1. `file` is relative to the directory that was read."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """Names one object. `namespace` is empty for kinds that have none."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: a stable code (`TL1004`), what is wrong, what it means, and what to do about it.

    `code` never changes its meaning. `object` and `location` are None where there is nothing to point at.
    """

    code: str
    severity: Severity
    message: str
    hint: str = ""
    object: ObjectRef | None = None
    location: Location | None = None

    def sort_key(self) -> tuple[Any, ...]:
        place = self.location or Location("", 0)
        return (place.file, place.line, -self.severity, self.code, str(self.object or ""), self.message)
