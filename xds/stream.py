"""One ADS stream, without I/O: requests and changes in, responses out, time as an argument.

``delta.DeltaStream`` and ``sotw.SotwStream`` say how requests are read and responses written; all that is decided is
decided here, once for both: what is sent in which order, and when.

Order: additions go out at once as CDS, EDS, SDS, ECDS, LDS, RDS, without waiting for anything (Envoy withholds the
ACK of CDS while any cluster warms, so it is never waited for). After a CDS response, the endpoints of exactly the
clusters in it are sent again, because a new or changed cluster warms until it gets them and delta Envoy does not ask
again. Cluster removals wait for the answers to the LDS, RDS and ECDS responses sent until then, at most 5 s; where a
listener was changed or removed, they wait until its connections are drained. A client that resumes gets listeners and
routes when it has asked for clusters and endpoints too, or after a second.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from xds.changes import Changes
from xds.ledger import DRAIN, Batch
from xds.policy import CLUSTER_USERS
from xds.resource import TypeUrl
from xds.subscription import TooManyNames
from xds.substream import SubStream, World
from xds.view import Change

PATIENCE = 1.0
"""Seconds a client that resumes may take to ask for clusters and endpoints before it gets routes all the same."""
MAX_UNKNOWN_TYPES = 32
"""Types nobody serves that one stream may ask for; each costs a little memory."""


_PUSH_ORDER: dict[str, int] = {url: place for place, url in enumerate(TypeUrl)}
_LAST = len(_PUSH_ORDER)


class ProtocolError(Exception):
    """The client broke the protocol; the stream ends with INVALID_ARGUMENT and this text."""


def _drains(listeners: Batch) -> bool:
    """Whether connections of the client are drained by these changes of listeners."""
    return bool(listeners.removed) or any(
        each.name in listeners.bases and listeners.is_new(each) for each in listeners.resources
    )


@dataclass(frozen=True, slots=True)
class Response:
    """One response, as parts to join when it is written."""

    type_url: str
    nonce: str
    parts: Sequence[bytes]
    resources: int
    removed: int

    def encode(self) -> bytes:
        return b"".join(self.parts)


@dataclass(frozen=True, slots=True)
class Ack:
    """The client accepted a response. ``changed_at``: when the change that caused it had arrived, None if asked."""

    type_url: str
    changed_at: float | None


@dataclass(frozen=True, slots=True)
class Nack:
    """The client rejected a response; ``names`` are held back for it."""

    type_url: str
    message: str
    names: tuple[str, ...]


class Stream(ABC):
    """The state of one stream. ``identifier`` is what responses say about the control plane that sent them."""

    protocol: str

    def __init__(self, world: World, identifier: str = "tulle") -> None:
        self.substreams: dict[str, SubStream] = {}
        self._world = world
        self._identifier = identifier
        self._nonce = 0
        self._outstanding: dict[str, str] = {}
        self._drained_at = -math.inf
        self._users_at = -math.inf
        self._warming: set[str] = set()

    # -- in

    def receive(self, request: Any, now: float) -> Ack | Nack | None:
        """Take a request of the stream's variant: an answer to a response, a change of subscription, or both.

        Raises ProtocolError.
        """
        if not request.type_url:
            raise ProtocolError("a request on an aggregated stream must have a type_url")
        sub = self.substreams.get(request.type_url) or self._begin(request, now)
        answer = self._answer(sub, request, now)
        try:
            self._subscribe(sub, request)
        except TooManyNames:
            raise ProtocolError(f"too many resource names of type {sub.type_url}, or too long ones") from None
        return answer

    def offer(self, changes: Iterable[Change], now: float) -> None:
        """What the proxy sees has changed."""
        substreams = self.substreams
        if isinstance(changes, Changes):
            left = {
                type_url
                for type_url, owed in changes.owed.items()
                if type_url in substreams and not substreams[type_url].owe(owed, now)
            }
            if not left:
                return
            changes = [change for change in changes if change.type_url in left]
        for change in changes:
            sub = substreams.get(change.type_url)
            if sub is not None:
                sub.offer(change, now)

    def _begin(self, request: Any, now: float) -> SubStream:
        """The first request of a type.

        A client that resumes asks type by type, Envoy often for clusters last. Listeners and routes wait until it has
        asked for what they lead to: what is new since then would answer 503.
        """
        type_url = request.type_url
        if len(self.substreams) >= MAX_UNKNOWN_TYPES + len(TypeUrl):
            raise ProtocolError("too many resource types")
        if type_url in CLUSTER_USERS and not self._asked_for_hosts() and self._resumes(request):
            self._users_at = now + PATIENCE
        sub = SubStream(type_url, self._world, delta=self.protocol == "delta", prefix=self._prefix(type_url))
        # Responses go out in this order; types nobody serves come last.
        subs = {**self.substreams, type_url: sub}
        self.substreams = dict(sorted(subs.items(), key=lambda item: _PUSH_ORDER.get(item[0], _LAST)))
        return sub

    def _asked_for_hosts(self) -> bool:
        return TypeUrl.CLUSTER in self.substreams and TypeUrl.ENDPOINT in self.substreams

    def _answer(self, sub: SubStream, request: Any, now: float) -> Ack | Nack | None:
        """A NACK is known by its error_detail, never by versions. A nonce counts within its own type only."""
        nonce = request.response_nonce
        if self._outstanding.get(nonce) == sub.type_url:
            del self._outstanding[nonce]
        if request.HasField("error_detail"):
            message = request.error_detail.message
            return Nack(sub.type_url, message, sub.reject(nonce, message, now))
        batch = sub.acknowledge(nonce)
        return None if batch is None else Ack(sub.type_url, batch.changed_at)

    # -- out

    def poll(self, now: float) -> list[Response]:
        """All there is to send now, in the order to send it in."""
        responses: list[Response] = []
        if now >= self._users_at or self._asked_for_hosts():
            self._users_at = -math.inf
        if self._warming:
            self._warm(())
        for sub in self.substreams.values():
            if sub.quiet or (sub.type_url in CLUSTER_USERS and now < self._users_at):
                continue
            batches = sub.collect(now, self._outstanding)
            if sub.type_url == TypeUrl.LISTENER and any(map(_drains, batches)):
                self._drained_at = now + DRAIN
            responses.extend(self._send(sub, batches))
            if sub.type_url == TypeUrl.CLUSTER:
                self._warm(batches)
        clusters = self.substreams.get(TypeUrl.CLUSTER)
        if clusters is not None and clusters.new_gate is not None:
            users = frozenset(nonce for nonce, url in self._outstanding.items() if url in CLUSTER_USERS)
            if now < self._drained_at:
                clusters.new_gate.deadline = self._drained_at
            else:
                clusters.new_gate.nonces = users
            clusters.new_gate = None
            if not users:
                responses.extend(self._send(clusters, clusters.collect(now, self._outstanding)))
        return responses

    def deadline(self) -> float | None:
        """When ``poll`` is to be called even if nothing happens; None for never."""
        times = [time for sub in self.substreams.values() if not sub.quiet and (time := sub.deadline()) is not None]
        if self._users_at > -math.inf:
            times.append(self._users_at)
        return min(times, default=None)

    @property
    def settled(self) -> bool:
        """Whether the client has acknowledged all that it should hold."""
        return all(sub.settled for sub in self.substreams.values())

    def in_push_order(self) -> Iterator[SubStream]:
        return iter(self.substreams.values())

    def _warm(self, batches: Iterable[Batch]) -> None:
        """Clusters of these batches that are new or changed wait for their endpoints."""
        self._warming.update(
            cluster.endpoints
            for batch in batches
            for cluster in batch.resources
            if cluster.endpoints and batch.is_new(cluster)
        )
        endpoints = self.substreams.get(TypeUrl.ENDPOINT)
        if endpoints is not None:
            for name in self._warming:
                endpoints.resend(name)
            self._warming.clear()

    def _send(self, sub: SubStream, batches: Iterable[Batch]) -> Iterator[Response]:
        for whole in batches:
            for batch in (whole,) if sub.policy.full_state else whole.split():
                nonce = str(self._nonce + 1)
                parts = self._frame(sub, batch, nonce)
                if parts:
                    self._nonce += 1
                    self._outstanding[nonce] = sub.type_url
                    for forgotten in sub.sent(nonce, batch):
                        self._outstanding.pop(forgotten, None)
                    yield Response(sub.type_url, nonce, parts, len(batch.resources), len(batch.removed))

    # -- the two variants

    @abstractmethod
    def _prefix(self, type_url: str) -> bytes:
        """What begins every response of a type."""

    @abstractmethod
    def _resumes(self, request: Any) -> bool:
        """Whether the first request of a type says that the client holds resources from an earlier stream."""

    @abstractmethod
    def _subscribe(self, sub: SubStream, request: Any) -> None:
        """Change the subscription as a request asks, and say what it needs answered."""

    @abstractmethod
    def _frame(self, sub: SubStream, batch: Batch, nonce: str) -> list[bytes]:
        """The bytes of a response; none when this variant cannot say what is in the batch."""
