"""`tulle lint`: what is wrong in a directory of objects, without running anything."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click

from deploy.directory import read_directory
from smi.diagnostics import Diagnostic, Severity

_WORDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "info"}
_COLORS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "blue"}


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


def as_text(diagnostic: Diagnostic) -> str:
    """One finding in two lines: where, what; and what to do."""
    word = click.style(f"{_WORDS[diagnostic.severity]} {diagnostic.code}", fg=_COLORS[diagnostic.severity])
    about = f"{diagnostic.object}: " if diagnostic.object else ""
    first = f"{diagnostic.location or '-'}: {word} {about}{diagnostic.message}"
    return f"{first}\n    {diagnostic.hint}" if diagnostic.hint else first


def as_json(diagnostic: Diagnostic) -> dict[str, object]:
    """A finding as data."""
    return {
        "code": diagnostic.code,
        "severity": _WORDS[diagnostic.severity],
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "object": dataclasses.asdict(diagnostic.object) if diagnostic.object else None,
        "location": dataclasses.asdict(diagnostic.location) if diagnostic.location else None,
    }


def _summary(diagnostics: Iterable[Diagnostic]) -> str:
    counts = Counter(each.severity for each in diagnostics)
    parts = [f"{counts[severity]} {word}{'s' * (counts[severity] != 1)}" for severity, word in _WORDS.items()]
    hint = "; `tulle explain CODE` says more" if counts else ""
    return f"{parts[0]}, {parts[1]}, {counts[Severity.INFO]} notes{hint}"
