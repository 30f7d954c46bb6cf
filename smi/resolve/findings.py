"""Collects what the resolvers find wrong."""

from __future__ import annotations

from smi.codes import Code
from smi.diagnostics import Diagnostic
from smi.objects import MeshObject


class Findings:
    """A list of diagnostics without repetitions, in the order in which they were found.

    They say which object they are about, not where it is: an object that moves in its file is no change, so the place
    is looked up when somebody asks.
    """

    def __init__(self) -> None:
        self._found: dict[Diagnostic, None] = {}

    def add(self, code: Code, message: str, about: MeshObject) -> None:
        """Record that `code` holds for `about`, in the words of `message`."""
        self._found[code.diagnostic(message, object=about.ref)] = None

    def __bool__(self) -> bool:
        return bool(self._found)

    def take(self) -> tuple[Diagnostic, ...]:
        """All that was found since the last call."""
        found = tuple(self._found)
        self._found.clear()
        return found
