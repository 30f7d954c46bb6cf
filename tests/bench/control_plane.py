"""The process of the control plane under test: its real parts, with changes that come through a pipe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from ca.secrets import trust_secret
from ca.state import load_or_create
from deploy.admission import authorizer
from deploy.clock import now
from deploy.configuration import TRUST_SCOPE, encoded
from deploy.garbage import collector_paused, settle_in
from deploy.identities import Identities
from deploy.intake import Intake
from deploy.live_mesh import LiveMesh
from smi.files import FileChange, FileSource
from smi.index import ObjectEvent, Upsert
from tests.bench import meshes
from tests.bench.credentials import Credentials
from tests.bench.processes import Served
from xds.authentication import AuthenticationError, Credential, Peer
from xds.server import XdsServer
from xds.store import ScopeChange, Store


class ClientCertificates:
    """A peer is who its client certificate says."""

    async def authenticate(self, peer: Peer) -> Credential:
        if peer.spiffe_id is None:
            raise AuthenticationError("no client certificate")
        return Credential(peer.spiffe_id)


class ControlPlane(Served):
    """``state`` is its directory for the CA that issues the certificates of proxies."""

    def __init__(self, credentials: Credentials, state: Path) -> None:
        self._credentials = credentials
        self._directory = state
        self._store = Store()
        self._live = LiveMesh(self._store)
        self._tasks: set[asyncio.Task[None]] = set()

    def _take(self, change: FileChange) -> None:
        """The one way in for every change after the first."""
        self._intake.put(change)

    def _begin(self, change: FileChange) -> None:
        """All there is at the start."""
        with collector_paused():
            self._live.take(change)
        settle_in()

    async def start(self, services: int, clients: int) -> int:
        """Take a mesh (see ``meshes``) and listen; gives the port."""
        objects = (*meshes.mesh(services), *meshes.clients(clients), meshes.split(90))
        self._begin(FileChange(tuple(map(Upsert, objects)), ()))
        return await self._listen()

    async def start_from_files(self, directory: Path) -> int:
        """Take a directory, follow its changes, and listen; gives the port."""
        source = FileSource(directory)
        self._begin(source.load())
        port = await self._listen()
        self._run(self._follow(source))
        return port

    async def push(self, events: Sequence[ObjectEvent]) -> float:
        """Let objects change. Gives the time just before."""
        begin = time.monotonic()
        self._take(FileChange(tuple(events), ()))
        return begin

    async def churn(self, changes: int, services: int, rate: float, longest: float) -> tuple[list[float], int]:
        """Numbered endpoint changes at a fixed rate: when each was due, and how many were taken in `longest` s."""
        begin = time.monotonic() + 0.1
        due = [begin + number / rate for number in range(changes)]
        for number, moment in enumerate(due):
            if time.monotonic() > begin + longest:
                return due, number
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            self._take(FileChange((Upsert(meshes.moved(number % services, number)),), ()))
        return due, changes

    async def _listen(self) -> int:
        state = load_or_create(self._directory, self._live.mesh.settings.trust_domain, now())
        trust = encoded(trust_secret(state.authority(now()).bundle))
        self._store.apply([ScopeChange(TRUST_SCOPE, (trust,))])
        self._store.mark_ready()
        identities = Identities(state, self._store, lambda: self._live.mesh)
        self._run(identities.run())
        self._server = XdsServer(
            self._store,
            ClientCertificates(),
            authorizer(lambda: self._live.mesh),
            self._credentials.of_server(),
            "127.0.0.1:0",
            observer=identities,
        )
        self._intake = Intake(self._live.take, self._server.fanout)
        self._run(self._intake.run())
        return await self._server.start()

    async def _follow(self, source: FileSource) -> None:
        async for change in source.watch(asyncio.Event()):
            self._take(change)

    def _run(self, work: object) -> None:
        self._tasks.add(asyncio.create_task(work))  # type: ignore[arg-type]
