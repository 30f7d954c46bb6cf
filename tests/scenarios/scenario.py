"""A scenario: a folder with `mesh.yaml`, as a person would write it, and `calls.yaml`, what should become of calls.

README.md says how `calls.yaml` is written. A word in it that is not known fails the test.
"""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from deploy.directory import Reading, read_directory
from smi.model import PortKey, WorkloadKey
from tests.simulator import Call, Connection, Kind, Outcome

FOLDER = Path(__file__).parent
SCENARIOS = sorted(path.parent.name for path in FOLDER.glob("*/mesh.yaml"))
NOBODY = "nobody"
_KEYS = {"from", "to", "bytes", "tls", "method", "path", "host", "headers", "ends", "weights", "applications"}


@dataclass(frozen=True)
class Expected:
    """One entry of `calls`. `ends`: how all calls end, or how those end that get to a workload or a backend."""

    asked: Connection
    ends: Kind | Mapping[str, Kind]
    weights: Mapping[str, Fraction] | None
    applications: frozenset[str] | None
    text: str

    def differences(self, outcome: Outcome) -> list[str]:
        """What is not as it should be."""
        found = []
        if isinstance(self.ends, Kind):
            if outcome.kind is not self.ends:
                found.append(f"ends: {_kinds(outcome)}")
        elif (reached := _by_name(outcome, self.ends)) != {name: {kind} for name, kind in self.ends.items()}:
            found.append(f"ends: {reached}: {_kinds(outcome)}")
        weights = {_name(cluster): weight for cluster, weight in outcome.weights.items()}
        if self.weights is not None and weights != self.weights:
            found.append(f"weights: { ({name: str(weight) for name, weight in weights.items()}) }")
        if self.applications is not None and outcome.applications != self.applications:
            found.append(f"applications: {sorted(outcome.applications)}")
        return found


@dataclass(frozen=True)
class Scenario:
    """One folder. `diagnostics`: exactly the codes that `tulle lint` shows for it."""

    name: str
    idea: str
    diagnostics: frozenset[str]
    calls: tuple[Expected, ...]
    reading: Reading


def load(name: str) -> Scenario:
    """Read and translate one folder. Raises ValueError for a `calls.yaml` that is not understood."""
    written = yaml.safe_load((FOLDER / name / "calls.yaml").read_text())
    if unknown := written.keys() - {"idea", "diagnostics", "calls"}:
        raise ValueError(f"{name}: {unknown}")
    return Scenario(
        name=name,
        idea=written["idea"],
        diagnostics=frozenset(written.get("diagnostics", ())),
        calls=tuple(_expected(entry) for entry in written["calls"]),
        reading=_reading(FOLDER / name / "mesh.yaml"),
    )


def _reading(mesh: Path) -> Reading:
    """What a directory with nothing but this file comes to."""
    with TemporaryDirectory() as alone:
        shutil.copy(mesh, alone)
        return read_directory(Path(alone))


def _expected(entry: dict[str, Any]) -> Expected:
    if unknown := entry.keys() - _KEYS:
        raise ValueError(f"{entry}: {unknown}")
    ends, weights, applications = entry["ends"], entry.get("weights"), entry.get("applications")
    return Expected(
        asked=_asked(entry),
        ends=Kind(ends) if isinstance(ends, str) else {name: Kind(kind) for name, kind in ends.items()},
        weights=None if weights is None else _parts(weights),
        applications=None if applications is None else frozenset(applications),
        text=str({key: value for key, value in entry.items() if key not in ("ends", "weights", "applications")}),
    )


def _asked(entry: dict[str, Any]) -> Connection:
    to, _, port = entry["to"].rpartition(":")
    where = {"address": to.strip("[]")} if _is_address(to) else {"service": to}
    source = None if entry["from"] == NOBODY else WorkloadKey(*entry["from"].split("/"))
    own_tls = {"mesh": False, "own": True}[entry.get("tls", "mesh")]
    if entry.get("bytes"):
        return Connection(source=source, port=int(port), own_tls=own_tls, **where)
    return Call(
        source=source,
        port=int(port),
        own_tls=own_tls,
        method=entry.get("method", "GET"),
        path=entry.get("path", "/"),
        host=entry.get("host", ""),
        headers=tuple(entry.get("headers", {}).items()),
        **where,
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _parts(weights: Mapping[str, int]) -> dict[str, Fraction]:
    total = sum(weights.values())
    return {name: Fraction(weight, total) for name, weight in weights.items()}


def _name(cluster: PortKey | str) -> str:
    return cluster.service if isinstance(cluster, PortKey) else cluster


def _by_name(outcome: Outcome, names: Mapping[str, Kind]) -> dict[str, set[Kind]]:
    """How calls end at each workload or backend, under whichever of its names is among `names`."""
    found: dict[str, set[Kind]] = {}
    for each in outcome.reached:
        possible = (str(each.workload), "" if each.workload is None else each.workload.name, _name(each.cluster))
        name = next((one for one in possible if one in names), str(each.workload))
        found.setdefault(name, set()).add(each.kind)
    return found


def _kinds(outcome: Outcome) -> str:
    return "; ".join(
        f"{each.share} to {each.workload or each.address or '-'} {each.kind} {each.end.status} {each.end.why}".rstrip()
        for each in outcome.reached
    )
