"""One measurement, and how measurements are shown."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """`value` in `unit`. `floor` is what cannot be beaten, measured in the same run; `ratio` is value to floor."""

    name: str
    value: float
    unit: str
    floor: float | None
    params: Mapping[str, object]

    @property
    def ratio(self) -> float | None:
        return self.value / self.floor if self.floor else None


def show(records: Iterable[Record]) -> None:
    """A table for people."""
    table = Table("record", "parameters", "value", "floor", "ratio")
    for record in records:
        params = " ".join(f"{name}={value}" for name, value in record.params.items())
        floor = "" if record.floor is None else f"{record.floor:,.1f} {record.unit}"
        ratio = "" if record.ratio is None else f"{record.ratio:.2f}"
        table.add_row(record.name, params, f"{record.value:,.1f} {record.unit}", floor, ratio)
    Console(width=120).print(table)


def write(records: Iterable[Record], path: Path) -> None:
    """The same as a JSON list of `{name, value, unit, floor, ratio, params}`."""
    data = [{**dataclasses.asdict(record), "ratio": record.ratio} for record in records]
    path.write_text(json.dumps(data, indent=2) + "\n")
