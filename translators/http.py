"""HTTP as a mesh must treat it to be invisible: no timeouts of its own, every old and new form of HTTP let through.

Envoy's defaults answer 504 after 15 s, 426 to HTTP/1.0, and 403 to WebSocket upgrades.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.wrappers_pb2 import UInt32Value

from protos.envoy.config.accesslog import v3_pb2 as accesslog
from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.listener import v3_pb2 as listener
from protos.envoy.config.route import v3_pb2 as route
from protos.envoy.extensions.filters.http.router import v3_pb2 as router
from protos.envoy.extensions.filters.network.http_connection_manager import v3_pb2 as hcm
from protos.envoy.extensions.retry.host.previous_hosts import v3_pb2 as previous_hosts
from protos.envoy.extensions.upstreams.http import v3_pb2 as upstream_http
from translators.packing import ADS, pack, packed, seconds

UPSTREAM_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_LIMITS = core.HttpProtocolOptions(max_headers_count=UInt32Value(value=1000))
"""Envoy's default refuses more than 100 headers, with 431 or 502; their size stays limited to 60 KiB."""
_MANAGER = hcm.HttpConnectionManager(
    common_http_protocol_options=_LIMITS,
    http_protocol_options=core.Http1ProtocolOptions(accept_http_10=True, enable_trailers=True),
    server_header_transformation=hcm.HttpConnectionManager.PASS_THROUGH,
    stream_idle_timeout=seconds(0),
    # Whether an upload is welcome is for the application to say, not for a sidecar.
    proxy_100_continue=True,
    upgrade_configs=[hcm.HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
    skip_xff_append=True,
)
"""What the connection managers of both directions share. What Envoy does by default is left out: it finds the HTTP
version by itself, believes X-Forwarded-For, and lets a request take its time to arrive.
"""
_OTHER_HOST_ATTEMPTS = 20
"""Draws of an endpoint that has not been tried yet, before one that has is taken. With few draws, one dead endpoint of
two failed 1 of 512 requests: the load balancer draws by lot.
"""
_ROUTER = hcm.HttpFilter(name="router", typed_config=packed(router.Router(suppress_envoy_headers=True)))


def connection_manager(
    *,
    stat_prefix: str,
    routes: str | route.RouteConfiguration,
    access_log: accesslog.AccessLog,
    filters: Sequence[hcm.HttpFilter] = (),
    authority: str = "",
) -> hcm.HttpConnectionManager:
    """The settings that both directions share. `routes`: the name of an RDS resource, or routes that never change.

    `authority` stands in for the Host header that HTTP/1.0 clients do not send.
    """
    manager = hcm.HttpConnectionManager()
    manager.CopyFrom(_MANAGER)
    manager.stat_prefix = stat_prefix
    manager.http_filters.extend([*filters, _ROUTER])
    manager.access_log.append(access_log)
    manager.http_protocol_options.default_host_for_http_10 = authority or "localhost"
    if isinstance(routes, str):
        manager.rds.config_source.CopyFrom(ADS)
        manager.rds.route_config_name = routes
    else:
        manager.route_config.CopyFrom(routes)
    return manager


def set_manager(chain: listener.FilterChain, manager: hcm.HttpConnectionManager) -> None:
    """Make the connection manager the last network filter of `chain`."""
    pack(manager, chain.filters.add(name="http").typed_config)


def unlimited(action: route.RouteAction) -> route.RouteAction:
    """`action` without a time limit: how long an answer may take is for the application to say."""
    action.timeout.CopyFrom(seconds(0))
    return action


def safe_retry() -> route.RetryPolicy:
    """Retries only what cannot have been processed: refused or reset before any byte of the request was used.

    A connection that fails is reset before the request, so it needs no name of its own.
    """
    return route.RetryPolicy(
        retry_on="refused-stream,reset-before-request",
        num_retries=UInt32Value(value=2),
        retry_host_predicate=[
            route.RetryPolicy.RetryHostPredicate(
                name="other",
                typed_config=packed(previous_hosts.PreviousHostsPredicate()),
            )
        ],
        host_selection_retry_max_attempts=_OTHER_HOST_ATTEMPTS,
    )


def stale_connection_retry() -> route.RetryPolicy:
    """For the way to the application: it may close an idle connection just as a request is put on it."""
    return route.RetryPolicy(retry_on="reset-before-request", num_retries=UInt32Value(value=2))


def upstream_options(http2: bool) -> upstream_http.HttpProtocolOptions:
    """HTTP/2 where it was declared; else whatever the client speaks goes on unchanged."""
    http1 = core.Http1ProtocolOptions(enable_trailers=True)
    options = upstream_http.HttpProtocolOptions(common_http_protocol_options=_LIMITS)
    if http2:
        options.explicit_http_config.http2_protocol_options.SetInParent()
    else:
        options.use_downstream_protocol_config.http_protocol_options.CopyFrom(http1)
        options.use_downstream_protocol_config.http2_protocol_options.SetInParent()
    return options
