"""The composition root: files -> index -> mesh model -> resources -> streams, and the identities beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from ca.identity import IdentityError, TrustDomain
from ca.spent import SPENT_TOKENS, SpentTokens
from ca.state import CaState, StateError, load_or_create
from ca.tokens import JoinTokens
from deploy.acknowledgements import Acknowledgements
from deploy.admission import ByCertificateElse, NoStreamTokens, PeerCertificate, TokenAuthenticator, authorizer
from deploy.clock import now
from deploy.directory import sorted_diagnostics
from deploy.enrolment import Enrolment, Gate
from deploy.garbage import collector_paused, settle_in
from deploy.identities import Identities
from deploy.intake import HOLD_OFF, Intake
from deploy.join_directories import REFRESH_SECONDS, JoinDirectories
from deploy.live_mesh import LiveMesh
from deploy.rejection_watch import RejectionWatch
from deploy.report import mesh_report
from deploy.rotation import Followers, Rotation
from deploy.server_certificate import ServerCertificate
from deploy.trust import Trust
from smi.files import FileChange, FileSource
from smi.model import WorkloadKey
from xds.authentication import OperatorToken
from xds.debug import DebugServer
from xds.fanout import Fanout
from xds.server import Port, XdsServer
from xds.status import ProxyRegister
from xds.store import Store

_log = logging.getLogger(__name__)
_GRACE = 10.0
"""Seconds that streams have to end when the control plane stops; their proxies go on with what they have."""


class ServeError(Exception):
    """The control plane cannot run, for a reason that a person can do something about."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `tulle serve` is given. Addresses are `host:port`; port 0 takes a free one.

    Whoever presents `debug_token` may read the debug endpoint, and ask for the client status of proxies over xDS.
    `hold_off`: seconds that a change waits at most for the fan-out before it. `xds_mtls_address` None: the port after
    that of `xds_address`. Without `stream_tokens`, tokens are good for enrolment only. `client_certificate_lifetime`
    None: what the mesh says for all certificates.
    """

    directory: Path
    xds_address: str
    debug_address: str
    state: Path
    debug_token: str | None = None
    hold_off: float = HOLD_OFF
    xds_mtls_address: str | None = None
    stream_tokens: bool = True
    client_certificate_lifetime: timedelta | None = None

    @property
    def mtls_address(self) -> str:
        """Where peers with a certificate connect to. ValueError when `xds_address` has no port."""
        if self.xds_mtls_address is not None:
            return self.xds_mtls_address
        port = int(self.xds_address.rpartition(":")[2])
        return _with_port(self.xds_address, port and port + 1)


class ControlPlane:
    """One control plane: `run` serves until told to stop."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises ServeError when it cannot begin, or can no longer go on."""
        source = FileSource(self._options.directory)
        store = Store()
        live = LiveMesh(store)
        with collector_paused():
            live.take(source.load())
        settle_in()
        async with AsyncExitStack() as stack:
            state = stack.enter_context(_open_state(self._options.state, live.mesh.settings.trust_domain))
            try:
                spent = stack.enter_context(SpentTokens(self._options.state / "ca" / SPENT_TOKENS, now()))
                joins = JoinDirectories(self._options.state, state, spent, stream_tokens=self._options.stream_tokens)
                joins.update(live.mesh.proxies)
            except (StateError, OSError) as error:
                raise ServeError(str(error)) from None
            trust = Trust(state, store, lambda: live.mesh.federation)
            trust.push()
            store.mark_ready()
            identities = Identities(state, store, lambda: live.mesh)
            proxies = ProxyRegister()
            seen = Acknowledgements(state, identities, trust, proxies.all_of)
            followers = Followers(joins, trust, identities)
            rotation = Rotation(state, self._options.state, lambda: live.mesh, followers, seen)
            server = self._server(store, state, live, rotation, proxies, _Joining(joins, spent))
            intake = Intake(_taking(live, joins, trust, server), server.fanout, self._options.hold_off)
            rejected = RejectionWatch(server, live)
            await stack.enter_async_context(self._serving(server, store, live, rejected))
            await _until(
                stop,
                _follow(source, intake, stop),
                intake.run(),
                identities.run(),
                rotation.run(),
                rejected.run(),
                _refresh(joins, live),
            )
            _log.info("stopping; sidecars go on with what they have")

    def _server(
        self,
        store: Store,
        state: CaState,
        live: LiveMesh,
        rotation: Rotation,
        proxies: ProxyRegister,
        joining: _Joining,
    ) -> XdsServer:
        options, tokens, tls = self._options, JoinTokens(state.join_token_key), ServerCertificate(state)
        certificates = PeerCertificate(lambda: state.bundle)
        gate = Gate(certificates, TokenAuthenticator(tokens, "join"), joining.spent)
        enrolment = Enrolment(
            state,
            gate,
            lambda: live.mesh,
            lambda: server.mtls_port,
            joining.after_use(live),
            lifetime=options.client_certificate_lifetime,
        )
        try:
            mtls = Port(options.mtls_address, tls.mtls_credentials())
        except ValueError:
            raise ServeError(f"{options.xds_address} is not HOST:PORT") from None
        server = XdsServer(
            store,
            ByCertificateElse(certificates, TokenAuthenticator(tokens) if options.stream_tokens else NoStreamTokens()),
            authorizer(lambda: live.mesh),
            tls.credentials(),
            options.xds_address,
            proxies=proxies,
            operators=None if options.debug_token is None else OperatorToken(options.debug_token),
            observer=rotation,
            on_ack=rotation.on_ack,
            fanout=Fanout(options.hold_off),
            mtls=mtls,
            calls=enrolment.calls,
        )
        server.metrics.registry.register(enrolment)
        return server

    @asynccontextmanager
    async def _serving(
        self, server: XdsServer, store: Store, live: LiveMesh, rejected: RejectionWatch
    ) -> AsyncIterator[None]:
        try:
            debug = DebugServer(
                self._options.debug_address,
                store=store,
                proxies=server.proxies,
                metrics=server.metrics,
                mesh=lambda: mesh_report(live.mesh, sorted_diagnostics(live.diagnostics, rejected.diagnostics())),
                token=self._options.debug_token,
                rejections=server.rejections,
            )
            port = await server.start()
            debug_port = await debug.start()
        except (OSError, ValueError) as error:
            await server.stop(0)
            raise ServeError(str(error)) from None
        _log.info(
            "%s holds %d services and %d workloads with a sidecar; %s is what those need to join",
            self._options.directory,
            len({(key.namespace, key.service) for key in live.mesh.frontends}),
            len(live.mesh.proxies),
            self._options.state / "join" / "NAMESPACE" / "WORKLOAD",
        )
        _log.info("xDS on %s", _with_port(self._options.xds_address, port))
        _log.info("xDS with client certificates on %s", _with_port(self._options.mtls_address, server.mtls_port))
        _log.info("debug endpoint on http://%s", _with_port(self._options.debug_address, debug_port))
        try:
            yield
        finally:
            await debug.stop()
            await server.stop(_GRACE)


