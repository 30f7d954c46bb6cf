"""Follows a rotation for a person: live on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ca.rotation import Phase
from deploy.cli.ca_report import Picture, wait_text

_LOOK_EVERY = 0.2
_STEPS = {
    Phase.STABLE: "make a new root, and trust it beside the old one",
    Phase.PREPARED: "every proxy trusts the new root",
    Phase.ACTIVATED: "every proxy has a certificate of the new root",
}
_ORDER = tuple(_STEPS)


def watch(look: Callable[[], Picture], old_root: str) -> None:
    """Return when `old_root` is gone. `look` reads the state anew."""
    pictures = _until_gone(look, old_root)
    if Console().is_terminal:
        _live(pictures, old_root)
    else:
        _lines(pictures, old_root)


def _until_gone(look: Callable[[], Picture], old_root: str) -> Iterator[Picture]:
    """What is seen, the last one without `old_root`."""
    while True:
        picture = look()
        yield picture
        if old_root not in picture.stored.record.roots:
            return
        time.sleep(_LOOK_EVERY)


def _lines(pictures: Iterator[Picture], old_root: str) -> None:
    last = ""
    for picture in pictures:
        line = _line(picture, old_root)
        if line != last:
            click.echo(line)
            last = line


def _line(picture: Picture, old_root: str) -> str:
    record, progress = picture.stored.record, picture.progress
    if old_root not in record.roots:
        return f"done: the old root {old_root} is gone, and {record.issuing} signs"
    if not picture.served:
        return f"{record.phase}: waiting for a control plane; start tulle serve"
    if record.phase is Phase.STABLE:
        return "stable: waiting for the control plane to begin" + _problem(picture)
    if progress is None:
        return f"{record.phase}: {_STEPS[record.phase]}"
    return f"{record.phase}: {_counted(picture)}{_missing(picture)}{_problem(picture)}"


def _counted(picture: Picture) -> str:
    progress = picture.progress
    if progress is None:
        return ""
    if progress.phase is Phase.ACTIVATED:
        return f"{progress.moved} of {progress.connected} connected proxies have a certificate of the new root"
    return f"{progress.trusting} of {progress.connected} connected proxies trust the new root"


def _missing(picture: Picture) -> str:
    if picture.progress is None or not picture.progress.waits:
        return ""
    # Without the time that is left, which would make every line another one.
    return "; waiting for " + "; ".join(str(wait) for wait in picture.progress.waits)


def _problem(picture: Picture) -> str:
    progress = picture.progress
    return f"; stuck: {progress.problem}" if progress is not None and progress.problem else ""


def _live(pictures: Iterator[Picture], old_root: str) -> None:
    with Live(refresh_per_second=10, transient=False) as live:
        for picture in pictures:
            live.update(_screen(picture, old_root))


def _screen(picture: Picture, old_root: str) -> Group:
    record = picture.stored.record
    gone = old_root not in record.roots
    present = len(_ORDER) if gone else _ORDER.index(record.phase)
    table = Table.grid(padding=(0, 1))
    for place, text in enumerate((*_STEPS.values(), "the old root is gone")):
        done = place < present or gone
        mark = Text("✓", "green") if done else Text("▸" if place == present else "·", "yellow")
        table.add_row(mark, Text(text, "bold" if place == present and not gone else ""), _bar(picture, done, place))
    notes = [] if gone else _notes(picture)
    return Group(table, *(Text(f"  {note}", "dim") for note in notes))


def _bar(picture: Picture, done: bool, place: int) -> ProgressBar | Text:
    progress = picture.progress
    if done or progress is None or place != _ORDER.index(progress.phase) or progress.phase is Phase.STABLE:
        return Text("")
    count = progress.moved if progress.phase is Phase.ACTIVATED else progress.trusting
    return ProgressBar(total=max(1, progress.connected), completed=count, width=30)


def _notes(picture: Picture) -> list[str]:
    if not picture.served:
        return ["no control plane is running: start tulle serve, and it goes on"]
    progress = picture.progress
    if progress is None:
        return ["waiting for the control plane"]
    if progress.problem:
        return [f"stuck: {progress.problem}"]
    if progress.phase is Phase.STABLE:
        return ["waiting for the control plane to begin"]
    return [_counted(picture), *(f"waiting for {wait_text(wait, picture.now)}" for wait in progress.waits)]
