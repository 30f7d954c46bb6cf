"""The table "Attacks" in the README of ``xds/`` names tests and cases that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SECTION = (REPOSITORY / "xds" / "README.md").read_text().partition("## Attacks\n")[2].partition("\n## ")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in SECTION.splitlines() if line[:1] == "|"]
ATTACKS = [row for row in ROWS[2:] if not row[0].startswith("**")]
PROOFS = sorted(set(re.findall(r"`(\w+)::(\w+)(?:\[([^\]]+)\])?`", "\n".join(row[-1] for row in ATTACKS))))


@pytest.mark.parametrize(("file", "test", "case"), PROOFS, ids=["::".join(proof) for proof in PROOFS])
def test_a_proof_exists(file: str, test: str, case: str) -> None:
    texts = [found.read_text() for found in (REPOSITORY / "tests").rglob(f"test_{file}.py")]
    (text,) = (text for text in texts if re.search(rf"^(async )?def test_{test}\(", text, re.MULTILINE))
    assert not case or f'"{case}":' in text


def test_every_attack_has_an_end_and_a_proof() -> None:
    assert len(ATTACKS) > 25
    for row in ATTACKS:
        assert len(row) == 3
        assert "::" in row[2]
