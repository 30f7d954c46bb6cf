"""All proxies of a mesh with what each is sent, and what no resource says: addresses, names, certificates.

`World.of(configuration, mesh)`, then `call` and `connect`. Of the mesh nothing is read but declared Services (what DNS
knows), Workloads (where they are and whose certificate they have; in explicit mode the ports that they call), and the
trust domain. Whatever decides about traffic comes from the resources.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

from deploy.configuration import Configuration
from protos.envoy.config.cluster.v3_pb2 import Cluster
from smi.index import Key, MeshIndex, MeshObjects
from smi.model import PortKey, WorkloadKey
from smi.objects import Workload
from tests.simulator.arrival import Sender, arrive
from tests.simulator.asked import Asked, headers_of, is_request, lines_of
from tests.simulator.calls import ONE, Call, Connection, End, Kind, Outcome, Reached, nowhere
from tests.simulator.clusters import NOTHING, Host, Place
from tests.simulator.http_manager import Manager
from tests.simulator.listeners import Chain, Greeting
from tests.simulator.paths import BadPathError
from tests.simulator.places import LOOPBACK, Places
from tests.simulator.proxy import Bytes, Proxy
from tests.simulator.routes import Weights
from tests.simulator.strictness import BrokenError, NotUnderstoodError


class Mesh(Protocol):
    """A mesh model that knows what was declared."""

    @property
    def objects(self) -> MeshIndex: ...


@dataclass(frozen=True, slots=True)
class _Sent:
    """What leaves an application: a request (`http`) or opaque bytes."""

    asked: Asked
    http: bool
    own_tls: bool


class World:
    """Proxies are read when a call first comes to them; what they are sent must not change after that."""

    def __init__(self, configuration: Configuration, objects: MeshIndex | MeshObjects) -> None:
        self._configuration = configuration
        self.places = Places(objects)
        self._workloads: Mapping[Key, Workload] = objects.workloads
        self._trust_domain = objects.config.trust_domain
        self._proxies: dict[WorkloadKey, Proxy] = {}

    @classmethod
    def of(cls, configuration: Configuration, mesh: Mesh | MeshIndex | MeshObjects) -> World:
        """`mesh`: the model, or the objects, that `configuration` was made from."""
        return cls(configuration, mesh if isinstance(mesh, MeshIndex | MeshObjects) else mesh.objects)

    def call(self, call: Call) -> Outcome:
        """What becomes of an HTTP request."""
        host = call.host or ".".join(reversed(call.service.split("/"))) or call.address
        path = call.path
        if path.startswith(("http://", "https://")):
            host, slash, rest = path.partition("://")[2].partition("/")
            path = slash + rest if slash else "/"
        asked = Asked(None, path, headers_of(call.method, host, call.headers), lines_of(call.headers))
        return self._send(call, _Sent(asked, http=True, own_tls=call.own_tls))

    def connect(self, connection: Connection) -> Outcome:
        """What becomes of a connection of opaque bytes."""
        return self._send(connection, _Sent(Asked(None), http=False, own_tls=connection.own_tls))

    def proxy(self, key: WorkloadKey) -> Proxy:
        """Raises KeyError for a workload without a sidecar."""
        if key not in self._proxies:
            account = self._workloads[key].service_account
            identity = f"spiffe://{self._trust_domain}/ns/{key.namespace}/sa/{account}"
            self._proxies[key] = Proxy(key, identity, self._configuration.of_proxy(key))
        return self._proxies[key]

    def _send(self, call: Connection, sent: _Sent) -> Outcome:
        if call.source is not None and call.source not in self._workloads:
            raise KeyError(call.source)
        source = self.proxy(call.source) if call.source in self._configuration.views else None
        if source is None:
            return self._plain(self.places.behind(call), call, sent)
        if source.virtual is None:
            if call.address:
                return self._plain([(call.address, call.port)], call, sent)
            local = self.places.local_port(call)
            if local is None:
                return nowhere(Kind.NO_BACKEND, 0, f"{call.source} has no upstream for {call.service}:{call.port}")
            return self._out(source, (LOOPBACK, local), call, sent)
        places = self.places.named(call)
        if not places:
            return nowhere(Kind.NO_BACKEND, 0, f"the name {call.service} has no address")
        return _united([self._out(source, each, call, sent) for each in places])

    def _plain(self, places: list[Place], call: Connection, sent: _Sent) -> Outcome:
        if not places:
            return nowhere(Kind.NO_BACKEND, 0, f"{call.service}:{call.port} has no endpoints")
        sender = Sender(own_tls=call.own_tls)
        ends = [(each, self._arrive(each, sender, sent)) for each in places]
        share = Fraction(1, len(ends))
        return Outcome({"plain": ONE}, tuple(Reached("plain", share, *each, end) for each, end in ends))

    def _out(self, source: Proxy, called: Place, call: Connection, sent: _Sent) -> Outcome:
        """Through the sidecar of `source`, whose application calls `called`."""
        virtual = source.virtual
        door = source.bound(called) if virtual is None else source.handed(called) or virtual
        if door is None:
            return nowhere(Kind.NO_BACKEND, 0, f"nothing listens at {called}")
        chain = door.chain(called[1], Greeting(call.own_tls))
        if chain is None or chain.mesh or chain.before:
            raise NotUnderstoodError(f"{door.name}: an outbound listener with conditions")
        if isinstance(chain.last, Manager):
            return self._request(source, chain, chain.last, called, sent)
        proxy = source.network_filter(chain.last)
        if not isinstance(proxy, Bytes):
            raise NotUnderstoodError(f"{door.name} ends with {proxy}")
        return self._reach(source, proxy.clusters, called, sent, broken=0)

    def _request(self, source: Proxy, chain: Chain, manager: Manager, called: Place, sent: _Sent) -> Outcome:
        asked = sent.asked
        if not sent.http or sent.own_tls:
            return nowhere(Kind.INVALID, 400, "not HTTP")
        if not is_request(asked):
            return nowhere(Kind.INVALID, 400, f"no request: {asked.headers[':method']} {asked.path}")
        if manager.rules:
            raise NotUnderstoodError(f"{chain.name}: rules on the client's side")
        try:
            asked = manager.normalised(asked)
        except BadPathError as bad:
            return nowhere(Kind.INVALID, 400, f"bad path: {bad}")
        way = source.routes(manager).way(asked)
        if way is None:
            return nowhere(Kind.NO_ROUTE, 404, f"no route for {asked.path}")
        if way.status:
            return nowhere(Kind.NO_BACKEND, way.status, "answered by the client's sidecar")
        return self._reach(source, way.clusters, called, replace(sent, asked=asked), broken=503)

    def _reach(self, source: Proxy, weights: Weights, called: Place, sent: _Sent, *, broken: int) -> Outcome:
        """To the endpoints of clusters. `broken`: what the client sees of a connection that is cut."""
        meant: dict[PortKey | str, Fraction] = defaultdict(Fraction)
        reached = []
        for name, weight in weights:
            if not weight:
                continue
            cluster = _port_key(name)
            meant[cluster] += weight
            hosts = self._hosts(source, name, called)
            if not hosts:
                end = End(Kind.NO_BACKEND, broken, f"{name} has no endpoints")
                reached.append(Reached(cluster, weight, "", 0, end))
            for host in hosts:
                end = self._arrive(host.place, Sender(source.identity, host.tls, sent.own_tls), sent)
                if not end.status and broken:
                    end = replace(end, status=broken)
                reached.append(Reached(cluster, weight / len(hosts), *host.place, end))
        return Outcome(dict(meant), tuple(reached))

    def _hosts(self, source: Proxy, name: str, called: Place) -> tuple[Host, ...]:
        plan = source.plan(name)
        if plan.kind == Cluster.ORIGINAL_DST:
            return (Host(called, plan.socket_of(NOTHING)),)
        return source.hosts(plan) if plan.kind == Cluster.EDS else plan.hosts

    def _arrive(self, to: Place, sender: Sender, sent: _Sent) -> End:
        here = self.places.at(to[0])
        doors = [(proxy, door) for proxy in self._proxies_of(here) if (door := proxy.bound(to))]
        doors = doors or [(proxy, door) for proxy in self._proxies_of(here) if (door := proxy.captured())]
        if len(doors) > 1:
            raise BrokenError(f"{' and '.join(str(proxy.key) for proxy, _ in doors)} are both at {to}")
        if doors:
            proxy, door = doors[0]
            return arrive(proxy, door, to, sender, sent.asked, http=sent.http)
        if not here:
            return End(Kind.PASSTHROUGH, 200 if sent.http else 0, "outside of the mesh")
        plain = [key for key in here if key not in self._configuration.views and self.places.serves(key, to[1])]
        if not plain:
            return End(Kind.NO_BACKEND, 0, f"nothing listens at {to}")
        if sender.tls is not None:
            return End(Kind.NO_BACKEND, 0, "mesh TLS meets somebody who does not speak it", plain[0])
        return End(Kind.ALLOWED, 200 if sent.http else 0, "no sidecar", plain[0], f"{to[0]}:{to[1]}")

    def _proxies_of(self, keys: list[WorkloadKey]) -> Iterator[Proxy]:
        return (self.proxy(key) for key in keys if key in self._configuration.views)


@lru_cache(maxsize=1 << 14)
def _port_key(cluster: str) -> PortKey | str:
    """The service port that a cluster stands for, by the names of DESIGN.md; others stay names."""
    words = cluster.split("/")
    return PortKey(words[1], words[2], int(words[3])) if words[0] == "outbound" else cluster


def _united(outcomes: list[Outcome]) -> Outcome:
    """Calls that go to several addresses in equal parts."""
    if len(outcomes) == 1:
        return outcomes[0]
    part = Fraction(1, len(outcomes))
    weights: dict[PortKey | str, Fraction] = defaultdict(Fraction)
    for outcome in outcomes:
        for cluster, weight in outcome.weights.items():
            weights[cluster] += weight * part
    reached = (replace(each, share=each.share * part) for outcome in outcomes for each in outcome.reached)
    return Outcome(dict(weights), tuple(reached))
