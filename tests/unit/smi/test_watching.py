"""The file source while it watches: quick, patient with writers, and not to be lost."""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import asynccontextmanager

import pytest

from smi.files import FileSource
from smi.index import MeshIndex

PATIENCE = 10
"""Seconds after which a condition that does not come true fails the test."""


def account(name):
    return f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}}}\n"


class Watched:
    def __init__(self, root):
        self.root = root
        self.source = FileSource(root)
        self.index = MeshIndex()
        self.stop = asyncio.Event()
        self.seen = asyncio.Event()
        self.index.apply(self.source.load().events)

    async def run(self):
        async for change in self.source.watch(self.stop):
            self.index.apply(change.events)
            self.seen.set()

    async def until(self, condition):
        """Wait for `condition`; gives the seconds that it took."""
        started = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.seen.clear()
                await self.seen.wait()
        return time.monotonic() - started

    def names(self):
        return [name for _, name in self.index.snapshot().service_accounts]


@asynccontextmanager
async def watching(root):
    watched = Watched(root)
    task = asyncio.create_task(watched.run())
    try:
        yield watched
    finally:
        watched.stop.set()
        async with asyncio.timeout(PATIENCE):
            await task


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mesh").mkdir()
    return tmp_path / "mesh"


async def test_edits_are_seen_quickly(root):
    async with watching(root) as watched:
        (root / "a.yaml").write_text(account("a0"))
        await watched.until(lambda: watched.names() == ["a0"])
        took = []
        for number in range(1, 6):
            (root / "a.yaml").write_text(account(f"a{number}"))
            took.append(await watched.until(lambda number=number: watched.names() == [f"a{number}"]))
        assert min(took) < 0.2


async def test_what_changed_before_watching_began_is_seen(root):
    watched = Watched(root)
    (root / "a.yaml").write_text(account("a"))
    task = asyncio.create_task(watched.run())
    await watched.until(lambda: watched.names() == ["a"])
    watched.stop.set()
    await task


async def test_a_writer_in_the_middle_of_a_file_is_waited_for(root):
    """The notices begin with the empty file, and yet no object disappears."""
    (root / "a.yaml").write_text(account("a") + "---\n" + account("b"))
    async with watching(root) as watched:
        changes = []
        original = watched.index.apply
        watched.index.apply = lambda events: (changes.extend(events), original(events))
        with (root / "a.yaml").open("w") as stream:  # now it is empty
            for piece in (account("a"), "---\n", account("b"), "---\n", account("c")):
                stream.write(piece)
                stream.flush()
        await watched.until(lambda: watched.names() == ["a", "b", "c"])
        assert [event.ref.name for event in changes] == ["c"]


async def test_the_directory_may_be_replaced(root):
    (root / "a.yaml").write_text(account("a"))
    async with watching(root) as watched:
        shutil.rmtree(root)
        await watched.until(lambda: watched.source.diagnostics)
        assert watched.names() == ["a"]
        new = root.with_name("new")
        new.mkdir()
        (new / "b.yaml").write_text(account("b"))
        new.rename(root)
        await watched.until(lambda: watched.names() == ["b"] and not watched.source.diagnostics)
        (root / "b.yaml").write_text(account("c"))
        await watched.until(lambda: watched.names() == ["c"])


async def test_a_directory_may_appear_later(tmp_path):
    async with watching(tmp_path / "later") as watched:
        (tmp_path / "later").mkdir()
        (tmp_path / "later" / "a.yaml").write_text(account("a"))
        await watched.until(lambda: watched.names() == ["a"])


async def test_a_link_that_leads_elsewhere_is_followed(root, tmp_path):
    (tmp_path / "elsewhere.yaml").write_text(account("a"))
    (root / "a.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    async with watching(root) as watched:
        (tmp_path / "elsewhere.yaml").write_text(account("b"))
        await watched.until(lambda: watched.names() == ["b"])


async def test_a_broken_edit_is_told_and_the_next_good_one_taken(root):
    (root / "a.yaml").write_text(account("a"))
    async with watching(root) as watched:
        (root / "a.yaml").write_text("kind: [")
        await watched.until(lambda: watched.source.diagnostics)
        assert watched.names() == ["a"]
        (root / "a.yaml").write_text(account("b"))
        await watched.until(lambda: watched.names() == ["b"])
        assert watched.source.diagnostics == ()


async def test_cancelling_the_watch_does_not_set_the_stop_event_of_others(root):
    watched = Watched(root)
    task = asyncio.create_task(watched.run())
    (root / "a.yaml").write_text(account("a"))
    await watched.until(lambda: watched.names() == ["a"])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not watched.stop.is_set()
