"""The gRPC server: aggregated discovery, delta and SotW, over TLS.

In: a ``Store``, who may connect, TLS credentials, an address. Out: streams. Before anything is served, in this order:
the store is ready, the peer is authenticated, its node may be who it says, it has a view, and the observer has
prepared it. Whoever fails is refused with a status and a reason, which is logged once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from xds.authentication import AuthenticationError, Authenticator, Authorizer, Credential, Peer, node_refusal
from xds.connection import WRITE_DEADLINE, Connection, Refused
from xds.delta import DeltaStream
from xds.metrics import Metrics
from xds.presence import Observer, Presence
from xds.sotw import SotwStream
from xds.status import ProxyRegister, ProxyStatus
from xds.store import Store
from xds.stream import Stream

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
FIRST_REQUEST_DEADLINE = 15.0
AUTHENTICATION_DEADLINE = 10.0
_REASONS_REMEMBERED = 1000

_OPTIONS = [
    # 100,000 names in one request are 4.2 MB, above gRPC's default.
    ("grpc.max_receive_message_length", 32 << 20),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 32 << 10),
    ("grpc.max_concurrent_streams", 16),
    # Our pings find dead peers; Envoy's own pings (every 30 s) must not count as abuse.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    # Two servers on one port would share its connections, unseen.
    ("grpc.so_reuseport", 0),
]
_log = logging.getLogger(__name__)

_Handler = Callable[[Any, Any], Any]


class XdsServer:
    """See the module. ``proxies`` says what every connected proxy holds."""

    def __init__(  # noqa: PLR0913  # the one place where all parts meet
        self,
        store: Store,
        authenticator: Authenticator,
        authorizer: Authorizer,
        credentials: grpc.ServerCredentials,
        address: str,
        *,
        observer: Observer | None = None,
        metrics: Metrics | None = None,
        identifier: str = "tulle",
        write_deadline: float = WRITE_DEADLINE,
    ) -> None:
        self.proxies = ProxyRegister()
        self.metrics = metrics or Metrics()
        self._store = store
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._credentials = credentials
        self._address = address
        self._presence = Presence(observer)
        self._identifier = identifier
        self._write_deadline = write_deadline
        self._connections: set[Connection] = set()
        self._departures: set[asyncio.Task[None]] = set()
        self._reasons: set[str] = set()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen. Returns the port. Raises OSError when the address cannot be had."""
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((_Services(self),))
        try:
            port = server.add_secure_port(self._address, self._credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._address}: {error}") from error
        await server.start()
        self._server = server
        return port

    async def stop(self, grace: float = 5.0) -> None:
        """End every stream with UNAVAILABLE, wait at most ``grace`` seconds, and stop listening."""
        for connection in tuple(self._connections):
            connection.end(grpc.StatusCode.UNAVAILABLE, "the control plane is shutting down")
        if self._server is not None:
            await self._server.stop(grace)
        if self._departures:
            await asyncio.wait(self._departures, timeout=grace)

    # -- one stream

    async def delta(self, context: Any) -> None:
        await self._serve(context, DeltaStream, DeltaDiscoveryRequest.FromString)

    async def sotw(self, context: Any) -> None:
        await self._serve(context, SotwStream, DiscoveryRequest.FromString)

    async def _serve(self, context: Any, variant: type[Stream], parse: Callable[[bytes], Any]) -> None:
        try:
            credential = await self._authenticate(context)
            first = await _first_request(context, parse)
            if first is not None:
                proxy = self._admit(first, credential)
                await self._attend(context, variant, parse, first, proxy, credential)
        except Refused as refused:
            self._note(refused)
            await context.abort(refused.code, refused.reason)
        except (asyncio.CancelledError, grpc.aio.BaseError):
            raise
        except Exception:  # noqa: BLE001  # our bug: loud here, but its text may hold secrets and is not for the peer
            _log.exception("a stream ended by an error of ours")
            await context.abort(grpc.StatusCode.INTERNAL, "internal error of the control plane")

    async def _authenticate(self, context: Any) -> Credential:
        if not self._store.ready:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "the control plane is not ready: its first sync is not done")
        try:
            async with asyncio.timeout(AUTHENTICATION_DEADLINE):
                credential = await self._authenticator.authenticate(_peer(context))
        except AuthenticationError as error:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, str(error)) from None
        except TimeoutError:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "authentication took too long") from None
        if credential.expires_at is not None and credential.expires_at <= time.time():
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "the credential has expired")
        return credential

    def _admit(self, first: Any, credential: Credential) -> str:
        """The proxy that a first request may speak for."""
        node = first.node
        if not node.id:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the first request has no node.id")
        reason = node_refusal(node.id, credential) or self._authorizer(
            node.id, MessageToDict(node.metadata), credential
        )
        if reason is not None:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, reason)
        self._must_be_known(node.id)
        return str(node.id)

    def _must_be_known(self, proxy: str) -> None:
        if not self._store.has_view(proxy):
            raise Refused(grpc.StatusCode.NOT_FOUND, f"proxy {proxy} is not known")

    async def _attend(
        self,
        context: Any,
        variant: type[Stream],
        parse: Callable[[bytes], Any],
        first: Any,
        proxy: str,
        credential: Credential,
    ) -> None:
        """Serve an admitted stream, and leave nothing behind."""
        try:
            await self._presence.enter(proxy)
            self._must_be_known(proxy)
            world = self._store.record(proxy)
            status = ProxyStatus(
                proxy=proxy,
                stream=variant(world, self._identifier),
                world=world,
                connected_at=time.time(),
                address=context.peer(),
                user_agent=_user_agent(first.node),
                subject=credential.subject,
            )
            connection = Connection(context, status, parse, self.metrics, write_deadline=self._write_deadline)
            self._store.attach(proxy, connection)
            self.proxies.add(status)
            self._connections.add(connection)
            self.metrics.connected.inc()
            try:
                await connection.run(first, credential.expires_at)
            finally:
                self.metrics.connected.dec()
                self._connections.discard(connection)
                self.proxies.remove(status)
                self._store.detach(proxy, connection)
        finally:
            # A task of its own, because this one may have been cancelled.
            departure = asyncio.create_task(self._presence.leave(proxy))
            self._departures.add(departure)
            departure.add_done_callback(self._departures.discard)

    def _note(self, refused: Refused) -> None:
        self.metrics.refused(refused.code.name)
        if str(refused) not in self._reasons:
            if len(self._reasons) >= _REASONS_REMEMBERED:
                self._reasons.clear()
            self._reasons.add(str(refused))
            _log.warning("stream refused: %s", refused)


