"""One measurement, what it must reach, and how measurements are shown."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Must:
    """The most a value may be: ``value`` in its own unit, ``ratio`` times the floor, or ``above`` the floor."""

    value: float | None = None
    ratio: float | None = None
    above: float | None = None

    def met(self, value: float, floor: float | None) -> bool:
        """Raises ValueError where a floor is needed and there is none."""
        if self.value is not None:
            return value <= self.value
        if floor is None:
            raise ValueError("a target relative to the floor needs a floor")
        return value <= (floor * self.ratio if self.ratio is not None else floor + (self.above or 0.0))

    def __str__(self) -> str:
        if self.value is not None:
            return f"<= {self.value:,g}"
        return f"<= {self.ratio:g} x floor" if self.ratio is not None else f"<= floor + {self.above:,g}"


@dataclass(frozen=True, slots=True)
class Record:
    """`value` in `unit`. `floor` is what cannot be beaten, measured in the same run; `ratio` is value to floor."""

    name: str
    value: float
    unit: str
    floor: float | None
    params: Mapping[str, object]
    must: Must | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.floor if self.floor else None

    @property
    def missed(self) -> bool:
        return self.must is not None and not self.must.met(self.value, self.floor)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1))]


median = statistics.median


def show(records: Iterable[Record]) -> None:
    """A table for people."""
    table = Table("record", "parameters", "value", "floor", "ratio", "must", "")
    for record in records:
        params = " ".join(f"{name}={value}" for name, value in record.params.items())
        floor = "" if record.floor is None else f"{_figure(record.floor)} {record.unit}"
        ratio = "" if record.ratio is None else f"{record.ratio:.2f}"
        must = "" if record.must is None else str(record.must)
        verdict = "" if record.must is None else "[red]MISSED[/red]" if record.missed else "met"
        table.add_row(record.name, params, f"{_figure(record.value)} {record.unit}", floor, ratio, must, verdict)
    Console(width=150).print(table)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.4g}"


def say(text: str) -> None:
    """Progress, on stderr."""
    click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)


def write(records: Iterable[Record], path: Path) -> None:
    """The same as a JSON list of `{name, value, unit, floor, ratio, params}`; what must be reached is in `params`."""
    data = [
        {
            "name": record.name,
            "value": record.value,
            "unit": record.unit,
            "floor": record.floor,
            "ratio": record.ratio,
            "params": {
                **record.params,
                **({} if record.must is None else {"must": str(record.must), "met": not record.missed}),
            },
        }
        for record in records
    ]
    path.write_text(json.dumps(data, indent=2) + "\n")