@dataclass(frozen=True, slots=True)
class _Joining:
    """What sidecars join with: their directories, and which of their tokens are used."""

    directories: JoinDirectories
    spent: SpentTokens

    def after_use(self, live: LiveMesh) -> Callable[[WorkloadKey], None]:
        """Gives a workload the next token. A state directory that cannot be written is retried with the next change."""

        def give(key: WorkloadKey) -> None:
            try:
                self.directories.follow((key,), live.mesh.proxies)
            except (StateError, OSError) as error:
                _log.error("cannot write join directories: %s", error)  # a person's disk, not our bug

        return give


def _open_state(directory: Path, trust_domain: TrustDomain) -> CaState:
    try:
        return load_or_create(directory, trust_domain, now())
    except (StateError, IdentityError, OSError) as error:
        raise ServeError(str(error)) from None


async def _follow(source: FileSource, intake: Intake, stop: asyncio.Event) -> None:
    async for change in source.watch(stop):
        intake.put(change)


def _taking(live: LiveMesh, joins: JoinDirectories, trust: Trust, server: XdsServer) -> Callable[[FileChange], None]:
    """Take a change. A state directory that cannot be written is retried with the next one."""

    def take(change: FileChange) -> None:
        changed = live.take(change)
        server.judge_again(str(key) for key in changed if key in live.mesh.proxies)
        trust.push()
        try:
            joins.follow(changed, live.mesh.proxies)
        except (StateError, OSError) as error:
            _log.error("cannot write join directories: %s", error)  # a person's disk, not our bug

    return take


async def _refresh(joins: JoinDirectories, live: LiveMesh) -> None:
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        try:
            await joins.refresh(live.mesh.proxies)
        except (StateError, OSError) as error:
            _log.error("cannot refresh join tokens: %s", error)  # a person's disk, not our bug


async def _until(stop: asyncio.Event, *work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until `stop` is set. What fails in it fails the whole: a control plane that follows nothing any
    more, or renews nothing, must not look alive.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        await stop.wait()
        for task in tasks:
            task.cancel()


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"
