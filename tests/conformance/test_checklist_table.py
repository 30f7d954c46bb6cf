"""The table "Checklist" in the README of ``xds/`` names files and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TABLE = (REPOSITORY / "xds" / "README.md").read_text().partition("## Checklist")[2]
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in TABLE.splitlines() if line[:1] == "|"]
PROOFS = sorted(set(re.findall(r"`(\w+)::(\w+)(?:\[(\w+)\])?`", "\n".join(map(str, ROWS)))))


@pytest.mark.parametrize(("file", "test", "case"), PROOFS, ids=["::".join(proof) for proof in PROOFS])
def test_a_proof_exists(file: str, test: str, case: str) -> None:
    texts = [found.read_text() for found in (REPOSITORY / "tests").rglob(f"test_{file}.py")]
    (text,) = (text for text in texts if re.search(rf"^(async )?def test_{test}\(", text, re.MULTILINE))
    assert not case or f"def {case}(" in text


def test_every_rule_has_a_place_and_a_proof() -> None:
    rules = [row for row in ROWS if len(row) == 3 and row[1] not in ("where", "") and "---" not in row[0]]
    assert len(rules) > 50
    for _, where, proof in rules:
        assert all((REPOSITORY / "xds" / file).exists() for file in re.findall(r"`(\w+\.py)`", where))
        assert "::" in proof or ".py" in proof
