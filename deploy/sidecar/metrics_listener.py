"""The metrics port of a sidecar: the one part of Envoy's admin interface that others may see.

In: the ports. Out: a static listener that answers GET of the metrics and of readiness by asking the admin
interface through a static cluster, and 404 to all else. The admin interface itself can stop Envoy and dump
its keys' metadata, so it is bound to loopback and never routed to by any other path.
"""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from protos.envoy.config.cluster.v3_pb2 import Cluster
from protos.envoy.config.listener.v3_pb2 import Filter, FilterChain, Listener
from protos.envoy.config.route.v3_pb2 import (
    DirectResponseAction,
    HeaderMatcher,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from protos.envoy.extensions.filters.http.router.v3_pb2 import Router
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import (
    HttpConnectionManager,
    HttpFilter,
)
from protos.envoy.type.matcher.v3_pb2 import StringMatcher
from translators.packing import packed, single_endpoint, socket_address

ADMIN_CLUSTER = "tulle_admin"
METRICS_LISTENER = "tulle_metrics"
METRICS_STAT_PREFIX = "metrics"

_SERVED = {"/metrics": "/stats/prometheus", "/stats/prometheus": "/stats/prometheus", "/ready": "/ready"}
_BUFFER_BYTES = 64 * 1024


def admin_cluster(admin_port: int) -> Cluster:
    """The cluster that leads to Envoy's own admin interface on loopback."""
    return Cluster(
        name=ADMIN_CLUSTER,
        type=Cluster.STATIC,
        connect_timeout=Duration(seconds=1),
        per_connection_buffer_limit_bytes=UInt32Value(value=_BUFFER_BYTES),
        load_assignment=single_endpoint(ADMIN_CLUSTER, "127.0.0.1", admin_port),
    )


def metrics_listener(host: str, port: int) -> Listener:
    """The listener of the metrics port on `host`:`port`; it answers even when the connection limit is
    reached.
    """
    manager = HttpConnectionManager(
        stat_prefix=METRICS_LISTENER,
        route_config=RouteConfiguration(
            name=METRICS_LISTENER,
            virtual_hosts=[VirtualHost(name=METRICS_LISTENER, domains=["*"], routes=[*_served_routes(), _refusal()])],
        ),
        http_filters=[HttpFilter(name="envoy.filters.http.router", typed_config=packed(Router()))],
        request_headers_timeout=Duration(seconds=5),
    )
    manager.common_http_protocol_options.idle_timeout.FromSeconds(300)
    network_filter = Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))
    return Listener(
        name=METRICS_LISTENER,
        stat_prefix=METRICS_STAT_PREFIX,
        address=socket_address(host, port),
        per_connection_buffer_limit_bytes=UInt32Value(value=_BUFFER_BYTES),
        ignore_global_conn_limit=True,
        # Shared ports would let two sidecars with the same metrics port take turns answering.
        enable_reuse_port=BoolValue(value=False),
        bypass_overload_manager=True,
        filter_chains=[FilterChain(filters=[network_filter])],
    )


def _served_routes() -> list[Route]:
    get = HeaderMatcher(name=":method", string_match=StringMatcher(exact="GET"))
    return [
        Route(
            match=RouteMatch(path=path, headers=[get]),
            route=RouteAction(cluster=ADMIN_CLUSTER, prefix_rewrite=target),
        )
        for path, target in _SERVED.items()
    ]


def _refusal() -> Route:
    return Route(match=RouteMatch(prefix="/"), direct_response=DirectResponseAction(status=404))
