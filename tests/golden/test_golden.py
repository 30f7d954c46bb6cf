"""YAML as people write it -> exactly the resources that each sidecar is sent, and a real Envoy takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from smi.diagnostics import Severity
from tests.golden.scenarios import SCENARIOS, load, on_disk, rendered, write
from tests.golden.static_bootstrap import assert_envoy_takes


@pytest.mark.parametrize("name", SCENARIOS)
def test_sidecars_are_sent_what_is_expected(name: str, updating: bool) -> None:
    scenario = load(name)
    made = rendered(scenario)
    assert made, "no sidecar in this scenario"
    if updating:
        write(scenario, made)
    held = on_disk(scenario)
    assert sorted(made) == sorted(held), "run pytest tests/golden --update-golden, and read the difference"
    for file, text in made.items():
        assert text == held[file], f"{scenario.expected / file} differs; if that is right: --update-golden"


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_wrong_in_the_input(name: str) -> None:
    found = [each for each in load(name).reading.diagnostics if each.severity is not Severity.INFO]
    assert not found, found


@pytest.mark.envoy
@pytest.mark.parametrize("name", SCENARIOS)
def test_envoy_takes_it(name: str, tmp_path: Path) -> None:
    assert_envoy_takes(load(name).configuration, tmp_path)
