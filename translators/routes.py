"""Rules of a frontend -> HTTP routes and TCP routing."""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.route import v3_pb2 as route
from protos.envoy.extensions.filters.network.tcp_proxy import v3_pb2 as tcp_proxy
from smi.model import Frontend, PortKey, WeightedPort
from smi.objects import HTTPMatch
from translators import names
from translators.http import safe_retry, unlimited
from translators.matching import header_matchers, path_regex
from translators.packing import extension, seconds
from translators.telemetry import outbound_tcp_log

ANY_HOST = "any"
ANY_REQUEST = route.RouteMatch(prefix="/")
_ACTION = unlimited(route.RouteAction(retry_policy=safe_retry()))
_TCP_PROXY = tcp_proxy.TcpProxy(idle_timeout=seconds(0), max_connect_attempts=UInt32Value(value=3))
_NO_BACKEND = "tulle: no backend of this service can take traffic\n"


def route_configuration(frontend: Frontend) -> route.RouteConfiguration:
    """The routes of an HTTP frontend. The address decided the service, so any Host is taken."""
    made = _single_host(names.outbound(frontend.key))
    routes = made.virtual_hosts[0].routes
    for rule in frontend.rules:
        for match in map(_route_match, rule.matches) if rule.matches else (ANY_REQUEST,):
            _set_backends(routes.add(match=match), rule.backends)
    return made


def direct_routes(key: PortKey, cluster: str) -> route.RouteConfiguration:
    """Everything to one cluster: for clients that called an endpoint by its own address, which no split concerns."""
    made = _single_host(names.outbound(key))
    made.virtual_hosts[0].routes.add(match=ANY_REQUEST, route=unlimited(route.RouteAction(cluster=cluster)))
    # Routes inside a listener are refused, and the listener with them, while their cluster still warms.
    made.validate_clusters.CopyFrom(BoolValue(value=False))
    return made


def tcp_routing(frontend: Frontend) -> core.TypedExtensionConfig:
    """Where connections to a TCP frontend go: by itself, so that a split changes no listener."""
    name = names.outbound(frontend.key)
    # Matches need HTTP: on a TCP port only the last rule, which has none, applies.
    proxy = tcp_to(frontend.rules[-1].backends, name)
    proxy.access_log.append(outbound_tcp_log(frontend.key))
    return extension(name, proxy)


def tcp_to(backends: tuple[WeightedPort, ...], stat_prefix: str) -> tcp_proxy.TcpProxy:
    """A TCP proxy to weighted backends; to none of them: connections are refused."""
    proxy = plain_tcp_proxy(stat_prefix)
    if not backends:
        proxy.cluster = names.BLACKHOLE_CLUSTER
    elif len(backends) == 1:
        proxy.cluster = names.outbound(backends[0].key)
    else:
        proxy.weighted_clusters.clusters.extend(
            tcp_proxy.TcpProxy.WeightedCluster.ClusterWeight(name=names.outbound(b.key), weight=b.weight)
            for b in backends
        )
    return proxy


def plain_tcp_proxy(stat_prefix: str, cluster: str = "") -> tcp_proxy.TcpProxy:
    """Bytes to `cluster`, for as long as both ends want: an idle database connection is none of the mesh's business."""
    proxy = tcp_proxy.TcpProxy()
    proxy.CopyFrom(_TCP_PROXY)
    proxy.stat_prefix = stat_prefix
    proxy.cluster = cluster
    return proxy


def _single_host(name: str) -> route.RouteConfiguration:
    made = route.RouteConfiguration(name=name)
    made.virtual_hosts.add(name=ANY_HOST, domains=["*"])
    return made


@lru_cache(maxsize=1024)
def _route_match(match: HTTPMatch) -> route.RouteMatch:
    """What `match` means. To be copied, not changed."""
    made = route.RouteMatch(headers=header_matchers(match))
    if match.path_regex:
        made.safe_regex.CopyFrom(path_regex(match.path_regex))
    else:
        made.prefix = "/"
    return made


def _set_backends(made: route.Route, backends: tuple[WeightedPort, ...]) -> None:
    if not backends:
        made.direct_response.status = 503
        made.direct_response.body.inline_string = _NO_BACKEND
        return
    made.route.CopyFrom(_ACTION)
    if len(backends) == 1:
        made.route.cluster = names.outbound(backends[0].key)
        return
    for backend in backends:
        weighted = made.route.weighted_clusters.clusters.add(name=names.outbound(backend.key))
        weighted.weight.value = backend.weight
