"""Rules of a frontend -> HTTP routes and TCP routing."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.route import v3_pb2 as route
from protos.envoy.extensions.filters.network.tcp_proxy import v3_pb2 as tcp_proxy
from smi.model import Frontend, PortKey, Rule, WeightedPort
from smi.objects import HTTPMatch
from translators import names
from translators.http import safe_retry, unlimited
from translators.matching import header_matchers, path_regex
from translators.packing import extension, seconds
from translators.telemetry import outbound_tags, tcp_log

_NO_BACKEND = "tulle: no backend of this service can take traffic\n"


def route_configuration(frontend: Frontend) -> route.RouteConfiguration:
    """The routes of an HTTP frontend. The address decided the service, so any Host is taken."""
    return _single_host(names.outbound(frontend.key), [made for rule in frontend.rules for made in _routes(rule)])


def direct_routes(key: PortKey, cluster: str) -> route.RouteConfiguration:
    """Everything to one cluster: for clients that called an endpoint by its own address, which no split concerns."""
    action = unlimited(route.RouteAction(cluster=cluster))
    made = _single_host(names.outbound(key), [route.Route(match=route.RouteMatch(prefix="/"), route=action)])
    # Routes inside a listener are refused, and the listener with them, while their cluster still warms.
    made.validate_clusters.CopyFrom(BoolValue(value=False))
    return made


def tcp_routing(frontend: Frontend) -> core.TypedExtensionConfig:
    """Where connections to a TCP frontend go: by itself, so that a split changes no listener."""
    name = names.outbound(frontend.key)
    # Matches need HTTP: on a TCP port only the last rule, which has none, applies.
    proxy = tcp_to(frontend.rules[-1].backends, name)
    proxy.access_log.append(tcp_log(outbound_tags(frontend.key)))
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
    return tcp_proxy.TcpProxy(
        stat_prefix=stat_prefix,
        cluster=cluster,
        idle_timeout=seconds(0),
        max_connect_attempts=UInt32Value(value=3),
    )


def _single_host(name: str, routes: list[route.Route]) -> route.RouteConfiguration:
    return route.RouteConfiguration(
        name=name, virtual_hosts=[route.VirtualHost(name=name, domains=["*"], routes=routes)]
    )


def _routes(rule: Rule) -> list[route.Route]:
    if not rule.matches:
        return [_route(route.RouteMatch(prefix="/"), rule.backends)]
    return [_route(_route_match(match), rule.backends) for match in rule.matches]


def _route_match(match: HTTPMatch) -> route.RouteMatch:
    made = route.RouteMatch(headers=header_matchers(match))
    if match.path_regex:
        made.safe_regex.CopyFrom(path_regex(match.path_regex))
    else:
        made.prefix = "/"
    return made


def _route(match: route.RouteMatch, backends: tuple[WeightedPort, ...]) -> route.Route:
    if not backends:
        body = core.DataSource(inline_string=_NO_BACKEND)
        return route.Route(match=match, direct_response=route.DirectResponseAction(status=503, body=body))
    action = unlimited(route.RouteAction(retry_policy=safe_retry()))
    if len(backends) == 1:
        action.cluster = names.outbound(backends[0].key)
    else:
        action.weighted_clusters.clusters.extend(
            route.WeightedCluster.ClusterWeight(
                name=names.outbound(backend.key), weight=UInt32Value(value=backend.weight)
            )
            for backend in backends
        )
    return route.Route(match=match, route=action)
