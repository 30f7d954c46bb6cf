"""Discovery streams, from the first byte to the last.

Before anything is served, in this order: the store is ready, the peer is authenticated, its node may be who it says,
it has a view, it is its turn to begin, and the observer has prepared it. Whoever fails is refused with a status and a
reason, which is logged once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from xds.admission import Admission, Place
from xds.authentication import Authenticator, Authorizer, Credential
from xds.connection import Connection
from xds.delta import DeltaStream
from xds.opening import authenticated, first_request, proxy_of, user_agent
from xds.presence import Presence
from xds.records import Records
from xds.refusal import Refused
from xds.refusals import Refusals
from xds.sotw import SotwStream
from xds.status import ProxyRegister, ProxyStatus
from xds.store import Store
from xds.stream import Stream

EARLIEST, LATEST = 0.8, 1.2
"""Between which multiples of ``max_age`` a stream ends."""
MOST_OPENINGS = 16
"""Streams of one credential that may be open without a first request."""
MOST_STREAMS = 4
"""Streams of one proxy: it needs one, and another while it has not noticed that its connection is dead."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gatekeepers:
    """Who decides whether a stream is served: who a peer is, who it may speak for, and when its turn is."""

    authenticator: Authenticator
    authorizer: Authorizer
    admission: Admission


