"""Collects what is wrong with one document, each finding at its exact line."""

from __future__ import annotations

from collections.abc import Sequence

from smi import codes
from smi.codes import Code
from smi.diagnostics import Diagnostic, ObjectRef, Severity
from smi.documents import Document, Path
from smi.names import closest
from smi.tree import Value

MAX_FINDINGS = 50
"""How many findings of one document are listed."""


class Report:
    """The findings of one document. `left_out` counts the parts that an error keeps out of force."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.object: ObjectRef | None = None
        self.left_out = 0
        self._found: list[tuple[Code, Path, str, str]] = []
        self._unlisted = 0

    def add(self, code: Code, path: Path, message: str, hint: str = "") -> None:
        """Record `message` about the part at `path`. An error means that the part is left out."""
        if code.severity == Severity.ERROR:
            self.left_out += 1
        self._list(code, path, message, hint)

    def add_in_force(self, code: Code, path: Path, message: str) -> None:
        """Record an error that is nevertheless in force as written, such as an access rule that grants nothing."""
        self._list(code, path, message, "")

    def unknown(self, code: Code, path: Path, word: str, known: list[str]) -> None:
        """Record that `word` is not one of the `known` fields at `path`, with the one that was perhaps meant."""
        self.add(code, (*path, word), f"unknown field {dotted((*path, word))}", self.guess(word, known))

    def guess(self, word: object, known: Sequence[str]) -> str:
        """A hint at the one of the `known` words that was perhaps meant; none once findings are not listed any more,
        since looking for it takes time.
        """
        if not isinstance(word, str) or len(self._found) >= MAX_FINDINGS:
            return ""
        meant = closest(word, known)
        return f"Did you mean {meant!r}?" if meant else ""

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All findings in the order of their lines."""
        if not self._found:
            return ()
        found = [
            code.diagnostic(message, object=self.object, location=self.document.location(path), hint=hint)
            for code, path, message, hint in self._found
        ]
        if self._unlisted:
            message = f"{self._unlisted} more findings in this object are not listed"
            place = self.document.location()
            found.append(codes.FINDINGS_LEFT_OUT.diagnostic(message, object=self.object, location=place))
        return tuple(sorted(found, key=Diagnostic.sort_key))

    def _list(self, code: Code, path: Path, message: str, hint: str) -> None:
        if len(self._found) < MAX_FINDINGS:
            self._found.append((code, path, message, hint))
        else:
            self._unlisted += 1


def dotted(path: Path) -> str:
    """A path as people write it: `spec.backends[1].weight`. It stays one line, whatever the keys are."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{_printable(step[:80])}"
    return text.removeprefix(".")


def _printable(key: str) -> str:
    return key if key.isprintable() else repr(key)[1:-1]


def described(value: Value) -> str:
    """A value in the words of a diagnostic, shortened."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {str(value)[:40]}"
        case str():
            return f"the text {value[:60]!r}"
        case dict():
            return "a mapping"
    return "a list"
