"""What is known of every connected proxy: what it holds, what it has acknowledged, what it rejected.

In: the streams themselves, and their answers. Out: plain data for the debug endpoint and whoever reports on objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xds.resource import Resource, TypeUrl
from xds.stream import Stream
from xds.substream import SubStream, World


@dataclass(frozen=True, slots=True)
class Rejection:
    """The last NACK of one type: the proxy's words, when (seconds since the epoch), and the names held back."""

    message: str
    time: float
    names: tuple[str, ...]


@dataclass(slots=True)
class Answers:
    """How a proxy has answered to one type on its present stream."""

    acks: int = 0
    nacks: int = 0
    last_nack: Rejection | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """One name a proxy is to hold, in versions; None is "nothing".

    ``version`` is what it should hold, ``sent`` what it was sent last, ``acked`` what it has accepted. ``rejected`` is
    set while a version is held back.
    """

    type_url: str
    name: str
    version: str | None
    sent: str | None
    acked: str | None
    rejected: str | None = None


@dataclass(eq=False, slots=True)
class ProxyStatus:
    """One stream of one proxy. ``connected_at`` is in seconds since the epoch."""

    proxy: str
    stream: Stream
    world: World
    connected_at: float
    address: str
    user_agent: str
    subject: str
    answers: dict[str, Answers] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        return self.stream.protocol

    @property
    def synced(self) -> bool:
        """Whether the proxy has acknowledged exactly what it should hold."""
        return self.stream.settled

    def answers_of(self, type_url: str) -> Answers:
        return self.answers.setdefault(type_url, Answers())

    def holdings(self) -> Iterator[Holding]:
        """Everything the proxy subscribes to, by type and in the order of responses."""
        for sub in self.stream.in_push_order():
            yield from _holdings(sub, self.world)

    def holding(self, type_url: str, name: str) -> Holding | None:
        """One name; None when the proxy does not subscribe to it. Costs what is unanswered of its type."""
        sub = self.stream.substreams.get(type_url)
        if sub is None or not sub.subscription.covers(name):
            return None
        unanswered: dict[str, Resource | None] = {}
        for batch in sub.unacked.values():
            if any(each.name == name for each in batch.resources):
                unanswered[name] = batch.bases.get(name)
                break
        return _holding(sub, self.world, name, unanswered)

    @property
    def begun(self) -> bool:
        """Whether the proxy has subscribed to all that it needs at first: it has accepted clusters and listeners, and
        asks before that for what they name. After a reconnect it renews all it asks for before it answers anything.
        """
        return all(
            (answers := self.answers.get(type_url)) is not None and answers.acks > 0
            for type_url in (TypeUrl.CLUSTER, TypeUrl.LISTENER)
        )

    def is_to_hold(self, type_url: str, name: str) -> bool:
        """Whether the proxy subscribes to a resource that it may see."""
        substream = self.stream.substreams.get(type_url)
        return (
            substream is not None
            and substream.subscription.covers(name)
            and self.world.lookup(type_url, name) is not None
        )

    def resource(self, type_url: str, name: str) -> Resource | None:
        return self.world.lookup(type_url, name)


def _holdings(sub: SubStream, world: World) -> Iterator[Holding]:
    names = set(sub.subscription.names) | set(sub.leaving)
    if sub.subscription.wildcard:
        names.update(resource.name for resource in world.listing(sub.type_url).resources)
    unanswered: dict[str, Resource | None] = {}
    for batch in sub.unacked.values():
        for resource in batch.resources:
            unanswered.setdefault(resource.name, batch.bases.get(resource.name))
    for name in sorted(names):
        yield _holding(sub, world, name, unanswered)


def _holding(sub: SubStream, world: World, name: str, unanswered: Mapping[str, Resource | None]) -> Holding:
    current = world.lookup(sub.type_url, name)
    sent, rejected = _sent(sub, name, current)
    acked = unanswered.get(name, sent)
    return Holding(sub.type_url, name, _version(current), _version(sent), _version(acked), rejected)


def _sent(sub: SubStream, name: str, current: Resource | None) -> tuple[Resource | None, str | None]:
    """What a proxy was sent last under a name and did not reject, and the version it rejected."""
    if name in sub.pending:
        return sub.pending[name].base, None
    if name in sub.leaving:
        return sub.leaving[name].base, None
    held = sub.held.get(name)
    if held is not None:
        return (held.previous if held.waiting else current), held.version
    return current, None


def _version(resource: Resource | None) -> str | None:
    return None if resource is None else resource.version


class ProxyRegister:
    """The streams that are open, by proxy."""

    def __init__(self) -> None:
        self._streams: dict[str, list[ProxyStatus]] = {}

    def add(self, status: ProxyStatus) -> None:
        self._streams.setdefault(status.proxy, []).append(status)

    def remove(self, status: ProxyStatus) -> None:
        streams = self._streams[status.proxy]
        streams.remove(status)
        if not streams:
            del self._streams[status.proxy]

    def of(self, proxy: str) -> ProxyStatus | None:
        """The newest stream of a proxy; an older one is usually dead and not yet noticed."""
        streams = self._streams.get(proxy)
        return streams[-1] if streams else None

    def all_of(self, proxy: str) -> tuple[ProxyStatus, ...]:
        """Every stream of a proxy, also one that is dead, as far as anybody knows."""
        return tuple(self._streams.get(proxy, ()))

    def holders(self, type_url: str, name: str) -> int:
        """How many connected proxies are to hold a resource. Walks all of them: for diagnostics, not for pushes."""
        return sum(status.is_to_hold(type_url, name) for status in self)

    def __iter__(self) -> Iterator[ProxyStatus]:
        return (streams[-1] for streams in self._streams.values())

    def __len__(self) -> int:
        return len(self._streams)
