"""Runs the benchmarks: `python -m tests.bench [--json FILE] [--quick] [--check] [--profile DIRECTORY] [NAME ...]`.

Times and memory are compared with a floor of the same run: a bare server (`floor_server`) that writes the same bytes to
a fleet of the same clients. On a busy machine both rise; look at the ratio.

What the control plane under test spends its time on: `--profile DIRECTORY` runs py-spy (`pip install py-spy`) beside
each of them and writes collapsed stacks, which speedscope.app and flamegraph.pl show; or attach it by hand to the
process whose id is printed: `py-spy top --pid ID`.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

import click

from tests.bench.arena import PROFILES
from tests.bench.records import Record, say, show, write

BENCHES = (
    "bytes_per_change",
    "cold_start",
    "cpu_per_change",
    "convergence",
    "memory_per_proxy",
    "reconnect_storm",
    "churn",
    "yaml_decode",
    "convergence_envoy",
    "zero_loss",
    "envoy_memory",
)
"""Modules of this package, each with `measure(*, quick: bool) -> Iterator[Record]`."""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(BENCHES))
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the records here.")
@click.option("--quick", is_flag=True, help="Small sizes and few rounds: shows that it runs, its numbers say little.")
@click.option("--check", is_flag=True, help="Exit with 1 when a target is missed.")
@click.option(
    "--profile",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write py-spy profiles of the control planes under test into this directory (slows them down).",
)
def main(names: tuple[str, ...], json_file: Path | None, profile: Path | None, *, quick: bool, check: bool) -> None:
    """Measure what changes cost."""
    if profile is not None:
        profile.mkdir(parents=True, exist_ok=True)
        PROFILES.append(profile)
    records: list[Record] = []
    try:
        for name in names or BENCHES:
            begin = time.monotonic()
            records.extend(importlib.import_module(f"tests.bench.{name}").measure(quick=quick))
            say(f"{name} took {time.monotonic() - begin:.0f} s")
    finally:
        show(records)
        if json_file:
            write(records, json_file)
    missed = sum(record.missed for record in records)
    say(f"{missed} of {sum(record.must is not None for record in records)} targets are missed")
    sys.exit(1 if check and missed else 0)


if __name__ == "__main__":
    main()
