"""Whether a change is still on its way out, as the server tells it."""

from __future__ import annotations

import asyncio
import time

from tests.server.plane import Plane, cluster, until
from xds.fanout import LONGEST, Fanout


async def test_a_change_is_under_way_until_it_is_written(plane: Plane) -> None:
    fanout = plane.server.fanout
    async with plane.connected() as client:
        assert not fanout.busy
        plane.put(cluster("a", "2"))
        assert fanout.busy
        assert await fanout.idle(5)
        assert not fanout.busy
        await client.receive()
        plane.put(cluster("a", "3"))
        plane.put(cluster("a", "4"))
        assert await fanout.idle(5)
        assert len((await client.receive()).resources) == 1


async def test_nobody_concerned_is_nothing_under_way(plane: Plane) -> None:
    plane.put(cluster("a", "2"))
    assert not plane.server.fanout.busy
    assert await plane.server.fanout.idle(0)


async def test_who_does_not_read_delays_changes_once_and_shortly(plane: Plane) -> None:
    fanout = plane.server.fanout
    async with plane.connected():
        plane.put(*(cluster(f"c{number}", "x" * 100_000) for number in range(150)))
        await until(lambda: plane.server._writes._due)
        await until(lambda: not fanout.busy)
        plane.put(cluster("a", "2"))
        assert not fanout.busy
    await until(lambda: not plane.server._streams.open)
    assert fanout._left == 0


async def test_who_waits_is_told_at_once() -> None:
    fanout = Fanout(longest=60)
    rounds = [fanout.begin(), fanout.begin()]
    waiting = asyncio.create_task(fanout.idle(60))
    fanout.end(rounds[0])
    await asyncio.sleep(0)
    assert not waiting.done()
    fanout.end(rounds[1])
    assert await waiting


async def test_waiting_is_bounded() -> None:
    fanout = Fanout(longest=60)
    fanout.begin()
    assert not await fanout.idle(0.01)


async def test_who_is_late_is_not_counted_any_more() -> None:
    fanout = Fanout(longest=0.01)
    late = fanout.begin()
    assert await fanout.idle(60)
    new = fanout.begin()
    fanout.end(late)
    assert fanout._left == 1
    fanout.end(new)
    assert not fanout.busy


async def test_changes_that_come_while_others_are_written_are_under_way_too(plane: Plane) -> None:
    """However long that goes on: a stream that is never at rest may look so once in a while, not all the time."""
    fanout = plane.server.fanout
    async with plane.connected():
        end, number, idle = time.monotonic() + 4 * LONGEST, 1, 0
        while time.monotonic() < end:
            number += 1
            plane.put(cluster("a", str(number)))
            idle += not fanout.busy
            await asyncio.sleep(0)
        assert idle < number / 3
