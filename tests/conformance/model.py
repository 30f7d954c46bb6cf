"""A world to serve and clients that behave like Envoy, without I/O.

``Wire`` joins a ``Store``, one stream and one model client; responses wait in a queue until the client takes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from protos.envoy.config.cluster import v3_pb2 as cluster_v3
from protos.envoy.config.core import v3_pb2 as core_v3
from protos.envoy.config.endpoint import v3_pb2 as endpoint_v3
from protos.envoy.config.listener import v3_pb2 as listener_v3
from protos.envoy.config.route import v3_pb2 as route_v3
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls_v3
from protos.envoy.service.discovery import v3_pb2 as discovery_v3
from xds.delta import DeltaStream
from xds.placeholder import placeholder
from xds.resource import Resource, TypeUrl, resource
from xds.sotw import SotwStream
from xds.store import ScopeChange, Store
from xds.stream import Ack, Nack, Response, Stream
from xds.view import Change, View

CDS, EDS, SDS, ECDS, LDS, RDS = TypeUrl
FULL_STATE = (CDS, LDS)
PROXY = "shop/buyer"
INTERNAL = 13


def _cluster(name: str, note: str) -> Message:
    return cluster_v3.Cluster(name=name, type=cluster_v3.Cluster.EDS, alt_stat_name=note)


def _endpoints(name: str, note: str) -> Message:
    return endpoint_v3.ClusterLoadAssignment(
        cluster_name=name, endpoints=[endpoint_v3.LocalityLbEndpoints(locality=core_v3.Locality(zone=note or "-"))]
    )


def _route(name: str, note: str) -> Message:
    return route_v3.RouteConfiguration(name=name, virtual_hosts=[route_v3.VirtualHost(name=note or "-")])


def _secret(name: str, note: str) -> Message:
    return tls_v3.Secret(
        name=name, tls_certificate=tls_v3.TlsCertificate(private_key=core_v3.DataSource(inline_string=note))
    )


_MAKERS: dict[TypeUrl, Callable[[str, str], Message]] = {
    CDS: _cluster,
    EDS: _endpoints,
    SDS: _secret,
    ECDS: lambda name, note: core_v3.TypedExtensionConfig(
        name=name, typed_config={"type_url": "type.googleapis.com/x", "value": note.encode()}
    ),
    LDS: lambda name, note: listener_v3.Listener(name=name, stat_prefix=note),
    RDS: _route,
}


def made(type_url: TypeUrl, name: str, note: str = "", *, rank: int = 0) -> Resource:
    """A valid resource whose content is ``note``."""
    return resource(type_url, name, _MAKERS[type_url](name, note), rank=rank)


def names(resources: Iterable[Any]) -> list[str]:
    return [each.name for each in resources]


@dataclass
class Sent:
    """A response as a client reads it, of either variant."""

    type_url: str
    nonce: str
    versions: dict[str, str]
    removed: list[str]
    message: Any

    @property
    def names(self) -> list[str]:
        return list(self.versions)


_NAME_FIELDS = {EDS: "cluster_name"}
_CLASSES: dict[str, Any] = {
    CDS: cluster_v3.Cluster,
    EDS: endpoint_v3.ClusterLoadAssignment,
    SDS: tls_v3.Secret,
    ECDS: core_v3.TypedExtensionConfig,
    LDS: listener_v3.Listener,
    RDS: route_v3.RouteConfiguration,
}


def read(response: Response, *, delta: bool) -> Sent:
    """Parse with protobuf what was framed by hand; reject what Envoy rejects whole."""
    data = response.encode()
    versions: dict[str, str] = {}
    if delta:
        message: Any = discovery_v3.DeltaDiscoveryResponse.FromString(data)
        anys = [(each.name, each.version, each.resource) for each in message.resources]
        removed = list(message.removed_resources)
    else:
        message = discovery_v3.DiscoveryResponse.FromString(data)
        anys = [("", "", each) for each in message.resources]
        removed = []
    assert message.nonce == response.nonce
    assert message.control_plane.identifier == "tulle"
    for name, version, packed in anys:
        assert packed.type_url == message.type_url
        content = _CLASSES[packed.type_url].FromString(packed.value)
        inner = getattr(content, _NAME_FIELDS.get(packed.type_url, "name"))
        assert name in ("", inner)
        assert inner not in versions, "a name twice in one response"
        assert inner not in removed, "a name both sent and removed"
        exact = resource(TypeUrl(packed.type_url), inner, content).version
        assert version in ("", exact)
        versions[inner] = exact
    return Sent(message.type_url, message.nonce, versions, removed, message)


class Wire:
    """One stream between a store and whoever plays the client. ``now`` is the only clock."""

    def __init__(self, store: Store | None = None, *, delta: bool = True) -> None:
        self.store = store or _fresh_store()
        self.delta = delta
        self.now = 0.0
        world = self.store.record(PROXY)
        self.stream: Stream = (DeltaStream if delta else SotwStream)(world)
        self.store.attach(PROXY, self)
        self.revoked = ""

    # the store's Sink
    def offer(self, changes: Sequence[Change]) -> None:
        self.stream.offer(changes, self.now)

    def revoke(self, reason: str) -> None:
        self.revoked = reason

    def close(self) -> None:
        self.store.detach(PROXY, self)

    # the world
    def put(self, *resources: Resource, scope: str = "all") -> None:
        self.store.apply([ScopeChange(scope, resources)])

    def drop(self, *keys: tuple[TypeUrl, str], scope: str = "all") -> None:
        self.store.apply([ScopeChange(scope, (), keys)])

    def change(self, put: Iterable[Resource] = (), drop: Iterable[tuple[TypeUrl, str]] = ()) -> None:
        self.store.apply([ScopeChange("all", tuple(put), tuple(drop))])

    # the client
    def request(self, type_url: str, **fields: Any) -> Ack | Nack | None:
        kind = discovery_v3.DeltaDiscoveryRequest if self.delta else discovery_v3.DiscoveryRequest
        error = fields.pop("error", None)
        request: Any = kind(type_url=type_url, **fields)
        if error is not None:
            request.error_detail.code = INTERNAL
            request.error_detail.message = error
        return self.stream.receive(request, self.now)

    def poll(self, after: float = 0.0) -> list[Sent]:
        """What the server sends ``after`` seconds."""
        self.now += after
        return [read(each, delta=self.delta) for each in self.stream.poll(self.now)]

    def ack(self, *responses: Sent, names: Sequence[str] | None = None) -> None:
        for each in responses:
            extra = {} if self.delta or names is None else {"resource_names": names}
            self.request(each.type_url, response_nonce=each.nonce, **extra)

    def nack(self, response: Sent, message: str, **fields: Any) -> Nack:
        answer = self.request(response.type_url, response_nonce=response.nonce, error=message, **fields)
        assert isinstance(answer, Nack)
        return answer


def _fresh_store() -> Store:
    store = Store()
    store.set_view(PROXY, View(("all", "more")))
    store.mark_ready()
    return store


@dataclass
class Holds:
    """What a model client holds and wants of one type."""

    wildcard: bool = False
    named: set[str] = field(default_factory=set)
    ever_named: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    nonce: str = ""

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.named


class ModelClient:
    """Behaves as Envoy does. Resources whose version is in ``poison`` are rejected, by name if ``names_culprit``, but
    for what it holds already: Envoy does not look at that again.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.types: dict[TypeUrl, Holds] = {}
        self.queue: deque[Sent] = deque()
        self.poison: set[str] = set()
        self.names_culprit = True
        self.rejections = 0

    def pump(self, after: float = 0.0) -> int:
        """Let the server send; returns how many responses."""
        sent = self.wire.poll(after)
        nonces = [each.nonce for each in (*self.queue, *sent)]
        assert len(set(nonces)) == len(nonces)
        self.queue.extend(sent)
        return len(sent)

    def take(self) -> None:
        """Process one response and answer it."""
        sent = self.queue.popleft()
        type_url = TypeUrl(sent.type_url)
        holds = self.types[type_url]
        holds.nonce = sent.nonce
        bad = [
            name
            for name, version in sent.versions.items()
            if version in self.poison and holds.wants(name) and holds.versions.get(name) != version
        ]
        good = {name: version for name, version in sent.versions.items() if name not in bad and holds.wants(name)}
        if bad and type_url not in FULL_STATE:
            good = {}
        self._apply(type_url, holds, sent, good, bad)
        if bad:
            self.rejections += 1
            named = ", ".join(f"{name}: it is bad" for name in bad)
            self._answer(type_url, error=f"Error adding/updating {named}" if self.names_culprit else "it is bad")
        else:
            self._answer(type_url)

    def _apply(self, type_url: TypeUrl, holds: Holds, sent: Sent, good: dict[str, str], bad: list[str]) -> None:
        if self.wire.delta:
            for name in sent.removed:
                if type_url in FULL_STATE:
                    holds.versions.pop(name, None)
        elif type_url in FULL_STATE:
            gone = [name for name in holds.versions if name not in sent.versions]
            for name in gone:
                del holds.versions[name]
        holds.versions.update(good)

    def _answer(self, type_url: TypeUrl, error: str | None = None) -> None:
        raise NotImplementedError

    def expected(self, type_url: TypeUrl) -> dict[str, str]:
        """What the store says the client should hold, of types whose removal it is told."""
        record = self.wire.store.record(PROXY)
        holds = self.types[type_url]
        wanted = {each.name: each.version for each in record.listing(type_url).resources if holds.wants(each.name)}
        for name in holds.named - wanted.keys():
            stand_in = placeholder(type_url, name)
            if stand_in is not None:
                wanted[name] = stand_in.version
        return wanted


