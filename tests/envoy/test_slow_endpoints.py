"""The endpoints of one cluster do not come for ten seconds: nothing else waits for them.

Envoy does not acknowledge clusters while any of them warms, and a cluster warms until its endpoints come. A server
that waits for that answer stands still for all of this time, with everything it has to send.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.ports import HeldPorts
from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryResponse, Resource
from smi.index import Delete, Upsert
from tests.bench.envoy_mesh import NAMESPACE, application, client, client_key, service, split
from tests.bench.envoy_plane import Plane, plane
from tests.bench.envoys import RunningEnvoy, envoys
from tests.envoy.http_wire import ask
from tests.envoy.running_mesh import accepts
from tests.envoy.timing import PROMPTLY, seconds_until
from xds.resource import TypeUrl
from xds.server import XdsServer

pytestmark = pytest.mark.envoy

WITHHELD_SECONDS = 10.0
SLOW = f"outbound/{NAMESPACE}/slow/80"
CLIENT = client_key(0)


@dataclass(eq=False)
class SlowWire:
    """The context of a stream, on which the endpoints of one cluster stay under way until they are released.

    The server cannot tell: it has written them, and gets no answer. All else passes.
    """

    context: Any
    kept: list[bytes] = field(default_factory=list)
    released: bool = False
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)

    async def write(self, data: bytes) -> None:
        response = DeltaDiscoveryResponse.FromString(data)
        slow = [each for each in response.resources if each.name == SLOW]
        if response.type_url != TypeUrl.ENDPOINT or not slow or self.released:
            await self._pass(data)
            return
        self.kept.append(_with(response, slow))
        others = [each for each in response.resources if each.name != SLOW]
        if others:
            await self._pass(_with(response, others))

    async def release(self) -> None:
        self.released = True
        for data in self.kept:
            await self._pass(data)

    async def _pass(self, data: bytes) -> None:
        async with self.writing:  # gRPC takes one message at a time
            await self.context.write(data)


def _with(response: DeltaDiscoveryResponse, resources: list[Resource]) -> bytes:
    """`response` with `resources` in place of its own."""
    made = DeltaDiscoveryResponse.FromString(response.SerializeToString())
    del made.resources[:]
    made.resources.extend(resources)
    return made.SerializeToString()


class ServerOnSlowWire(XdsServer):
    """The server as it is; only what its streams are written to differs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.wires: list[SlowWire] = []
        serve = self._streams.delta

        async def delta(context: Any) -> None:
            self.wires.append(SlowWire(context))
            await serve(self.wires[-1])

        self._streams.delta = delta  # type: ignore[method-assign]


@dataclass(frozen=True)
class Scene:
    """One client, and its ports: each of its addresses is known by a service's name."""

    plane: Plane
    envoy: RunningEnvoy
    ports: dict[str, int]

    @property
    def wire(self) -> SlowWire:
        assert isinstance(self.plane.server, ServerOnSlowWire)
        [wire] = self.plane.server.wires
        return wire

    def reached(self, *services: str) -> Upsert:
        """The client as one that reaches these services."""
        return Upsert(client(CLIENT, {name: self.ports[name] for name in services}))

    async def clusters(self, state: str) -> set[str]:
        """The names of the clusters that Envoy holds as `active` or `warming`."""
        dump = await asyncio.to_thread(self.envoy.admin, "/config_dump?resource=dynamic_" + state + "_clusters")
        return {each["cluster"]["name"] for each in json.loads(dump).get("configs", ())}

    async def promptly(self, condition: Callable[[], Any], what: str) -> None:
        assert await seconds_until(condition, what) < PROMPTLY, what

    async def answers(self, name: str, application: str) -> None:
        """The service `name` answers by `application` promptly."""

        async def answered() -> bool:
            if not await accepts(self.ports[name]):
                return False
            answer = await ask(self.ports[name])
            return (answer.status, answer.body) == (200, application.encode())

        await self.promptly(answered, f"{name} to answer by {application}")


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    with closing(HeldPorts()) as ports:
        applications = {name: ports.take() for name in ("a", "b")}
        local = {name: ports.take() for name in ("split", "moving", "gone", "slow", "new-0", "new-1")}
        objects = [
            *(application(name, port, {"app": name}) for name, port in applications.items()),
            *(service(f"backend-{name}", {"app": name}) for name in applications),
            service("split", {"app": "a"}),
            split("split", [("backend-a", 1)]),
            service("moving", {"app": "a"}),
            service("gone", {"app": "a"}),
            client(CLIENT, {name: local[name] for name in ("split", "moving", "gone")}),
        ]
        state = tmp_path / "state"
        async with plane(state, objects, [CLIENT], ServerOnSlowWire) as running:
            with envoys(tmp_path, ports) as started:
                started.start_application({port: name for name, port in applications.items()})
                scene = Scene(running, started.start(CLIENT, state, running.port), local)
                await asyncio.to_thread(started.wait_ready)
                yield scene


async def test_nothing_waits_for_withheld_endpoints(scene: Scene) -> None:
    loop = asyncio.get_running_loop()
    running = scene.plane
    for name in ("split", "moving", "gone"):
        await scene.answers(name, "a")
    running.take([Upsert(service("slow", {"app": "a"})), scene.reached("split", "moving", "gone", "slow")])

    async def warming() -> bool:
        return await scene.clusters("warming") == {SLOW}

    await scene.promptly(warming, "the slow cluster to warm")
    assert scene.wire.kept
    begin = loop.time()

    # A cluster takes another one's place in the routes, and that one goes.
    running.take([Upsert(split("split", [("backend-b", 1)]))])
    await scene.answers("split", "b")

    async def replaced() -> bool:
        return not {f"outbound/{NAMESPACE}/backend-a/80"} & await scene.clusters("active")

    await scene.promptly(replaced, "the replaced cluster to go")

    # A service goes, with its listener.
    running.take([Delete(service("gone", {}).ref), scene.reached("split", "moving", "slow")])

    async def refused() -> bool:
        return not await accepts(scene.ports["gone"])

    await scene.promptly(refused, "the listener of a removed service to go")

    # Services come, each with a cluster, endpoints, routes and a listener, and endpoints move, for all of the time.
    turn = 0
    while loop.time() < begin + WITHHELD_SECONDS:
        turn += 1
        here, there = ("a", "b") if turn % 2 else ("b", "a")
        new = f"new-{turn % 2}"
        running.take([Upsert(service(new, {"app": here})), scene.reached("split", "moving", "slow", new)])
        await scene.answers(new, here)
        running.take([Upsert(service("moving", {"app": here}))])
        await scene.answers("moving", here)
        running.take([Upsert(split("split", [(f"backend-{there}", 1)]))])
        await scene.answers("split", there)
        await asyncio.sleep(0.2)

    # All of it happened while Envoy acknowledged no cluster.
    assert await warming()
    assert (await ask(scene.ports["slow"])).status == 503
    assert running.synced() == 0
    await scene.wire.release()
    await scene.answers("slow", "a")

    async def synced() -> bool:
        return running.synced() == 1

    await scene.promptly(synced, "Envoy to acknowledge everything")
    assert running.rejections() == 0
