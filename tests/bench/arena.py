"""Two servers side by side, each with a fleet of its own: the control plane under test, and the floor.

Both fleets are alike, and see the same mesh; the floor's server writes what the other fleet was seen to get. Rounds of
the two alternate, so that what disturbs the machine disturbs both.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from smi.index import ObjectEvent
from tests.bench.control_plane import ControlPlane
from tests.bench.credentials import Credentials, make_credentials
from tests.bench.fleet import Fleet, Payload
from tests.bench.floor_server import FloorServer
from tests.bench.processes import Child, ChildError, Usage
from tests.bench.records import say

_PATIENCE = 10.0
_QUIET = 0.05
PROFILES: list[Path] = []
"""Where profiles of the control planes under test go (option ``--profile``); empty for none."""


@dataclass(frozen=True, slots=True)
class Push:
    """How long a push took, from the event until the last proxy had acknowledged it, in seconds."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Side:
    """A server and its fleet."""

    server: Child
    fleet: Child
    port: int

    def connect(self, count: int, at_once: int = 20) -> float:
        """Connect more proxies. Gives the seconds until the last has everything."""
        begin = time.monotonic()
        return float(self.fleet.call("connect", self.port, count, at_once)) - begin

    def push(self, change: Sequence[ObjectEvent] | Payload, types: Sequence[str]) -> Push:
        """Push one change, and wait until every proxy has acknowledged a response of each of these types."""
        arrival = self.fleet.post("expect", tuple(types))
        self.fleet.call("counts")  # it has begun to wait
        begin = self.server.call("push", change)
        return Push(begin, self.fleet.wait(arrival))

    def quiet(self) -> None:
        """Wait until nothing arrives any more."""
        before = None
        while (counts := self.fleet.call("counts")) != before:
            before = counts
            time.sleep(_QUIET)

    def usage(self) -> Usage:
        usage: Usage = self.server.call("usage")
        return usage


@dataclass(frozen=True, slots=True)
class Arena:
    """See the module. ``initial`` is what the first proxy of the control plane got when it connected."""

    ours: Side
    floor: Side
    initial: Payload

    def record(self, events: Sequence[ObjectEvent]) -> Payload:
        """Push a change on our side; gives what changed for a proxy. Raises ChildError when nothing did."""
        self.ours.fleet.call("record")
        before = self.ours.fleet.call("counts")
        self.ours.server.call("push", events)
        end = time.monotonic() + _PATIENCE
        while self.ours.fleet.call("counts") == before and time.monotonic() < end:
            time.sleep(_QUIET)
        self.ours.quiet()
        payload: Payload = self.ours.fleet.call("recorded")
        if not payload:
            raise ChildError("a change was pushed, and nothing was sent")
        return payload


@contextmanager
def state_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tulle-bench-") as directory:
        yield Path(directory) / "state"


@contextmanager
def arena(proxies: int, start: Callable[[Child], int], *, most_at_once: int = 20) -> Iterator[Arena]:
    """Start all four processes, and connect the proxies; the first one alone, so that it can tell what it got."""
    credentials = make_credentials()
    with ExitStack() as stack:
        state = stack.enter_context(state_directory())
        ours = begin_ours(stack, credentials, state, start)
        ours.connect(1)
        initial: Payload = ours.fleet.call("recorded")
        floor = begin_floor(stack, credentials, initial)
        ours.connect(proxies - 1, most_at_once)
        floor.connect(proxies, most_at_once)
        stack.enter_context(profile(ours.server))
        yield Arena(ours, floor, initial)


def begin_ours(stack: ExitStack, credentials: Credentials, state: Path, start: Callable[[Child], int]) -> Side:
    server = stack.enter_context(Child(ControlPlane, credentials, state))
    fleet = stack.enter_context(Child(Fleet, credentials))
    port = start(server)
    say(f"the control plane under test is process {server.pid}")
    return Side(server, fleet, port)


def begin_floor(stack: ExitStack, credentials: Credentials, initial: Payload) -> Side:
    server = stack.enter_context(Child(FloorServer, credentials))
    fleet = stack.enter_context(Child(Fleet, credentials))
    return Side(server, fleet, server.call("start", initial))


@contextmanager
def profile(server: Child) -> Iterator[None]:
    """Profile a control plane from now on, if that is wanted."""
    if not PROFILES:
        yield
        return
    tool = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if tool is None:
        raise ChildError("there is no py-spy: pip install py-spy")
    output = PROFILES[0] / f"control-plane-{server.pid}.raw"
    command = [tool, "record", "--pid", str(server.pid), "--format", "raw", "--rate", "250", "--output", str(output)]
    profiler = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        profiler.send_signal(signal.SIGINT)
        profiler.wait(20)
        say(f"profile: {output}")
