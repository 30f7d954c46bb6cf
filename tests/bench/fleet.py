"""The process of simulated proxies."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryResponse
from tests.bench import meshes
from tests.bench.credentials import Credentials
from tests.bench.crowd import Crowd, Marks
from tests.bench.processes import Served
from tests.bench.simulated_proxy import SimulatedProxy

_log = logging.getLogger(__name__)
Payload = dict[str, bytes]
"""By type, in the order of arrival: encoded resources and removals, as they stand in a response."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the fleet has got so far: responses, bytes, and failed streams by reason."""

    responses: int
    bytes: int
    failures: dict[str, int]


class Fleet(Served):
    """``first`` is the number of the first proxy: proxy ``i`` is the workload ``client-i``."""

    def __init__(self, credentials: Credentials, first: int = 0) -> None:
        self._credentials = credentials
        self._first = first
        self._proxies: list[SimulatedProxy] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        self._crowd = Crowd(self._credentials)
        self._crowd.log = []

    async def connect(self, port: int, count: int, at_once: int) -> float:
        """Connect more proxies, so many at once, until each has all it asks for. Gives the time of the last."""
        done = 0.0
        for start in range(0, count, at_once):
            begin = len(self._proxies)
            indices = range(begin, begin + min(at_once, count - start))
            complete = self._crowd.expect_completion(indices)
            for index in indices:
                node_id = f"{meshes.NAMESPACE}/{meshes.client_name(self._first + index)}"
                self._proxies.append(SimulatedProxy(self._crowd, index, node_id))
                self._run(self._proxies[index], port)
            done = await complete
        return done

    async def disconnect(self) -> None:
        """End all connections; what they held is remembered for ``reconnect``."""
        self._crowd.warm = self._proxies[0].subscription(self._crowd.versions)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def reconnect(self, port: int) -> float:
        """All at once, with versions. Gives the time at which the last has what it had not."""
        complete = self._crowd.expect_completion(range(len(self._proxies)))
        for proxy in self._proxies:
            self._run(proxy, port)
        return await complete

    def _run(self, proxy: SimulatedProxy, port: int) -> None:
        task = asyncio.create_task(proxy.run(f"127.0.0.1:{port}"))
        task.add_done_callback(_tell_failure)
        self._tasks.append(task)

    async def expect(self, types: tuple[str, ...]) -> float:
        """The time at which every proxy has acknowledged a response of each of these types, counted from now."""
        return await self._crowd.expect(types, range(len(self._proxies)))

    async def counts(self) -> Counts:
        return Counts(self._crowd.responses, self._crowd.bytes, dict(self._crowd.failures))

    async def record(self) -> None:
        """Keep what the first proxy gets from now on."""
        self._crowd.log = []

    async def recorded(self) -> Payload:
        """What the first proxy got that it had not, since ``record`` or the beginning, joined by type."""
        log, self._crowd.log = self._crowd.log or [], None
        joined: dict[str, DeltaDiscoveryResponse] = {}
        for response in log:
            content = joined.setdefault(response.type_url, DeltaDiscoveryResponse())
            content.resources.extend(response.resources)
            content.removed_resources.extend(response.removed_resources)
        return {type_url: each.SerializeToString() for type_url, each in joined.items() if each.ByteSize()}

    async def mark(self, changes: int, services: int) -> None:
        """Begin to watch for numbered changes (see ``Marks``)."""
        self._crowd.marks = Marks(changes, services, len(self._proxies))

    async def marked(self) -> tuple[list[int], list[float]]:
        """By change: how many proxies have not got it yet, and when the last one that has got it did."""
        marks = self._crowd.marks
        assert marks is not None
        return marks.missing, marks.last


def _tell_failure(task: asyncio.Task[None]) -> None:
    """A proxy stays connected until it is cancelled: whatever else ends it is a mistake in here."""
    if not task.cancelled():
        _log.error("a simulated proxy has ended", exc_info=task.exception())
