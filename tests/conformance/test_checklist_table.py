"""The table "Checklist" in the README of ``xds/`` names files and tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.proofs import REPOSITORY, assert_exists, proofs_in, rows_below

ROWS = rows_below("xds/README.md", "Checklist")
PROOFS = proofs_in(ROWS)


@pytest.mark.parametrize(("file", "test", "case"), PROOFS, ids=["::".join(proof) for proof in PROOFS])
def test_a_proof_exists(file: str, test: str, case: str) -> None:
    assert_exists(file, test, case)


def test_every_rule_has_a_place_and_a_proof() -> None:
    rules = [row for row in ROWS if len(row) == 3 and row[1] != "where"]
    assert len(rules) > 50
    for _, where, proof in rules:
        assert all((REPOSITORY / "xds" / file).exists() for file in re.findall(r"`(\w+\.py)`", where))
        assert "::" in proof or ".py" in proof
