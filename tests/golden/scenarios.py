"""A scenario: a folder with `input/`, as a person would write it, and `expected/`, what sidecars are sent for it.

`expected/<namespace>.<workload>.yaml` names everything that one sidecar is sent. Resources that several of them are
sent stand once, in `expected/shared.yaml`: sharing is the idea of Tulle, so it should be seen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from deploy.configuration import Configuration
from deploy.directory import Reading, read_directory
from smi.model import WorkloadKey
from tests.unit.translators.conftest import message
from xds.resource import Resource, TypeUrl

FOLDER = Path(__file__).parent
SCENARIOS = sorted(path.parent.name for path in FOLDER.glob("*/input"))
_SHARED = "shared.yaml"
_WORDS = {
    TypeUrl.CLUSTER: "cluster",
    TypeUrl.ENDPOINT: "endpoints",
    TypeUrl.EXTENSION: "extension",
    TypeUrl.LISTENER: "listener",
    TypeUrl.ROUTE: "routes",
}


@dataclass(frozen=True)
class Scenario:
    """One folder, read and translated."""

    name: str
    reading: Reading
    configuration: Configuration

    @property
    def expected(self) -> Path:
        return FOLDER / self.name / "expected"


def load(name: str) -> Scenario:
    reading = read_directory(FOLDER / name / "input")
    return Scenario(name, reading, reading.configuration)


def rendered(scenario: Scenario) -> dict[str, str]:
    """The files that `expected/` should hold, by name."""
    proxies = {key: scenario.configuration.of_proxy(key) for key in sorted(scenario.configuration.views)}
    holders = Counter(_label(each) for resources in proxies.values() for each in resources)
    versions = {(_label(each), each.version) for resources in proxies.values() for each in resources}
    differing = {label for label, count in Counter(label for label, _ in versions).items() if count > 1}
    shared = {label for label, count in holders.items() if count > 1} - differing
    files = {_file_of(key): _proxy(resources, shared) for key, resources in proxies.items()}
    all_of_them = {_label(each): as_dict(each) for resources in proxies.values() for each in resources}
    if shared:
        files[_SHARED] = _yaml({label: all_of_them[label] for label in sorted(shared)})
    return files


def as_dict(resource: Resource) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json_format.MessageToJson(message(resource), preserving_proto_field_name=True))
    return made


def on_disk(scenario: Scenario) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(scenario.expected.glob("*"))}


def write(scenario: Scenario, files: Mapping[str, str]) -> None:
    """Make `expected/` hold exactly `files`."""
    scenario.expected.mkdir(exist_ok=True)
    for path in scenario.expected.glob("*"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (scenario.expected / name).write_text(text)


def _file_of(key: WorkloadKey) -> str:
    return f"{key.namespace}.{key.name}.yaml"


def _proxy(resources: list[Resource], shared: set[str]) -> str:
    labels = {_label(each): each for each in resources}
    return _yaml(
        {
            "shared": sorted(label for label in labels if label in shared),
            "own": {label: as_dict(each) for label, each in sorted(labels.items()) if label not in shared},
        }
    )


def _label(resource: Resource) -> str:
    return f"{_WORDS[resource.type_url]} {resource.name}"


def _yaml(content: object) -> str:
    return yaml.safe_dump(content, sort_keys=True, width=110)
