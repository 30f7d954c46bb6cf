"""Runs the demo: start, scenario, table, and a clean end."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.bookstore_mesh import OBJECTS, WORKLOADS, BookstoreMesh, open_bookstore
from deploy.demo.errors import DemoError
from deploy.demo.invitation import invitation
from deploy.demo.scenario import STEPS
from deploy.demo.screen import Screen


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`work_dir` is an empty directory for everything that the demo writes; `objects` are what it plays with."""

    work_dir: Path
    keep: bool = False
    transparent: bool = False
    envoy: Path | None = None
    objects: Path = OBJECTS


class Demo:
    """One run of the demo."""

    def __init__(self, options: DemoOptions, screen: Screen) -> None:
        self._options = options
        self._screen = screen
        self._ended_by: signal.Signals | None = None
        self._code: int | None = None

    def run(self) -> int:
        """Blocks; call it from the main thread. Returns the exit code: 0 when every fact held, 1 when one did not or
        the demo could not run, 128 + n when signal n came before that was known.
        """
        try:
            return asyncio.run(self._until_signal())
        except asyncio.CancelledError:
            if self._ended_by is None:
                raise
            self._screen.say("stopped; everything is cleaned up")
            return 128 + self._ended_by if self._code is None else self._code
        except DemoError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1

    async def _until_signal(self) -> int:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def end(number: signal.Signals) -> None:
            # Only once: a second Ctrl-C must not interrupt the cleaning up, which takes seconds at most.
            if self._ended_by is None and task is not None:
                self._ended_by = number
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end, number)
        return await self._play()

    async def _play(self) -> int:
        screen, options = self._screen, self._options
        where = "each workload in a network namespace of its own" if options.transparent else "all on 127.0.0.1"
        screen.say(f"The bookstore, {where}. Objects, keys, and logs are in {options.work_dir} until it ends.")
        async with AsyncExitStack() as stack:
            async with screen.step("the control plane: tulle serve"):
                opening = open_bookstore(
                    options.work_dir, transparent=options.transparent, envoy=options.envoy, objects=options.objects
                )
                store = await stack.enter_async_context(opening)
            async with screen.step(f"{len(WORKLOADS)} sidecars: tulle sidecar") as line:
                await store.start_sidecars(lambda name: line.progress(f"{name} is ready"))
            async with screen.step(f"{len(WORKLOADS)} applications"):
                await store.start_applications()
            self._code = await self._scenario(store)
            if options.keep:
                for text in invitation(store, transparent=options.transparent):
                    screen.say(text)
                await asyncio.get_running_loop().create_future()  # until a signal
        return self._code

    async def _scenario(self, store: BookstoreMesh) -> int:
        """Plays the steps up to the first fact that does not hold, and says what became of it."""
        for step in STEPS:
            async with self._screen.step(step.title) as line:
                async for fact in step.play(store):
                    line.fact(fact)
                    if not fact.holds:
                        break
            if not line.holds:
                break
        self._screen.table()
        facts = self._screen.facts
        if all(fact.holds for fact in facts):
            self._screen.say(f"all {len(facts)} facts held")
            return 0
        self._screen.say(f"fact {len(facts)} did not hold; the rest was not tried")
        for finding in (await store.mesh.debug("/debug/mesh"))["diagnostics"]:
            if finding["severity"] != "info":
                what = f"{finding['severity']} {finding['code']}: {finding['message']}"
                self._screen.say(f"the control plane says: {what}")
        store.mesh.processes.require_running()
        return 1
