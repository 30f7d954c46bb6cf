"""Changes pass at once while nothing is under way, and merge while something is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deploy.intake import Intake
from smi.codes import CODES
from smi.diagnostics import ObjectRef
from smi.files import FileChange
from smi.index import Delete
from xds.fanout import Fanout

FOUND = next(iter(CODES.values())).diagnostic("something")


def change(name: str, *diagnostics) -> FileChange:
    return FileChange((Delete(ObjectRef("Service", "shop", name)),), diagnostics)


class Taken:
    """What reached the mesh: the names of each change, and when."""

    def __init__(self) -> None:
        self.changes: list[FileChange] = []
        self.arrived = asyncio.Event()

    def __call__(self, taken: FileChange) -> None:
        self.changes.append(taken)
        self.arrived.set()

    @property
    def names(self) -> list[list[str]]:
        return [[event.ref.name for event in each.events] for each in self.changes]

    async def one_more(self) -> None:
        async with asyncio.timeout(10):
            await self.arrived.wait()
        self.arrived.clear()


@asynccontextmanager
async def running(fanout: Fanout, hold_off: float) -> AsyncIterator[tuple[Intake, Taken]]:
    taken = Taken()
    intake = Intake(taken, fanout, hold_off)
    task = asyncio.create_task(intake.run())
    try:
        yield intake, taken
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_an_isolated_change_passes_at_once() -> None:
    async with running(Fanout(60), 60) as (intake, taken):
        for name in "ab":
            intake.put(change(name))
            await taken.one_more()
    assert taken.names == [["a"], ["b"]]


async def test_changes_merge_until_the_fan_out_is_done() -> None:
    fanout = Fanout(60)
    async with running(fanout, 60) as (intake, taken):
        streams = [fanout.begin(), fanout.begin()]
        for name in "abc":
            intake.put(change(name, *([FOUND] if name == "b" else [])))
            await asyncio.sleep(0)
        fanout.end(streams[0])
        await asyncio.sleep(0.01)
        assert taken.names == []
        fanout.end(streams[1])
        await taken.one_more()
    assert taken.names == [["a", "b", "c"]]
    assert taken.changes[0].diagnostics == ()


async def test_a_stream_that_does_not_read_holds_nobody_up_for_long() -> None:
    fanout = Fanout(60)
    async with running(fanout, 0.05) as (intake, taken):
        fanout.begin()
        began = time.monotonic()
        intake.put(change("a"))
        await taken.one_more()
    assert taken.names == [["a"]]
    assert time.monotonic() - began >= 0.05


async def test_a_failure_to_take_a_change_is_loud() -> None:
    def fail(_: FileChange) -> None:
        raise RuntimeError("a bug")

    intake = Intake(fail, Fanout(), 0)
    intake.put(change("a"))
    with pytest.raises(RuntimeError, match="a bug"):
        await intake.run()