_TOLD_ONCE = (CDS, EDS, LDS, RDS)
"""Types whose removal is told or remembered, so that the same bytes are never sent twice for nothing."""


class DeltaModel(ModelClient):
    """Checks on top that nothing is sent without a change, a question, or a cluster that needs it."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.told: dict[tuple[str, str], str] = {}

    def pump(self, after: float = 0.0) -> int:
        count = super().pump(after)
        for sent in list(self.queue)[len(self.queue) - count :]:
            for name, version in sent.versions.items():
                unchanged = self.told.get((sent.type_url, name)) == version
                assert not unchanged or self.rejections or sent.type_url not in _TOLD_ONCE, (sent.type_url, name)
                self.told[sent.type_url, name] = version
                if sent.type_url == CDS:
                    self.told.pop((EDS, name), None)
            for name in sent.removed:
                self.told.pop((sent.type_url, name), None)
        return count

    def update(
        self, type_url: TypeUrl, subscribe: Sequence[str] = (), unsubscribe: Sequence[str] = (), nonce: str = ""
    ) -> None:
        first = type_url not in self.types
        spoken_of = {*subscribe, *unsubscribe}
        for key in [key for key in self.told if key[0] == type_url and not spoken_of.isdisjoint((key[1], "*"))]:
            del self.told[key]
        holds = self.types.setdefault(type_url, Holds())
        if first and not subscribe and type_url in FULL_STATE:
            holds.wildcard = True
        holds.wildcard = (holds.wildcard or "*" in subscribe) and "*" not in unsubscribe
        holds.named |= set(subscribe) - {"*"}
        holds.named -= set(unsubscribe)
        if not holds.wildcard:
            holds.versions = {name: version for name, version in holds.versions.items() if name in holds.named}
        self.wire.request(
            type_url,
            resource_names_subscribe=subscribe,
            resource_names_unsubscribe=unsubscribe,
            response_nonce=nonce,
        )

    def reconnected(self, wire: Wire) -> DeltaModel:
        """A new stream that reports what is held, as Envoy does: the lone wildcard in its legacy form."""
        wire.now = self.wire.now
        new = DeltaModel(wire)
        new.poison, new.names_culprit = self.poison, self.names_culprit
        for type_url, old in self.types.items():
            new.types[type_url] = Holds(old.wildcard, set(old.named), versions=dict(old.versions))
            subscribe = [*(["*"] if old.wildcard else ()), *old.named]
            legacy = subscribe == ["*"] and type_url in FULL_STATE
            if subscribe:
                wire.request(
                    type_url,
                    resource_names_subscribe=[] if legacy else subscribe,
                    initial_resource_versions=old.versions,
                )
        new.types = {url: holds for url, holds in new.types.items() if holds.wildcard or holds.named}
        return new

    def _answer(self, type_url: TypeUrl, error: str | None = None) -> None:
        self.wire.request(type_url, response_nonce=self.types[type_url].nonce, error=error)


class SotwModel(ModelClient):
    def want(self, type_url: TypeUrl, wanted: Sequence[str]) -> None:
        """Ask for names; "*" is the wildcard, none the legacy one where nothing was ever named."""
        holds = self.types.setdefault(type_url, Holds())
        holds.ever_named = holds.ever_named or bool(wanted)
        legacy = not wanted and not holds.ever_named and type_url in FULL_STATE
        holds.wildcard = legacy or "*" in wanted
        holds.named = set(wanted) - {"*"}
        holds.versions = {name: version for name, version in holds.versions.items() if holds.wants(name)}
        self._answer(type_url)

    def reconnected(self, wire: Wire) -> SotwModel:
        wire.now = self.wire.now
        new = SotwModel(wire)
        new.poison, new.names_culprit = self.poison, self.names_culprit
        for type_url, old in self.types.items():
            new.types[type_url] = Holds(old.wildcard, set(old.named), old.ever_named, dict(old.versions))
            new._answer(type_url)
        return new

    def _answer(self, type_url: TypeUrl, error: str | None = None) -> None:
        holds = self.types[type_url]
        wildcard = ["*"] if holds.wildcard and holds.ever_named else []
        self.wire.request(
            type_url,
            resource_names=[*wildcard, *sorted(holds.named)],
            response_nonce=holds.nonce,
            error=error,
        )
