"""Collects what the resolvers find wrong."""

from __future__ import annotations

from smi.codes import Code
from smi.diagnostics import Diagnostic
from smi.objects import MeshObject


class Findings:
    """A list of diagnostics without repetitions, in the order in which they were found."""

    def __init__(self) -> None:
        self._found: dict[Diagnostic, None] = {}

    def add(self, code: Code, message: str, about: MeshObject) -> None:
        """Record that `code` holds for `about`, in the words of `message`."""
        diagnostic = code.diagnostic(message, object=about.ref, location=about.meta.location)
        self._found[diagnostic] = None

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return tuple(self._found)
