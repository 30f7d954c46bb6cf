"""YAML as people write it -> exactly the resources that each sidecar is sent, and a real Envoy takes them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from deploy.sidecar.envoy import find_envoy
from smi.diagnostics import Severity
from tests.golden.scenarios import SCENARIOS, load, on_disk, rendered, write
from tests.golden.static_bootstrap import static_bootstrap


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
    configuration = load(name).configuration
    envoy = find_envoy().path
    for key in configuration.views:
        bootstrap = tmp_path / f"{key.namespace}.{key.name}.json"
        bootstrap.write_text(json.dumps(static_bootstrap(configuration.of_proxy(key))))
        command: list[str | Path] = [envoy, "--mode", "validate", "--config-path", bootstrap, "--log-level", "error"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{key}: {done.stdout}{done.stderr}"
