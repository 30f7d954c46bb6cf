"""A control plane wired as `tulle serve` wires it, but fed with object events in place of files.

`plane()` is one in this event loop; `PlaneProcess` is one in a process of its own, driven over a pipe: there the
clients that measure it do not share its core more than proxies would.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from ca.identity import TrustDomain
from ca.secrets import trust_secret
from ca.state import load_or_create
from ca.tokens import JoinTokens
from deploy.admission import TokenAuthenticator, authorizer
from deploy.clock import now
from deploy.configuration import TRUST_SCOPE, encoded
from deploy.garbage import settle_in
from deploy.identities import Identities
from deploy.intake import Intake
from deploy.join_directories import JoinDirectories
from deploy.live_mesh import LiveMesh
from deploy.server_certificate import ServerCertificate
from smi.files import FileChange
from smi.index import ObjectEvent, Upsert
from smi.model import WorkloadKey
from smi.objects import MeshObject
from xds.server import XdsServer
from xds.store import ScopeChange, Store

DOMAIN = TrustDomain("cluster.local")
_PATIENCE = 60.0
"""Seconds until a child that does not answer is given up."""


@dataclass(frozen=True, slots=True)
class Plane:
    """A control plane that runs; `port` is where its xDS is on loopback."""

    live: LiveMesh
    server: XdsServer
    intake: Intake
    port: int

    def take(self, events: Iterable[ObjectEvent]) -> None:
        self.intake.put(FileChange(tuple(events), ()))

    def synced(self) -> int:
        """How many proxies have acknowledged exactly what they should hold."""
        return sum(status.synced for status in self.server.proxies)

    def rejections(self) -> int:
        """How many responses the connected proxies have rejected."""
        return sum(answers.nacks for status in self.server.proxies for answers in status.answers.values())


@asynccontextmanager
async def plane(
    state_dir: Path,
    objects: Iterable[MeshObject],
    sidecars: Iterable[WorkloadKey],
    server: type[XdsServer] = XdsServer,
) -> AsyncIterator[Plane]:
    """Serve `objects` as the first sync. `state_dir` gets the authority, and join directories of `sidecars` alone:
    a mesh of ten thousand workloads is quickly made, and their directories are not.
    """
    store = Store()
    live = LiveMesh(store)
    live.take(FileChange(tuple(map(Upsert, objects)), ()))
    settle_in()
    with load_or_create(state_dir, DOMAIN, now()) as state:
        JoinDirectories(state_dir, state).update({key: live.mesh.proxies[key] for key in sidecars})
        store.apply([ScopeChange(TRUST_SCOPE, (encoded(trust_secret(state.authority(now()).bundle)),))])
        store.mark_ready()
        identities = Identities(state, store, lambda: live.mesh)
        serving = server(
            store,
            TokenAuthenticator(JoinTokens(state.join_token_key)),
            authorizer(lambda: live.mesh),
            ServerCertificate(state).credentials(),
            "127.0.0.1:0",
            observer=identities,
        )
        intake = Intake(live.take, serving.fanout)
        taking = asyncio.create_task(intake.run())
        port = await serving.start()
        try:
            yield Plane(live, serving, intake, port)
        finally:
            taking.cancel()
            await serving.stop(1)


class Child:
    """A process at the other end of a pipe: it gets messages, and answers each."""

    def __init__(self, main: Any, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")  # gRPC must not be forked
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()
        self.first = self.answer()
        """What the child says once it runs."""

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def tell(self, message: object) -> None:
        self._pipe.send(message)

    def answer(self) -> Any:
        """The answer to the oldest message without one. Raises EOFError when the child is gone."""
        if not self._pipe.poll(_PATIENCE):
            raise TimeoutError(f"process {self.pid} does not answer")
        return self._pipe.recv()

    def ask(self, message: object) -> Any:
        self.tell(message)
        return self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class PlaneProcess(Child):
    """A control plane in a process of its own."""

    def __init__(self, state_dir: Path, objects: Iterable[MeshObject], sidecars: Iterable[WorkloadKey]) -> None:
        super().__init__(_main, state_dir, tuple(objects), tuple(sidecars))

    @property
    def port(self) -> int:
        return int(self.first)

    def take(self, *events: ObjectEvent) -> float:
        """Send events and wait until the mesh has taken them; gives when they came, on the monotonic clock."""
        return float(self.ask(events))

    def synced(self) -> int:
        return int(self.ask("synced"))

    def rejections(self) -> int:
        return int(self.ask("rejections"))


async def answer_messages(pipe: Connection, answer: Callable[[Any], object]) -> None:
    """Answer what comes through `pipe`, in callbacks of this event loop, until its other end is closed."""
    loop = asyncio.get_running_loop()
    closed = loop.create_future()

    def receive() -> None:
        try:
            pipe.send(answer(pipe.recv()))
        except (EOFError, ConnectionError):
            closed.set_result(None)
        except Exception as error:  # noqa: BLE001  # it ends the process, with its trace
            closed.set_exception(error)
        if closed.done():
            loop.remove_reader(pipe.fileno())

    loop.add_reader(pipe.fileno(), receive)
    await closed


def _main(
    pipe: Connection, state_dir: Path, objects: tuple[MeshObject, ...], sidecars: tuple[WorkloadKey, ...]
) -> None:
    logging.disable(logging.WARNING)  # the mesh of a benchmark has diagnostics, and they are not news
    asyncio.run(_serve(pipe, state_dir, objects, sidecars))


async def _serve(
    pipe: Connection, state_dir: Path, objects: tuple[MeshObject, ...], sidecars: tuple[WorkloadKey, ...]
) -> None:
    async with plane(state_dir, objects, sidecars) as running:

        def answer(message: Any) -> object:
            if message == "synced":
                return running.synced()
            if message == "rejections":
                return running.rejections()
            came = time.monotonic()
            running.take(message)
            return came

        pipe.send(running.port)
        await answer_messages(pipe, answer)
