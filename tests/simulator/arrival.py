"""What happens to a call where it arrives: the server's sidecar, or no sidecar at all."""

from __future__ import annotations

from dataclasses import dataclass, replace

from protos.envoy.config.cluster.v3_pb2 import Cluster
from tests.simulator.asked import Asked
from tests.simulator.calls import End, Kind
from tests.simulator.clusters import Place, Tls
from tests.simulator.http_manager import Manager
from tests.simulator.listeners import Chain, Door, Greeting
from tests.simulator.paths import BadPathError
from tests.simulator.proxy import Bytes, Connections, Gated, Proxy
from tests.simulator.strictness import BrokenError, NotUnderstoodError


@dataclass(frozen=True, slots=True)
class Sender:
    """Who connects: with mesh TLS (`tls`) and a certificate of `identity`, with a TLS of its own, or in plaintext."""

    identity: str = ""
    tls: Tls | None = None
    own_tls: bool = False

    @property
    def greeting(self) -> Greeting:
        return Greeting(self.tls is not None or self.own_tls, self.tls.alpn if self.tls else ())


def arrive(proxy: Proxy, door: Door, place: Place, sender: Sender, asked: Asked, *, http: bool) -> End:
    """How a call ends that comes in by `door`, meant for `place`. `http`: it is a request; otherwise opaque bytes."""
    chain = door.chain(place[1], sender.greeting)
    if chain is None:
        return _end(proxy, Kind.DENIED, 0, "no filter chain takes such a connection")
    failure = _handshake(proxy, chain, sender)
    if failure is not None:
        return failure
    asked = replace(asked, caller=sender.identity if chain.mesh else None, port=place[1])
    if isinstance(chain.last, Manager):
        if not http or sender.own_tls:
            return _end(proxy, Kind.INVALID, 400, "not HTTP")
        return _request(proxy, chain, chain.last, place, asked)
    return _bytes(proxy, chain, place, asked, 200 if http else 0)


def _handshake(proxy: Proxy, chain: Chain, sender: Sender) -> End | None:
    """How the call ends if both sides do not agree on TLS."""
    if not chain.mesh:
        return None if sender.tls is None else _end(proxy, Kind.NO_BACKEND, 0, "mesh TLS meets who does not speak it")
    if sender.tls is None:
        return _end(proxy, Kind.DENIED, 0, "no certificate of the mesh")
    if proxy.identity not in sender.tls.believed:
        return _end(proxy, Kind.NO_BACKEND, 0, f"the client does not believe {proxy.identity}")
    return None


def _request(proxy: Proxy, chain: Chain, manager: Manager, place: Place, asked: Asked) -> End:
    if chain.before:
        raise NotUnderstoodError(f"network filters before HTTP in {chain.name}")
    try:
        seen = manager.normalised(asked)
    except BadPathError as bad:
        return _end(proxy, Kind.INVALID, 400, f"bad path: {bad}")
    routes = proxy.routes(manager)
    way = routes.way(seen)
    for name, cleaning in manager.cleaning:
        seen = cleaning.applied(seen)
        if way is not None and name in routes.cleaning:
            seen = routes.cleaning[name].applied(seen)
    seen = manager.shadowed(seen)
    for name, base in manager.rules:
        rules = routes.rules.get(name, base) if way is not None else base
        if rules is not None and not rules(seen):
            return _end(proxy, Kind.DENIED, 403, f"no rule allows {seen.path}")
    if way is None:
        return _end(proxy, Kind.NO_ROUTE, 404)
    if way.status:
        return _end(proxy, Kind.NO_BACKEND, way.status)
    [(cluster, _)] = way.clusters
    return _end(proxy, Kind.ALLOWED, 200, application=_application(proxy, cluster, _text(place)))


def _bytes(proxy: Proxy, chain: Chain, place: Place, asked: Asked, answered: int) -> End:
    *before, last = [proxy.network_filter(each) for each in (*chain.before, chain.last)]  # type: ignore[arg-type]
    if not isinstance(last, Bytes):
        raise NotUnderstoodError(f"{chain.name} ends with {last}")
    [(cluster, _)] = last.clusters
    if proxy.plan(cluster).kind == Cluster.STATIC and not proxy.plan(cluster).hosts:
        return _end(proxy, Kind.DENIED, 0, f"{cluster} leads nowhere")
    address, gates, verdicts = _text(place), 0, []
    for each in before:
        if isinstance(each, Gated):
            gates += 1
            address = each.address(asked, address)
        elif isinstance(each, Connections):
            verdicts.append(each.allowed(asked))
        else:
            raise NotUnderstoodError(f"{each} in the middle of {chain.name}")
    if gates and not last.patient:
        raise BrokenError(f"{chain.name}: its TCP proxy does not wait for its gate")
    opened, allowed = not address.endswith(":0"), all(verdicts)
    if gates and opened != allowed:
        raise BrokenError(f"{chain.name}: gate and rules disagree on {asked}")
    if not (opened and allowed):
        return _end(proxy, Kind.DENIED, 0, "no rule allows this connection")
    return _end(proxy, Kind.ALLOWED, answered, application=_application(proxy, cluster, address))


def _application(proxy: Proxy, cluster: str, called: str) -> str:
    """Where the sidecar finds its application, for a call that was meant for `called`."""
    plan = proxy.plan(cluster)
    if plan.sockets[-1][1] is not None:
        raise NotUnderstoodError(f"TLS to an application by {cluster}")
    if plan.kind == Cluster.ORIGINAL_DST:
        return called
    [host] = plan.hosts
    return _text(host.place)


def _text(place: Place) -> str:
    address, port = place
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _end(proxy: Proxy, kind: Kind, status: int, why: str = "", application: str = "") -> End:
    return End(kind, status, why, proxy.key, application)
