"""`tulle explain`: what a diagnostic code means."""

from __future__ import annotations

import difflib

import click

import smi.resolve.codes  # noqa: F401  # both register their codes
from smi.codes import CODES


@click.command(short_help="Say what a diagnostic CODE means.")
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Print cause, effect and repair of a diagnostic CODE; without one, the list of all codes."""
    if code is None:
        for known in CODES.values():
            click.echo(f"{known.code}  {known.severity.name.lower():<8} {known.title}")
        return
    found = CODES.get(code.upper())
    if found is None:
        close = difflib.get_close_matches(code.upper(), CODES, n=1)
        hint = f"; did you mean {close[0]}?" if close else "; `tulle explain` lists them"
        raise click.ClickException(f"there is no diagnostic {code}{hint}")
    click.echo(f"{click.style(found.code, bold=True)}: {found.title} ({found.severity.name.lower()})")
    for label, text in (("cause", found.cause), ("effect", found.effect), ("repair", found.repair)):
        click.echo(f"  {label + ':':<8} {text}")
