"""A control plane's rotation without a network: a real state directory, a real store, and proxies that answer only
when a test says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ca.identity import TrustDomain
from ca.rotation_request import request_rotation
from ca.state import CaState, load_or_create
from deploy.acknowledgements import Acknowledgements
from deploy.identities import Identities
from deploy.join_directories import JoinDirectories
from deploy.rotation import Followers, Rotation
from deploy.trust import Trust
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls
from protos.envoy.service.discovery import v3_pb2 as discovery
from tests.unit.deploy.conftest import Scene
from xds.delta import DeltaStream
from xds.resource import TypeUrl
from xds.status import ProxyRegister, ProxyStatus
from xds.stream import Ack
from xds.view import Change


class Proxy:
    """An Envoy as the control plane sees it. It holds what it has acknowledged."""

    def __init__(self, plane: Plane, name: str) -> None:
        self.name = name
        self.holds: dict[str, tls.Secret] = {}
        self._plane = plane
        world = plane.scene.store.record(name)
        self.status = ProxyStatus(name, DeltaStream(world), world, time.time(), "", "envoy", name)

    async def connect(self, *secrets: str) -> None:
        """Connect, and ask for clusters, listeners and these secrets; nothing is answered yet."""
        await self._plane.rotation.on_connect(self.name)
        self._plane.scene.store.attach(self.name, self)
        self._plane.proxies.add(self.status)
        for type_url, names in ((TypeUrl.CLUSTER, ()), (TypeUrl.LISTENER, ()), (TypeUrl.SECRET, secrets)):
            if names or type_url is not TypeUrl.SECRET:
                self._send(type_url=type_url, resource_names_subscribe=names)

    async def disconnect(self) -> None:
        self._plane.scene.store.detach(self.name, self)
        self._plane.proxies.remove(self.status)
        await self._plane.rotation.on_disconnect(self.name)

    def answer(self, *, reject: bool = False) -> None:
        """Acknowledge, or reject, all that there is to answer."""
        for response in self.status.stream.poll(time.monotonic()):
            message = discovery.DeltaDiscoveryResponse.FromString(response.encode())
            error = {"error_detail": {"code": 13, "message": "no"}} if reject else {}
            if response.type_url == TypeUrl.SECRET and not reject:
                for each in message.resources:
                    self.holds[each.name] = tls.Secret.FromString(each.resource.value)
            self._send(type_url=response.type_url, response_nonce=response.nonce, **error)

    def _send(self, **fields: Any) -> None:
        request = discovery.DeltaDiscoveryRequest(**fields)
        answer = self.status.stream.receive(request, time.monotonic())
        if isinstance(answer, Ack):
            self.status.answers_of(answer.type_url).acks += 1
            self._plane.rotation.on_ack(self.name)

    # the store's Sink
    def offer(self, changes: Sequence[Change]) -> None:
        self.status.stream.offer(changes, time.monotonic())

    def revoke(self, reason: str) -> None:
        raise AssertionError(reason)


@dataclass
class Plane:
    """What `ControlPlane` puts together, as far as rotation needs it."""

    folder: Path
    scene: Scene
    state: CaState
    trust: Trust
    identities: Identities
    seen: Acknowledgements
    rotation: Rotation
    proxies: ProxyRegister
    connected: list[Proxy] = field(default_factory=list)

    async def proxy(self, name: str, *secrets: str) -> Proxy:
        """A proxy that is connected and has acknowledged all that it was given."""
        proxy = Proxy(self, name)
        self.connected.append(proxy)
        await proxy.connect(*(secrets or ("identity", "trust")))
        proxy.answer()
        return proxy

    def request(self) -> None:
        request_rotation(self.folder, datetime.now(UTC))


@asynccontextmanager
async def running_plane(folder: Path, scene: Scene) -> AsyncIterator[Plane]:
    """A plane whose rotation runs. `folder` may be one that was left in the middle of something."""
    with load_or_create(folder, TrustDomain("cluster.local"), datetime.now(UTC)) as state:
        trust = Trust(state, scene.store, lambda: scene.live.mesh.federation)
        trust.push()
        identities = Identities(state, scene.store, lambda: scene.live.mesh)
        proxies = ProxyRegister()
        seen = Acknowledgements(state, identities, trust, proxies.all_of)
        joins = JoinDirectories(folder, state)
        joins.update(scene.live.mesh.proxies)
        rotation = Rotation(state, folder, lambda: scene.live.mesh, Followers(joins, trust, identities), seen)
        plane = Plane(folder, scene, state, trust, identities, seen, rotation, proxies)
        work = [asyncio.create_task(identities.run()), asyncio.create_task(rotation.run())]
        try:
            yield plane
            assert not any(task.done() for task in work)
        finally:
            for task in work:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def until(condition: Callable[[], object], about: str = "it") -> None:
    """Wait for a condition, at most 10 s."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
