"""Each folder here is an idea of SMI, as a person writes it: what becomes of calls, and what `tulle lint` says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.static_bootstrap import assert_envoy_takes
from tests.scenarios.scenario import SCENARIOS, load
from tests.simulator import Call, World


@pytest.mark.parametrize("name", SCENARIOS)
def test_calls_end_as_they_should(name: str) -> None:
    scenario = load(name)
    world = World.of(scenario.reading.configuration, scenario.reading.mesh)
    assert scenario.calls, "a scenario without a call proves nothing"
    wrong = []
    for expected in scenario.calls:
        asked = expected.asked
        outcome = world.call(asked) if isinstance(asked, Call) else world.connect(asked)
        wrong += [f"{expected.text}\n    {difference}" for difference in expected.differences(outcome)]
    assert not wrong, "\n".join([scenario.idea, *wrong])


@pytest.mark.parametrize("name", SCENARIOS)
def test_lint_says_what_it_should(name: str) -> None:
    scenario = load(name)
    assert {each.code for each in scenario.reading.diagnostics} == scenario.diagnostics, scenario.reading.diagnostics


@pytest.mark.envoy
@pytest.mark.parametrize("name", SCENARIOS)
def test_envoy_takes_it(name: str, tmp_path: Path) -> None:
    assert_envoy_takes(load(name).reading.configuration, tmp_path)