class Streams:
    """Serves discovery streams. ``max_age``: seconds after which a stream is ended, more or less; None for never."""

    def __init__(
        self,
        store: Store,
        gatekeepers: Gatekeepers,
        presence: Presence,
        proxies: ProxyRegister,
        records: Records,
        refusals: Refusals,
        *,
        identifier: str,
        max_age: float | None,
    ) -> None:
        self.open: set[Connection] = set()
        self._store = store
        self._gate = gatekeepers
        self._presence = presence
        self._proxies = proxies
        self._records = records
        self._refusals = refusals
        self._identifier = identifier
        self._max_age = max_age
        self._departures: set[asyncio.Task[None]] = set()
        self._openings: Counter[str] = Counter()
        self._connections: dict[str, list[tuple[Connection, Credential]]] = {}

    async def delta(self, context: Any) -> None:
        await self._serve(context, DeltaStream, DeltaDiscoveryRequest.FromString)

    async def sotw(self, context: Any) -> None:
        await self._serve(context, SotwStream, DiscoveryRequest.FromString)

    async def departed(self, timeout: float) -> None:  # noqa: ASYNC109  # what is not done then goes on
        """Wait until the observer has heard of all streams that have ended."""
        if self._departures:
            await asyncio.wait(self._departures, timeout=timeout)

    async def _serve(self, context: Any, variant: type[Stream], parse: Callable[[bytes], Any]) -> None:
        try:
            ended = await self._attend(context, variant, parse)
            if ended is not None:
                self._refusals.note(ended, context.peer())
        except Refused as refused:
            await self._refusals.refuse(refused, context)
        except (asyncio.CancelledError, grpc.aio.BaseError):
            raise
        except Exception:  # noqa: BLE001  # our bug: loud here, but its text may hold secrets and is not for the peer
            _log.exception("a stream ended by an error of ours")
            await context.abort(grpc.StatusCode.INTERNAL, "internal error of the control plane")

    async def _attend(self, context: Any, variant: type[Stream], parse: Callable[[bytes], Any]) -> Refused | None:
        """Serve one stream, and leave nothing behind. Returns why we have ended it, if we have."""
        if not self._store.ready:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "the control plane is not ready: its first sync is not done")
        async with self._gate.admission.authenticating:
            credential = await authenticated(self._gate.authenticator, context)
        with self._opening(credential):
            first = await first_request(context, parse)
        if first is None:
            return None
        proxy = proxy_of(first, credential, self._gate.authorizer)
        self._must_be_known(proxy)
        place = await self._gate.admission.enter(proxy)
        try:
            await self._presence.enter(proxy)
            # Both may have changed meanwhile.
            self._gate.admission.must_be_open()
            self._must_be_known(proxy)
            connection, status = self._connect(context, variant, parse, first, credential, place)
            # The first request may name thousands of resources, and this frame lives as long as the stream.
            del first
            timer = self._end_in_time(connection, credential)
            try:
                return await connection.run()
            finally:
                if timer is not None:
                    timer.cancel()
                self._disconnect(connection, status)
        finally:
            place.release()
            # A task of its own, because this one may have been cancelled.
            departure = asyncio.create_task(self._presence.leave(proxy))
            self._departures.add(departure)
            departure.add_done_callback(self._departures.discard)

    def judge_again(self, proxies: Iterable[str]) -> None:
        """End the streams of ``proxies`` whose credentials are not theirs any more: who a proxy is may be edited."""
        for proxy in proxies:
            for connection, credential in self._connections.get(proxy, ()):
                if (reason := self._gate.authorizer(proxy, {}, credential)) is not None:
                    connection.end(grpc.StatusCode.PERMISSION_DENIED, reason)

    @contextmanager
    def _opening(self, credential: Credential) -> Iterator[None]:
        """What has not come yet may be large, or never come: few are waited for of one credential. Raises Refused."""
        who = credential.workload or credential.subject
        if self._openings[who] >= MOST_OPENINGS:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"too many streams of {who} have not said anything yet")
        self._openings[who] += 1
        try:
            yield
        finally:
            self._openings[who] -= 1
            if not self._openings[who]:
                del self._openings[who]

    def _must_be_known(self, proxy: str) -> None:
        if not self._store.has_view(proxy):
            raise Refused(grpc.StatusCode.NOT_FOUND, f"proxy {proxy} is not known")

    def _connect(
        self,
        context: Any,
        variant: type[Stream],
        parse: Callable[[bytes], Any],
        first: Any,
        credential: Credential,
        place: Place,
    ) -> tuple[Connection, ProxyStatus]:
        proxy = place.proxy
        world = self._store.record(proxy)
        status = ProxyStatus(
            proxy=proxy,
            stream=variant(world, self._identifier),
            world=world,
            connected_at=time.time(),
            address=context.peer(),
            user_agent=user_agent(first.node),
            subject=sys.intern(credential.subject),
        )
        connection = Connection(context, status, parse, self._records, place)
        self._store.attach(proxy, connection)
        self._proxies.add(status)
        self.open.add(connection)
        mine = self._connections.setdefault(proxy, [])
        mine.append((connection, credential))
        for older, _ in mine[:-MOST_STREAMS]:
            older.end(grpc.StatusCode.RESOURCE_EXHAUSTED, "the proxy has opened newer streams")
        self._records.metrics.connected += 1
        connection.begin(first)
        return connection, status

    def _disconnect(self, connection: Connection, status: ProxyStatus) -> None:
        self._records.metrics.connected -= 1
        self.open.discard(connection)
        mine = self._connections[status.proxy]
        mine[:] = [each for each in mine if each[0] is not connection]
        if not mine:
            del self._connections[status.proxy]
        self._proxies.remove(status)
        self._store.detach(status.proxy, connection)

    def _end_in_time(self, connection: Connection, credential: Credential) -> asyncio.TimerHandle | None:
        """End the stream when its credential expires, or it is old enough to try another replica."""
        ends: list[tuple[float, grpc.StatusCode, str]] = []
        if credential.expires_at is not None:
            seconds = max(0.0, credential.expires_at - time.time())
            reason = "the credential that opened this stream has expired"
            ends.append((seconds, grpc.StatusCode.UNAUTHENTICATED, reason))
        if self._max_age is not None:
            seconds = self._max_age * random.uniform(EARLIEST, LATEST)  # noqa: S311  # spreads load, hides nothing
            ends.append((seconds, grpc.StatusCode.UNAVAILABLE, "the stream is old: open another, on any replica"))
        if not ends:
            return None
        seconds, code, reason = min(ends, key=lambda end: end[0])
        return asyncio.get_running_loop().call_later(seconds, connection.end, code, reason)
