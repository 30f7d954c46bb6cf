"""A listener and a cluster like those a sidecar gets: HTTP, an access rule, and the mesh's traffic statistics."""

from __future__ import annotations

from google.protobuf.message import Message

from protos.envoy.config.accesslog.v3_pb2 import AccessLog
from protos.envoy.config.cluster.v3_pb2 import Cluster
from protos.envoy.config.listener.v3_pb2 import Filter, FilterChain, Listener
from protos.envoy.config.rbac.v3_pb2 import RBAC as RULES
from protos.envoy.config.rbac.v3_pb2 import Permission, Policy, Principal
from protos.envoy.config.route.v3_pb2 import Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost
from protos.envoy.extensions.access_loggers.stats.v3_pb2 import Config as StatsLog
from protos.envoy.extensions.filters.http.rbac.v3_pb2 import RBAC
from protos.envoy.extensions.filters.http.router.v3_pb2 import Router
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpConnectionManager, HttpFilter
from protos.envoy.type.v3_pb2 import Scope
from translators.packing import packed, single_endpoint, socket_address

SERVICE = "outbound/bookstore/bookstore/80"
FORBIDDEN_PATH = "/forbidden"


def service(listener_port: int, upstream_port: int) -> dict[str, list[tuple[str, Message]]]:
    """Resources by type URL: the service, listening on loopback, forwarding to loopback."""
    cluster = Cluster(
        name=SERVICE, type=Cluster.STATIC, load_assignment=single_endpoint(SERVICE, "127.0.0.1", upstream_port)
    )
    cluster.connect_timeout.FromSeconds(1)
    return {
        "type.googleapis.com/envoy.config.cluster.v3.Cluster": [(SERVICE, cluster)],
        "type.googleapis.com/envoy.config.listener.v3.Listener": [(SERVICE, _listener(listener_port))],
    }


def _listener(port: int) -> Listener:
    deny = RULES(action=RULES.DENY)
    deny.policies["forbidden"].CopyFrom(
        Policy(permissions=[_path_permission(FORBIDDEN_PATH)], principals=[Principal(any=True)])
    )
    manager = HttpConnectionManager(
        stat_prefix="outbound",
        route_config=RouteConfiguration(
            name=SERVICE,
            virtual_hosts=[
                VirtualHost(
                    name=SERVICE,
                    domains=["*"],
                    routes=[Route(match=RouteMatch(prefix="/"), route=RouteAction(cluster=SERVICE))],
                )
            ],
        ),
        http_filters=[
            HttpFilter(name="envoy.filters.http.rbac", typed_config=packed(RBAC(rules=deny))),
            HttpFilter(name="envoy.filters.http.router", typed_config=packed(Router())),
        ],
        access_log=[AccessLog(name="envoy.access_loggers.stats", typed_config=packed(_traffic_statistics()))],
    )
    http = Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))
    return Listener(
        name=SERVICE, address=socket_address("127.0.0.1", port), filter_chains=[FilterChain(filters=[http])]
    )


def _path_permission(path: str) -> Permission:
    permission = Permission()
    permission.url_path.path.exact = path
    return permission


def _traffic_statistics() -> StatsLog:
    tags = [
        StatsLog.Tag(name="destination_service", value_format="bookstore"),
        StatsLog.Tag(name="local_namespace", value_format="%ENVIRONMENT(TULLE_NS)%"),
        StatsLog.Tag(name="local_workload", value_format="%ENVIRONMENT(TULLE_WL)%"),
        StatsLog.Tag(name="response_code", value_format="%RESPONSE_CODE%"),
    ]
    return StatsLog(
        stats_scope=Scope(prefix="tulle"),
        counters=[
            StatsLog.Counter(stat=StatsLog.Stat(name="requests_total", tags=tags), value_fixed={"value": 1}),
        ],
        histograms=[
            StatsLog.Histogram(
                stat=StatsLog.Stat(name="request_duration_milliseconds", tags=tags),
                unit=StatsLog.Histogram.Milliseconds,
                value_format="%DURATION%",
            )
        ],
    )
