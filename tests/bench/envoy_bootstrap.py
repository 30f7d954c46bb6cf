"""Bootstraps of benchmarked Envoys: a sidecar's own one, less the watched files; and that of a bare application.

Every directory that Envoy watches costs an inotify instance, of which a user has 128: thirty sidecars would take
most of them from all else on this machine. So what a sidecar reads from files is written into the bootstrap here.
"""

from __future__ import annotations

from collections.abc import Mapping

from ca.identity import control_plane_id
from deploy.sidecar.bootstrap import BootstrapSettings, Capture, bootstrap, runtime_layers
from deploy.sidecar.join import JoinMaterial
from deploy.sidecar.xds_cluster import XDS_CLUSTER, xds_cluster
from protos.envoy.config.bootstrap.v3_pb2 import Bootstrap
from protos.envoy.config.cluster.v3_pb2 import Cluster
from protos.envoy.config.core.v3_pb2 import DataSource, HeaderValue
from protos.envoy.config.listener.v3_pb2 import Filter, FilterChain, Listener
from protos.envoy.config.route.v3_pb2 import (
    DirectResponseAction,
    Route,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from protos.envoy.extensions.filters.http.router.v3_pb2 import Router
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpConnectionManager, HttpFilter
from protos.envoy.extensions.transport_sockets.tls.v3_pb2 import UpstreamTlsContext
from protos.envoy.extensions.upstreams.http.v3_pb2 import HttpProtocolOptions
from smi.model import WorkloadKey
from tests.bench.envoy_plane import DOMAIN
from translators.packing import packed, socket_address

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def sidecar(
    key: WorkloadKey, material: JoinMaterial, xds_port: int, admin_port: int, metrics_port: int, capture: Capture
) -> Bootstrap:
    """The bootstrap of the sidecar of `key`, with token and trust in it."""
    made = bootstrap(
        BootstrapSettings(
            namespace=key.namespace,
            workload=key.name,
            control_plane=control_plane_id(DOMAIN),
            xds_host="127.0.0.1",
            xds_port=xds_port,
            token_file="-",
            trust_file="-",
            admin_port=admin_port,
            metrics_port=metrics_port,
            capture=capture,
        )
    )
    [cluster] = [each for each in made.static_resources.clusters if each.name == XDS_CLUSTER]
    cluster.CopyFrom(control_plane_cluster(XDS_CLUSTER, xds_port, material.bundle))
    [grpc] = made.dynamic_resources.ads_config.grpc_services
    grpc.initial_metadata.append(HeaderValue(key="authorization", value=f"Bearer {material.token}"))
    return made


def control_plane_cluster(name: str, port: int, bundle: str) -> Cluster:
    """A sidecar's cluster to a control plane on loopback, with the roots in `bundle` and without a token."""
    cluster = xds_cluster("127.0.0.1", port, control_plane_id(DOMAIN), "-", "-")
    cluster.name = cluster.load_assignment.cluster_name = name
    tls = UpstreamTlsContext.FromString(cluster.transport_socket.typed_config.value)
    common = tls.common_tls_context
    trust = common.combined_validation_context.default_validation_context
    trust.trusted_ca.inline_string = bundle
    # Through a copy: setting the one empties the other, in which `trust` lies.
    common.validation_context.CopyFrom(type(trust).FromString(trust.SerializeToString()))
    cluster.transport_socket.typed_config.CopyFrom(packed(tls))
    options = HttpProtocolOptions.FromString(cluster.typed_extension_protocol_options[_HTTP_OPTIONS].value)
    del options.http_filters[:]
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(packed(options))
    return cluster


def application(answers: Mapping[int, str], admin_port: int) -> Bootstrap:
    """An application that answers `answers[port]` on each port of loopback."""
    made = Bootstrap()
    made.admin.address.CopyFrom(socket_address("127.0.0.1", admin_port))
    made.layered_runtime.layers.extend(runtime_layers())
    made.static_resources.listeners.extend(_answering(port, text) for port, text in answers.items())
    return made


def http_listener(name: str, port: int, manager: HttpConnectionManager) -> Listener:
    """A static HTTP listener on loopback. `manager` is given its router."""
    manager.http_filters.append(HttpFilter(name="envoy.filters.http.router", typed_config=packed(Router())))
    http = Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))
    return Listener(name=name, address=socket_address("127.0.0.1", port), filter_chains=[FilterChain(filters=[http])])


def _answering(port: int, text: str) -> Listener:
    answer = DirectResponseAction(status=200, body=DataSource(inline_string=text))
    route = Route(match=RouteMatch(prefix="/"), direct_response=answer)
    routes = RouteConfiguration(virtual_hosts=[VirtualHost(name="all", domains=["*"], routes=[route])])
    return http_listener(f"answers-{port}", port, HttpConnectionManager(stat_prefix="answers", route_config=routes))
