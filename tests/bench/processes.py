"""Processes of the benchmark: each serves commands that come through a pipe, and ends when the pipe does.

In: an importable factory and its arguments. Out: a ``Child`` to call. The processes are spawned, never forked: gRPC
does not survive a fork. They share CLOCK_MONOTONIC with their parent, so times of one can be compared with another's.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

_LONGEST_CALL = 240.0
_GRACE = 5.0


class ChildError(Exception):
    """A process of the benchmark failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far: CPU seconds of all its threads, and bytes that are resident now."""

    cpu: float
    rss: int


class Served:
    """Base of what a child process serves: every public method is a command."""

    async def open(self) -> None:
        """Called once in the child's event loop, before the first command."""

    async def usage(self) -> Usage:
        return Usage(time.process_time(), _resident())

    async def tidy(self) -> None:
        """Collect garbage, so that what is resident is what is in use."""
        gc.collect()


class Child:
    """A spawned process; a context manager that always ends it."""

    def __init__(self, factory: Callable[..., Served], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(
            target=_main, args=(other, factory, arguments), name=factory.__name__, daemon=True
        )
        self._process.start()
        other.close()
        self._numbers = itertools.count()
        self._replies: dict[int, tuple[bool, Any]] = {}

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def post(self, command: str, *arguments: Any) -> int:
        """Begin a command; gives the number to ``wait`` for."""
        number = next(self._numbers)
        self._connection.send((number, command, arguments))
        return number

    def wait(self, number: int, timeout: float = _LONGEST_CALL) -> Any:
        """The result of a command. Raises ChildError when it failed, or took longer than ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while number not in self._replies:
            if not self._connection.poll(max(0.0, end - time.monotonic())):
                raise ChildError(f"{self._process.name} has not answered for {timeout:.0f} s")
            try:
                replied, good, value = self._connection.recv()
            except (EOFError, ConnectionResetError):
                raise ChildError(f"{self._process.name} has ended") from None
            self._replies[replied] = (good, value)
        good, value = self._replies.pop(number)
        if not good:
            raise ChildError(f"{self._process.name}: {value}")
        return value

    def call(self, command: str, *arguments: Any, timeout: float = _LONGEST_CALL) -> Any:
        return self.wait(self.post(command, *arguments), timeout)

    def end(self) -> None:
        self._connection.close()
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_GRACE)

    def kill(self) -> None:
        """End it without any farewell, as a crash does."""
        self._process.kill()
        self.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def allow_many_files() -> None:
    """Raise the limit of open files as far as it goes: each proxy is a connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _main(connection: Connection, factory: Callable[..., Served], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C goes to all of a terminal's processes; the parent ends this one by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, level=os.environ.get("BENCH_LOG", "ERROR"))
    allow_many_files()
    asyncio.run(_serve(connection, factory(*arguments)))
    # Channels of thousands of clients take seconds to close, and there is nothing to lose.
    os._exit(0)


async def _serve(connection: Connection, served: Served) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    await served.open()

    async def run(number: int, command: str, arguments: tuple[Any, ...]) -> None:
        try:
            result = getattr(served, command)(*arguments)
            reply = (number, True, await result if inspect.isawaitable(result) else result)
        except Exception:  # noqa: BLE001  # whatever it is, the parent is to know
            reply = (number, False, traceback.format_exc())
        try:
            connection.send(reply)
        except OSError:
            over.set()

    def readable() -> None:
        try:
            while connection.poll():
                task = loop.create_task(run(*connection.recv()))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except (EOFError, OSError):
            loop.remove_reader(connection.fileno())
            over.set()

    loop.add_reader(connection.fileno(), readable)
    await over.wait()
    os._exit(0)


def _resident() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Rss in smaps_rollup")
