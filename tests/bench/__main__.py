"""Runs the benchmarks: `python -m tests.bench [--json FILE] [--quick] [NAME ...]`."""

from __future__ import annotations

from pathlib import Path

import click

from tests.bench import bytes_per_change, cold_start
from tests.bench.records import Record, show, write

_BENCHES = {"bytes_per_change": bytes_per_change, "cold_start": cold_start}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(_BENCHES)))
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the records here.")
@click.option("--quick", is_flag=True, help="The smallest size only.")
def main(names: tuple[str, ...], json_file: Path | None, *, quick: bool) -> None:
    """Measure what changes cost."""
    records: list[Record] = []
    for name in names or _BENCHES:
        bench = _BENCHES[name]
        records.extend(bench.measure(bench.SIZES[:1] if quick else bench.SIZES))
    show(records)
    if json_file:
        write(records, json_file)


main()
