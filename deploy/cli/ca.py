"""`tulle ca`: look at the mesh's roots, and rotate them. Reads and writes files of STATE/ca; needs no network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ca.inventory import Inventory, read_inventory
from ca.offline import renew_intermediate
from ca.private_file import StateError
from ca.rotation import Phase
from ca.rotation_request import request_rotation
from ca.signer import SigningCertificate
from ca.state import load_or_create
from deploy.cli import ca_inspect, ca_report
from deploy.cli.ca_watch import watch as watch_rotation
from deploy.clock import now
from deploy.rotation_status import is_served, read_status

_INTERRUPTED = 130
_STATE = click.option(
    "--state",
    default="state",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The state directory of the control plane.",
)


def _in_one_line(command: Callable[..., None]) -> Callable[..., None]:
    """What is wrong with the state is one line."""

    @wraps(command)
    def run(state: Path, **options: Any) -> None:
        if not (state / "ca").exists():
            raise click.ClickException(
                f"{state} is no state directory of a control plane: give it with --state, or make one with tulle serve"
            )
        try:
            command(state, **options)
        except (StateError, OSError) as error:
            raise click.ClickException(str(error)) from None

    return run


@click.group(short_help="Look at the mesh's roots of trust, and rotate them.")
def ca() -> None:
    """Look at the mesh's roots of trust, and rotate them."""


@ca.command(short_help="Say which root signs, what a rotation waits for, and what is due.")
@_STATE
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@_in_one_line
def status(state: Path, output: str) -> None:
    """Say which root signs, what a rotation waits for, when certificates end, and what is due."""
    picture = _look(state)
    if output == "json":
        click.echo(json.dumps(ca_report.as_data(picture), indent=2))
        return
    for label, text in ca_report.as_lines(picture):
        shown = click.style(text, fg="yellow") if label == "warning" else text
        click.echo(f"{label:<14} {shown}")


@ca.command(short_help="Replace the root by a new one, without a failed request.")
@_STATE
@click.option("--watch", is_flag=True, help="Show progress, and end when the old root is gone.")
@click.option(
    "--root-key-out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the key of the new root in FILE only, of the control plane's machine; keep it offline.",
)
@_in_one_line
def rotate(state: Path, *, watch: bool, root_key_out: Path | None) -> None:
    """Replace the root by a new one, without a failed request.

    The control plane does it, step by step: all proxies trust the new root, then get certificates of it, and when
    nobody needs the old one any more, it goes.
    """
    stored = read_inventory(state)
    under_way = _under_way(stored)
    if under_way is None:
        if stored.roots[-1].life.offline and root_key_out is None:
            raise click.ClickException(
                "the key of the present root is offline: say with --root-key-out FILE where that of the new one goes"
            )
        request_rotation(state, now(), None if root_key_out is None else root_key_out.absolute())
        later = "" if is_served(state) else "; no control plane is running: it begins when tulle serve does"
        click.echo(f"rotation of the root {stored.record.root} requested{later}")
    elif not watch:
        raise click.ClickException(f"{under_way}: see tulle ca status, or follow it with tulle ca rotate --watch")
    elif root_key_out is not None:
        raise click.ClickException(f"{under_way}, and the key of its new root goes where it was said at first")
    else:
        click.echo(f"{under_way}; this shows how it goes on")
    if watch:
        _watch(state, stored.record.root)


@ca.command(short_help="Show the roots and intermediates in full.")
@_STATE
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "pem"]),
    default="text",
    show_default=True,
    help="pem: the roots alone, for whoever is to trust this mesh.",
)
@_in_one_line
def inspect(state: Path, output: str) -> None:
    """Show the roots and intermediates in full; never a key."""
    stored = read_inventory(state)
    if output == "json":
        click.echo(json.dumps(ca_inspect.as_data(stored), indent=2))
    elif output == "pem":
        click.echo(ca_inspect.as_pem(stored), nl=False)
    else:
        click.echo("\n".join(ca_inspect.as_text(stored)))


@ca.command(short_help="Move the root's key out of the state directory.")
@_STATE
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_in_one_line
def export_root_key(state: Path, file: Path) -> None:
    """Move the root's key into FILE, to be kept offline. The control plane must not be running.

    It goes on with the intermediate, which FILE is needed to renew once a year: tulle ca renew-intermediate.
    """
    root = SigningCertificate(read_inventory(state).roots[0].certificate)
    with load_or_create(state, root.trust_domain, now()) as opened:
        opened.export_root_key(file.absolute())
    click.echo(f"the key of the root {root.id} is in {file} and nowhere else: keep it safe, and off this machine")


@ca.command("renew-intermediate", short_help="Make a new intermediate with an offline root key.")
@_STATE
@click.option(
    "--root-key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The root's key.",
)
@_in_one_line
def renew(state: Path, root_key: Path) -> None:
    """Make a new intermediate with the key of an offline root. A running control plane takes it up by itself."""
    path = renew_intermediate(state, root_key, now())
    click.echo(f"{path} is a new intermediate; put {root_key} back to where it is safe")


def _look(state: Path) -> ca_report.Picture:
    # First what is reported: it is never ahead of what is stored.
    reported = read_status(state)
    return ca_report.Picture(read_inventory(state), is_served(state), reported, now())


def _under_way(stored: Inventory) -> str | None:
    """What there is already of a rotation."""
    record = stored.record
    if record.phase is not Phase.STABLE:
        return f"a rotation is under way already ({record.phase} since {ca_report.moment(record.since)})"
    if stored.request is not None:
        return f"a rotation is requested already, since {ca_report.moment(stored.request.requested_at)}"
    return None


def _watch(state: Path, old_root: str) -> None:
    try:
        watch_rotation(lambda: _look(state), old_root)
    except KeyboardInterrupt:
        click.echo("the rotation goes on without being watched: tulle ca status tells how far it is", err=True)
        sys.exit(_INTERRUPTED)
