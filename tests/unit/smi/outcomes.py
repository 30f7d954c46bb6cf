"""What must hold of whatever a text becomes."""

from __future__ import annotations

from collections.abc import Sequence

from smi.codes import CODES
from smi.decode import Decoded, decode
from smi.diagnostics import Diagnostic, Severity
from smi.documents import MAX_DOCUMENTS, parse
from smi.report import MAX_FINDINGS


def check(text: str) -> list[Decoded]:
    """Read a text, and assert that what came of it is in order, and the same again."""
    documents, found = parse(text, "any.yaml")
    outcomes = [decode(document) for document in documents]
    check_outcomes(outcomes, found, lines=lines_of(text))
    for document, outcome in zip(documents, outcomes, strict=True):
        assert outcome.object is None or outcome.object == decode(document).object
    return outcomes


def lines_of(text: str) -> int:
    """No fewer lines than a text has by the line breaks of YAML 1.1."""
    return 2 + sum(text.count(each) for each in "\n\r\x85\u2028\u2029")


def check_outcomes(outcomes: Sequence[Decoded], found: Sequence[Diagnostic], *, lines: int) -> None:
    """Values or diagnostics, bounded in number and length, each on a line that there is."""
    assert len(outcomes) + len(found) <= 2 * MAX_DOCUMENTS + 2
    for outcome in outcomes:
        assert len(outcome.diagnostics) <= MAX_FINDINGS + 1
        assert outcome.intact or outcome.diagnostics
        if outcome.object is not None:
            assert outcome.ref == outcome.object.ref
        elif outcome.intact:
            assert all(finding.severity is not Severity.ERROR for finding in outcome.diagnostics)
    for finding in [*found, *(each for outcome in outcomes for each in outcome.diagnostics)]:
        assert finding.code in CODES
        assert "\n" not in finding.message
        assert len(finding.message) < 1000
        assert finding.location is not None
        assert 1 <= finding.location.line <= lines
