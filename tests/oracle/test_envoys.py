"""Real sidecars agree with the oracle: who answers, who is refused, and how splits divide."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from random import SystemRandom

import pytest
import pytest_asyncio

from tests.oracle.cases import random_case
from tests.oracle.real_meshes import RealMeshes, Tally, real_meshes
from tests.oracle.shrinking import pasteable

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

CALLS = 25
SIGMAS = 7
"""A right split is further away once in 10^11 runs."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealMeshes]:
    async with real_meshes(tmp_path_factory.mktemp("oracle")) as running:
        yield running


@pytest.mark.timeout(900)
@pytest.mark.parametrize("meshes", [12, pytest.param(120, marks=pytest.mark.slow)])
async def test_real_sidecars_agree(real: RealMeshes, meshes: int) -> None:
    first = int(os.environ.get("TULLE_SEED", SystemRandom().randrange(10**6)))
    print(f"meshes from seed {first} on; TULLE_SEED={first} tries the same")  # noqa: T201
    tally = Tally()
    for seed in range(first, first + meshes):
        case = random_case(seed, CALLS, real.layout)
        await real.serve(case)
        found = await real.disagreements(case, tally)
        assert not found, "\n".join([f"mesh {seed}:", *found, pasteable([*case.documents])])
        assert not await real.mesh.nacks(), f"mesh {seed} is rejected:\n{pasteable([*case.documents])}"
    print(tally)  # noqa: T201
    assert tally.outcomes[200] > meshes, "hardly anything was allowed"
    assert tally.outcomes[403] > meshes, "hardly anything was refused"
    assert abs(tally.surplus) <= SIGMAS * math.sqrt(tally.variance) + 3, tally
