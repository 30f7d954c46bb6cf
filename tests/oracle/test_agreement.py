"""What sidecars are sent means what the specification says: and what people are told of it too: the simulator
and `tulle policy check` agree with the oracle on random cases."""

from __future__ import annotations

import os
from random import SystemRandom

import pytest

from tests.oracle.agreement import disagreement
from tests.oracle.cases import cases
from tests.oracle.judges import Court, Envoys, Policy

CALLS = 25
MANY, PARTS = 4000, 16
"""100,000 cases, in parts that may run side by side."""


@pytest.fixture(scope="module")
def seed() -> int:
    """Where random meshes begin: another one on each run, unless TULLE_SEED says it."""
    return int(os.environ.get("TULLE_SEED", SystemRandom().randrange(10**9)))


@pytest.mark.parametrize("court", [Envoys, Policy])
def test_all_say_the_same(seed: int, court: Court) -> None:
    print(f"meshes from seed {seed} on; TULLE_SEED={seed} tries the same")  # noqa: T201
    found = disagreement(cases(seed, 120, CALLS), court)
    assert found is None, found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("court", [Envoys, Policy])
def test_all_say_the_same_very_often(seed: int, court: Court, part: int) -> None:
    first = seed + part * (MANY // PARTS)
    print(f"meshes from seed {first} on; TULLE_SEED={seed} tries the same")  # noqa: T201
    found = disagreement(cases(first, MANY // PARTS, CALLS), court)
    assert found is None, found
