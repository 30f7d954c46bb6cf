"""The table "Edge cases" in the README of `smi/` names codes, scenarios and tests that exist."""

from __future__ import annotations

import re

import pytest

import smi.resolve.codes  # noqa: F401  # defines its codes
from smi.codes import CODES
from tests.proofs import REPOSITORY, assert_exists, proofs_in, rows_below

_, *ROWS = rows_below("smi/README.md", "Edge cases")
PROOFS = proofs_in(ROWS)
SCENARIOS = sorted(set(re.findall(r"`scenarios/([\w-]+)`", "\n".join(map(str, ROWS)))))


@pytest.mark.parametrize(("file", "test", "case"), PROOFS, ids=["::".join(proof) for proof in PROOFS])
def test_a_proof_exists(file: str, test: str, case: str) -> None:
    assert_exists(file, test, case)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_exists(name: str) -> None:
    assert (REPOSITORY / "tests" / "scenarios" / name / "calls.yaml").exists()


def test_every_case_is_decided_for_a_reason_and_proven() -> None:
    assert len(ROWS) > 70
    for case, decision, why, diagnostic, proof in ROWS:
        assert decision, case
        assert why, case
        assert "::" in proof or "scenarios/" in proof, case
        assert all(code in CODES for code in re.findall(r"TL\d{4}", diagnostic)), case
