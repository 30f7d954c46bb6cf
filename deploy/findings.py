"""Diagnostics as people and programs read them: two lines of text, or data."""

from __future__ import annotations

import dataclasses

import click

from smi.diagnostics import Diagnostic, Severity

WORDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "info"}
_COLORS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "blue"}


def as_text(diagnostic: Diagnostic) -> str:
    """One finding in two lines: where, what; and what to do."""
    word = click.style(f"{WORDS[diagnostic.severity]} {diagnostic.code}", fg=_COLORS[diagnostic.severity])
    about = f"{diagnostic.object}: " if diagnostic.object else ""
    first = f"{diagnostic.location or '-'}: {word} {about}{diagnostic.message}"
    return f"{first}\n    {diagnostic.hint}" if diagnostic.hint else first


def as_json(diagnostic: Diagnostic) -> dict[str, object]:
    """A finding as data."""
    return {
        "code": diagnostic.code,
        "severity": WORDS[diagnostic.severity],
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "object": dataclasses.asdict(diagnostic.object) if diagnostic.object else None,
        "location": dataclasses.asdict(diagnostic.location) if diagnostic.location else None,
    }
