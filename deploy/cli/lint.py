"""`tulle lint`: what is wrong in a directory of objects, without running anything."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click

from deploy.directory import read_directory
from deploy.findings import WORDS, as_json, as_text
from smi.diagnostics import Diagnostic, Severity


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--strict", is_flag=True, help="Exit with 1 when there are warnings.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def lint(directory: Path, *, strict: bool, output: str) -> None:
    """Explain what is wrong in the objects of DIRECTORY.

    Exits with 0 when there are no errors, with 2 when there are, and with 1 for warnings under --strict.
    """
    diagnostics = read_directory(directory).diagnostics
    if output == "json":
        click.echo(json.dumps([as_json(each) for each in diagnostics], indent=2))
    else:
        for diagnostic in diagnostics:
            click.echo(as_text(diagnostic))
        click.echo(_summary(diagnostics), err=True)
    worst = max((each.severity for each in diagnostics), default=Severity.INFO)
    sys.exit(2 if worst is Severity.ERROR else 1 if strict and worst is Severity.WARNING else 0)


def _summary(diagnostics: Iterable[Diagnostic]) -> str:
    counts = Counter(each.severity for each in diagnostics)
    parts = [f"{counts[severity]} {word}{'s' * (counts[severity] != 1)}" for severity, word in WORDS.items()]
    hint = "; `tulle explain CODE` says more" if counts else ""
    return f"{parts[0]}, {parts[1]}, {counts[Severity.INFO]} notes{hint}"