class _Services(grpc.GenericRpcHandler):
    """Maps method names to handlers; requests and responses are bytes."""

    def __init__(self, server: XdsServer) -> None:
        self._methods = {
            f"{ADS}DeltaAggregatedResources": server.delta,
            f"{ADS}StreamAggregatedResources": server.sotw,
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        serve = self._methods.get(method)
        if serve is not None:
            return grpc.stream_stream_rpc_method_handler(_without_iterator(serve))
        if method.startswith("/envoy.service."):
            return grpc.stream_stream_rpc_method_handler(_unimplemented(method))
        return None


def _without_iterator(serve: Callable[[Any], Any]) -> _Handler:
    async def handler(_requests: Any, context: Any) -> None:
        await serve(context)

    return handler


def _unimplemented(method: str) -> _Handler:
    async def handler(_requests: Any, context: Any) -> None:
        await context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"{method} is not served: use ADS, {ADS}DeltaAggregatedResources",
        )

    return handler


async def _first_request(context: Any, parse: Callable[[bytes], Any]) -> Any | None:
    """The first request; None when the client ends without one."""
    # Not wait_for: it would cancel the read (see Connection.run).
    read = asyncio.ensure_future(context.read())
    done, _ = await asyncio.wait({read}, timeout=FIRST_REQUEST_DEADLINE)
    if not done:
        raise Refused(grpc.StatusCode.DEADLINE_EXCEEDED, "no request on a new stream")
    data = read.result()
    if data is grpc.aio.EOF:
        return None
    try:
        return parse(data)
    except DecodeError:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the first request could not be decoded") from None


def _peer(context: Any) -> Peer:
    spiffe = context.auth_context().get("peer_spiffe_id")
    return Peer(
        metadata={key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)},
        spiffe_id=spiffe[0].decode() if spiffe else None,
        address=context.peer(),
    )


def _user_agent(node: Any) -> str:
    version = node.user_agent_version
    if node.HasField("user_agent_build_version"):
        number = node.user_agent_build_version.version
        version = f"{number.major_number}.{number.minor_number}.{number.patch}"
    return f"{node.user_agent_name} {version}".strip()[:200]
