"""What upb encodes, envoy-data-plane decodes to the same values, and the other way round."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from protos.envoy.config.accesslog import v3_pb2 as accesslog
from protos.envoy.config.cluster import v3_pb2 as cluster
from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.listener import v3_pb2 as listener
from protos.envoy.config.rbac import v3_pb2 as rbac
from protos.envoy.config.route import v3_pb2 as route
from protos.envoy.extensions.access_loggers.file import v3_pb2 as file_log
from protos.envoy.extensions.filters.http.rbac import v3_pb2 as http_rbac
from protos.envoy.extensions.filters.http.router import v3_pb2 as router
from protos.envoy.extensions.filters.network.http_connection_manager import v3_pb2 as hcm
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls
from protos.envoy.extensions.upstreams.http import v3_pb2 as upstream_http
from protos.envoy.service.discovery import v3_pb2 as discovery
from protos.envoy.type import v3_pb2 as envoy_type
from protos.envoy.type.matcher import v3_pb2 as matcher


def packed(message: Message) -> AnyMessage:
    wrapped = AnyMessage()
    wrapped.Pack(message)
    return wrapped


ADS = core.ConfigSource(ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3)
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def eds_cluster() -> cluster.Cluster:
    context = tls.UpstreamTlsContext(
        sni="bookstore",
        common_tls_context=tls.CommonTlsContext(
            alpn_protocols=["tulle"],
            tls_params=tls.TlsParameters(tls_minimum_protocol_version=tls.TlsParameters.TLSv1_3),
            tls_certificate_sds_secret_configs=[tls.SdsSecretConfig(name="identity", sds_config=ADS)],
        ),
    )
    match = cluster.Cluster.TransportSocketMatch(
        name="mesh",
        transport_socket=core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context)),
    )
    match.match.update({"mesh": True, "port": 8080})
    options = upstream_http.HttpProtocolOptions()
    options.use_downstream_protocol_config.http2_protocol_options.max_concurrent_streams.value = 100
    return cluster.Cluster(
        name="outbound/bookstore/bookstore/80",
        type=cluster.Cluster.EDS,
        eds_cluster_config=cluster.Cluster.EdsClusterConfig(eds_config=ADS, service_name="bookstore"),
        connect_timeout=Duration(seconds=1, nanos=500_000_000),
        per_connection_buffer_limit_bytes=UInt32Value(value=0),
        ignore_health_on_host_removal=True,
        transport_socket_matches=[match],
        typed_extension_protocol_options={HTTP_OPTIONS: packed(options)},
    )


def http_listener() -> listener.Listener:
    manager = hcm.HttpConnectionManager(
        stat_prefix="inbound",
        rds=hcm.Rds(config_source=ADS, route_config_name="inbound/c0ffee/80"),
        normalize_path=BoolValue(value=True),
        forward_client_cert_details=hcm.HttpConnectionManager.SANITIZE_SET,
        http_filters=[hcm.HttpFilter(name="router", typed_config=packed(router.Router()))],
        access_log=[accesslog.AccessLog(name="file", typed_config=packed(file_log.FileAccessLog(path="/dev/stdout")))],
    )
    filters = [listener.Filter(name="hcm", typed_config=packed(manager))]
    address = core.Address(socket_address=core.SocketAddress(address="10.0.0.1", port_value=80))
    chain_match = listener.FilterChainMatch(
        destination_port=UInt32Value(value=80),
        application_protocols=["tulle"],
        source_type=listener.FilterChainMatch.EXTERNAL,
    )
    return listener.Listener(
        name="inbound/c0ffee",
        address=address,
        bind_to_port=BoolValue(value=False),
        traffic_direction=core.INBOUND,
        filter_chains=[listener.FilterChain(filter_chain_match=chain_match, filters=filters)],
    )


def guarded_routes() -> route.RouteConfiguration:
    name = matcher.StringMatcher(exact="spiffe://cluster.local/ns/a/sa/b")
    policy = rbac.Policy(
        permissions=[rbac.Permission(destination_port_range=envoy_type.Int32Range(start=80, end=81))],
        principals=[rbac.Principal(authenticated=rbac.Principal.Authenticated(principal_name=name))],
    )
    rules = rbac.RBAC(action=rbac.RBAC.ALLOW, policies={"target": policy})
    per_route = http_rbac.RBACPerRoute(rbac=http_rbac.RBAC(rules=rules))
    weights = route.WeightedCluster(
        clusters=[route.WeightedCluster.ClusterWeight(name="v1", weight=UInt32Value(value=0))]
    )
    action = route.RouteAction(weighted_clusters=weights, timeout=Duration())
    return route.RouteConfiguration(
        name="inbound/c0ffee/80",
        virtual_hosts=[
            route.VirtualHost(
                name="all",
                domains=["*"],
                routes=[route.Route(match=route.RouteMatch(prefix="/"), route=action)],
                typed_per_filter_config={"envoy.filters.http.rbac": packed(per_route)},
            )
        ],
    )


def delta_response() -> discovery.DeltaDiscoveryResponse:
    resource = discovery.Resource(name="outbound/bookstore/bookstore/80", version="1", resource=packed(eds_cluster()))
    return discovery.DeltaDiscoveryResponse(
        type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster",
        nonce="n1",
        resources=[resource],
        removed_resources=["outbound/gone/gone/80"],
    )


@pytest.mark.parametrize("build", [eds_cluster, http_listener, guarded_routes, delta_response])
def test_both_ways(build: Callable[[], Message], typed_class: Callable[[str], Any]) -> None:
    ours = build()
    theirs = typed_class(ours.DESCRIPTOR.full_name).parse(ours.SerializeToString())
    assert type(ours).FromString(bytes(theirs)) == ours


def test_cluster_values(typed_class: Callable[[str], Any]) -> None:
    decoded = typed_class("envoy.config.cluster.v3.Cluster").parse(eds_cluster().SerializeToString())
    assert decoded.name == "outbound/bookstore/bookstore/80"
    assert decoded.type.name == "EDS"
    assert decoded.eds_cluster_config.eds_config.ads is not None
    assert decoded.connect_timeout == timedelta(seconds=1.5)
    assert decoded.per_connection_buffer_limit_bytes == 0  # set to zero, not absent
    assert decoded.max_requests_per_connection is None
    assert decoded.ignore_health_on_host_removal is True
    (match,) = decoded.transport_socket_matches
    assert match.transport_socket.typed_config.type_url.endswith(".tls.v3.UpstreamTlsContext")
    context = typed_class("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext").parse(
        match.transport_socket.typed_config.value
    )
    assert context.common_tls_context.tls_params.tls_minimum_protocol_version.name == "TLSv1_3"
    assert list(decoded.typed_extension_protocol_options) == [HTTP_OPTIONS]


def test_policy_values(typed_class: Callable[[str], Any]) -> None:
    decoded = typed_class("envoy.config.route.v3.RouteConfiguration").parse(guarded_routes().SerializeToString())
    host = decoded.virtual_hosts[0]
    assert host.routes[0].route.timeout == timedelta(0)
    assert host.routes[0].route.weighted_clusters.clusters[0].weight == 0
    packed_rules = host.typed_per_filter_config["envoy.filters.http.rbac"]
    per_route = typed_class("envoy.extensions.filters.http.rbac.v3.RBACPerRoute").parse(packed_rules.value)
    policy = per_route.rbac.rules.policies["target"]
    assert policy.permissions[0].destination_port_range.end == 81
    assert policy.principals[0].authenticated.principal_name.exact == "spiffe://cluster.local/ns/a/sa/b"


def test_type_urls_are_envoys() -> None:
    assert packed(cluster.Cluster()).type_url == "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    resource = delta_response().resources[0].resource
    assert resource.Is(cluster.Cluster.DESCRIPTOR)
