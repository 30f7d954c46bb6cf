"""What a person sees of the demo: one line per finished step, a spinner meanwhile, and a table at the end.

Without a terminal there are the lines and the table only; NO_COLOR is obeyed.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from deploy.demo.scenario import Fact


class Screen:
    """Tells what happens, to `console`, and remembers the facts."""

    def __init__(self, console: Console) -> None:
        self.console = console
        unicode = console.encoding.lower().startswith("utf")
        good, bad = ("✔", "✘") if unicode else ("ok", "WRONG")
        self._marks = {True: f"[green]{good}[/green]", False: f"[bold red]{bad}[/bold red]"}
        self._steps: list[StepLine] = []

    @property
    def facts(self) -> list[Fact]:
        """All facts so far."""
        return [fact for step in self._steps for fact in step.facts]

    @asynccontextmanager
    async def step(self, title: str) -> AsyncIterator[StepLine]:
        """Show that `title` is being done; when the block ends well, a line that says so."""
        line = StepLine(title)
        self._steps.append(line)
        start = time.monotonic()
        if self.console.is_terminal:
            line.status = Status(escape(title), console=self.console)
            with line.status:
                yield line
        else:
            yield line
        seconds = time.monotonic() - start
        brief = ", ".join(fact.brief for fact in line.facts if fact.brief)
        details = f": {escape(brief)}" if brief else ""
        self.console.print(
            f"{self._marks[line.holds]} {escape(title)}{details} [dim]({seconds:.1f} s)[/dim]", soft_wrap=True
        )
        for fact in line.facts:
            if not fact.holds:
                self.say(f"    {fact.claim}: expected {fact.expected}, found {fact.found}")

    def say(self, text: str) -> None:
        """A line of plain text, never broken: it may hold a command to copy."""
        self.console.print(escape(text), soft_wrap=True)

    def table(self) -> None:
        """Every fact, in a table."""
        table = Table("", title="The bookstore on real Envoys", title_justify="left")
        for heading in ("claim", "expected", "found"):
            table.add_column(heading, overflow="fold")
        for step in self._steps:
            if step.facts:
                table.add_row("", f"[bold]{escape(step.title)}[/bold]")
            for fact in step.facts:
                table.add_row(self._marks[fact.holds], escape(fact.claim), escape(fact.expected), escape(fact.found))
            table.add_section()
        self.console.print()
        self.console.print(table)


class StepLine:
    """A step under way, and the facts that it has shown."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.facts: list[Fact] = []
        self.status: Status | None = None

    @property
    def holds(self) -> bool:
        return all(fact.holds for fact in self.facts)

    def progress(self, text: str) -> None:
        """Show how far it is, where there is a terminal."""
        if self.status is not None:
            self.status.update(f"{escape(self.title)} [dim]{escape(text)}[/dim]")

    def fact(self, fact: Fact) -> None:
        """Add a fact to this step."""
        self.facts.append(fact)
        self.progress(f"{fact.claim}: {fact.found}")
