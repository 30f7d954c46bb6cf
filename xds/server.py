"""The gRPC server: aggregated discovery (delta and SotW), client status, and health, over TLS.

In: a ``Store``, who may connect, ports with their TLS credentials. Out: streams.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from xds.admission import Admission
from xds.authentication import Authenticator, Authorizer
from xds.connection import WRITE_DEADLINE, Connection
from xds.csds import CSDS, ClientStatus
from xds.fanout import Fanout
from xds.health import Health
from xds.metrics import Metrics
from xds.options import OPTIONS
from xds.overdue import Overdue
from xds.presence import Observer, Presence
from xds.records import Records
from xds.refusal import Refused
from xds.refusals import Refusals
from xds.rejections import Rejections
from xds.services import ADS, Call, Services
from xds.status import ProxyRegister
from xds.store import Store
from xds.streams import EARLIEST, Gatekeepers, Streams
from xds.throttle import Throttle

DRAIN_WINDOW = 5.0
"""Seconds within which streams end when the server stops, at most."""
DRAIN_PER_STREAM = 0.01
"""Seconds of that for each stream: what another replica needs to take over a proxy."""
_STOPPING = "the control plane is shutting down"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Port:
    """An ``address``, ``host:port``, and the TLS of whoever connects there."""

    address: str
    credentials: grpc.ServerCredentials


class XdsServer:
    """See the module.

    ``proxies`` says what every connected proxy holds, ``rejections`` what proxies do without, ``fanout`` whether
    changes are still on their way, ``refusals`` answers whoever is refused. ``operators`` tells who may ask for the
    client status of all proxies; None: nobody.
    ``mtls`` is a second port for peers with a certificate, where everything is served just as on the first; after
    ``start``, ``mtls_port`` is its number. ``calls`` are more methods, by their full name, which may raise ``Refused``.
    ``max_stream_age`` ends streams at about that many seconds, on connections that are told GOAWAY before, so that
    proxies connect anew and spread over the replicas; None: never. ``on_ack`` is told of each proxy that has accepted a
    response, often, and must be quick.
    """

    def __init__(  # noqa: PLR0913  # the one place where all parts meet
        self,
        store: Store,
        authenticator: Authenticator,
        authorizer: Authorizer,
        credentials: grpc.ServerCredentials,
        address: str,
        *,
        proxies: ProxyRegister | None = None,
        operators: Authenticator | None = None,
        observer: Observer | None = None,
        metrics: Metrics | None = None,
        identifier: str = "tulle",
        write_deadline: float = WRITE_DEADLINE,
        admission: Admission | None = None,
        fanout: Fanout | None = None,
        max_stream_age: float | None = None,
        mtls: Port | None = None,
        calls: Mapping[str, Call] | None = None,
        throttle: Throttle | None = None,
        on_ack: Callable[[str], None] | None = None,
    ) -> None:
        self.proxies = ProxyRegister() if proxies is None else proxies
        self.metrics = metrics or Metrics()
        self.rejections = Rejections()
        self.refusals = Refusals(self.metrics, throttle)
        self.fanout = fanout or Fanout()
        self._ports = [Port(address, credentials), *(() if mtls is None else (mtls,))]
        self._calls = {} if calls is None else dict(calls)
        self.mtls_port = 0
        self._admission = admission or Admission()
        self.metrics.registry.register(self._admission)
        self.metrics.registry.register(self.rejections)
        self._presence = Presence(observer)
        self._writes: Overdue[Connection] = Overdue(write_deadline, Connection.give_up)
        self._records = Records(self.metrics, self.rejections, self.fanout, self._writes, on_ack)
        self._streams = Streams(
            store,
            Gatekeepers(authenticator, authorizer, self._admission),
            self._presence,
            self.proxies,
            self._records,
            self.refusals,
            identifier=identifier,
            max_age=max_stream_age,
        )
        self._options = OPTIONS
        if max_stream_age is not None:
            # With gRPC's own jitter, of a tenth, before the earliest end of a stream.
            self._options += (("grpc.max_connection_age_ms", int(max_stream_age * (EARLIEST - 0.1) * 1000)),)
        self._client_status = ClientStatus(self.proxies, self.rejections, authenticator, operators, self.refusals)
        self._health = Health(lambda: store.ready)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen. Returns the port, the first one. Raises OSError when an address cannot be had."""
        server = grpc.aio.server(options=self._options)
        services = Services(
            {
                f"{ADS}DeltaAggregatedResources": self._streams.delta,
                f"{ADS}StreamAggregatedResources": self._streams.sotw,
                f"{CSDS}StreamClientStatus": self._client_status.stream,
            },
            {f"{CSDS}FetchClientStatus": self._client_status.fetch}
            | {method: self._answering(call) for method, call in self._calls.items()},
        )
        server.add_generic_rpc_handlers((services,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        numbers = [_listen(server, port) for port in self._ports]
        await server.start()
        self._server = server
        self.mtls_port = numbers[1] if len(numbers) > 1 else 0
        return numbers[0]

    def _answering(self, call: Call) -> Call:
        async def answer(request: bytes, context: Any) -> bytes:
            try:
                return await call(request, context)
            except Refused as refused:
                await self.refusals.refuse(refused, context)
            except (asyncio.CancelledError, grpc.aio.BaseError):
                raise
            except Exception:  # noqa: BLE001  # our bug: loud here, but its text may hold secrets
                _log.exception("a call ended by an error of ours")
                await context.abort(grpc.StatusCode.INTERNAL, "internal error of the control plane")
            raise AssertionError("abort has raised")

        return answer

    def judge_again(self, proxies: Iterable[str]) -> None:
        """Ask the authorizer again about open streams of ``proxies``; those that it refuses now are ended."""
        self._streams.judge_again(proxies)

    async def drain(self, over: float = DRAIN_WINDOW) -> None:
        """End every stream with UNAVAILABLE, at a moment of its own within ``over`` seconds (sooner where they are
        few), and take no new ones. Health says NOT_SERVING from the first moment. Those that remain are served.
        """
        self._health.stop_serving()
        self._admission.close(grpc.StatusCode.UNAVAILABLE, _STOPPING)
        streams = tuple(self._streams.open)
        window = min(over, DRAIN_PER_STREAM * len(streams))
        moments = sorted(random.uniform(0.0, window) for _ in streams)  # noqa: S311  # spreads load, hides nothing
        loop = asyncio.get_running_loop()
        began = loop.time()
        for connection, moment in zip(streams, moments, strict=True):
            if (wait := began + moment - loop.time()) > 0:
                await asyncio.sleep(wait)
            connection.end(grpc.StatusCode.UNAVAILABLE, _STOPPING)

    async def stop(self, grace: float = 5.0) -> None:
        """Drain, and stop listening; at most ``grace`` seconds.

        gRPC is told first: it sends GOAWAY on every connection, so that a proxy whose stream ends opens the next one
        on a new connection, to another replica.
        """
        self._health.stop_serving()
        server, self._server = self._server, None
        stopping = None if server is None else asyncio.create_task(server.stop(grace))
        # Half of it, so that streams end in order before the rest are cut off.
        await self.drain(min(DRAIN_WINDOW, grace / 2))
        self._health.end()
        if stopping is not None:
            await stopping
        await self._streams.departed(grace)
        self._writes.close()
        self.refusals.close()
        self._records.told.close()


def _listen(server: grpc.aio.Server, port: Port) -> int:
    try:
        return server.add_secure_port(port.address, port.credentials)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {port.address}: {error}") from error
