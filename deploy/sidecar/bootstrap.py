"""The Envoy bootstrap of a sidecar: a pure function from settings to protobuf and JSON.

In: BootstrapSettings. Out: envoy.config.bootstrap.v3.Bootstrap. Sources of the decisions: the Envoy v3 API
reference, and what Envoy 1.40 did when tried (DESIGN section 5). Fields that Envoy deprecates are not used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from ca.identity import SpiffeId
from deploy.sidecar.metrics_listener import admin_cluster, metrics_listener
from deploy.sidecar.stats import stats_config
from deploy.sidecar.xds_cluster import XDS_CLUSTER, xds_cluster
from protos.envoy.config.bootstrap.v3_pb2 import Bootstrap, ClusterManager, RuntimeLayer
from protos.envoy.config.core.v3_pb2 import (
    AggregatedConfigSource,
    ApiConfigSource,
    ApiVersion,
    BindConfig,
    ConfigSource,
    GrpcService,
    Node,
    SocketOption,
)
from protos.envoy.config.overload.v3_pb2 import OverloadManager, ResourceMonitor
from protos.envoy.extensions.resource_monitors.downstream_connections.v3_pb2 import (
    DownstreamConnectionsConfig,
)
from translators.packing import packed, socket_address

Capture = Literal["explicit", "transparent"]

MAX_PROGRAM_SIZE = 16_384
"""Of a regular expression compiled by RE2. Envoy's own 100 refuses `/a{100}`, and with it all routes of a port; what
people write is checked against a smaller limit before it is sent."""

_SOL_SOCKET, _SO_MARK = 1, 36  # Linux, asm-generic/socket.h; Envoy wants the numbers


@dataclass(frozen=True, slots=True)
class BootstrapSettings:
    """All that differs between two sidecars' bootstraps.

    `trust_file`, and `token_file` or `client_file`, are SDS files (see `deploy.sidecar.join`); Envoy watches their
    directory and follows replacement by rename. `xds_port` is the one that takes what it is to show there. `mark` is
    the SO_MARK of upstream connections, None for none.
    `max_connections` counts the downstream connections of all listeners but the metrics listener.
    """

    namespace: str
    workload: str
    control_plane: SpiffeId
    xds_host: str
    xds_port: int
    trust_file: str
    admin_port: int
    metrics_port: int
    token_file: str | None = None
    client_file: str | None = None
    metrics_host: str = "127.0.0.1"
    service_account: str | None = None
    capture: Capture = "explicit"
    mark: int | None = None
    max_connections: int = 50_000

    @property
    def node_id(self) -> str:
        return f"{self.namespace}/{self.workload}"


def bootstrap(settings: BootstrapSettings) -> Bootstrap:
    """The bootstrap: node, ADS, the xDS cluster, the metrics listener, statistics, limits."""
    result = Bootstrap(
        node=_node(settings),
        dynamic_resources=_dynamic_resources(),
        static_resources=Bootstrap.StaticResources(
            listeners=[metrics_listener(settings.metrics_host, settings.metrics_port)],
            clusters=[
                xds_cluster(
                    settings.xds_host,
                    settings.xds_port,
                    settings.control_plane,
                    settings.token_file,
                    settings.trust_file,
                    settings.client_file,
                ),
                admin_cluster(settings.admin_port),
            ],
        ),
        stats_config=stats_config(settings.namespace, settings.workload),
        overload_manager=_overload_manager(settings.max_connections),
    )
    result.admin.address.CopyFrom(socket_address("127.0.0.1", settings.admin_port))
    result.admin.ignore_global_conn_limit = True
    result.layered_runtime.layers.extend(runtime_layers())
    if settings.mark is not None:
        result.cluster_manager.CopyFrom(_marked_upstreams(settings.mark))
    return result


def runtime_layers() -> list[RuntimeLayer]:
    """Settings that Envoy reads at run time. The empty admin layer lets a person change them while debugging."""
    limits = RuntimeLayer(name="limits")
    limits.static_layer.update({"re2.max_program_size.error_level": MAX_PROGRAM_SIZE})
    return [limits, RuntimeLayer(name="admin", admin_layer=RuntimeLayer.AdminLayer())]


def to_json(message: Bootstrap) -> str:
    """`message` as JSON with proto field names and sorted keys: the same bytes for the same settings."""
    fields = MessageToDict(message, preserving_proto_field_name=True)
    return json.dumps(fields, indent=2, sort_keys=True) + "\n"


def _node(settings: BootstrapSettings) -> Node:
    cluster = f"{settings.namespace}/{settings.service_account}" if settings.service_account else settings.node_id
    node = Node(id=settings.node_id, cluster=cluster)
    node.metadata.update({"tulle": {"capture": settings.capture}})
    return node


def _dynamic_resources() -> Bootstrap.DynamicResources:
    grpc = GrpcService(envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=XDS_CLUSTER))
    # Envoy's default goes from 0.5 s to 30 s: too long a wait after a restart of the control plane.
    backoff = grpc.envoy_grpc.retry_policy.retry_back_off
    backoff.base_interval.FromMilliseconds(200)
    backoff.max_interval.FromSeconds(5)
    # Zero waits for ever: a sidecar without configuration must not report itself ready.
    ads = ConfigSource(
        ads=AggregatedConfigSource(),
        resource_api_version=ApiVersion.V3,
        initial_fetch_timeout=Duration(seconds=0),
    )
    return Bootstrap.DynamicResources(
        ads_config=ApiConfigSource(
            api_type=ApiConfigSource.DELTA_GRPC,
            transport_api_version=ApiVersion.V3,
            set_node_on_first_message_only=True,
            grpc_services=[grpc],
        ),
        cds_config=ads,
        lds_config=ads,
    )


def _overload_manager(max_connections: int) -> OverloadManager:
    monitor = DownstreamConnectionsConfig(max_active_downstream_connections=max_connections)
    return OverloadManager(
        resource_monitors=[
            ResourceMonitor(
                name="envoy.resource_monitors.global_downstream_max_connections", typed_config=packed(monitor)
            )
        ]
    )


def _marked_upstreams(mark: int) -> ClusterManager:
    """Every upstream connection carries `mark`, by which the redirect knows Envoy; a cluster's own bind
    settings win.
    """
    option = SocketOption(
        description="exempt from the transparent redirect",
        level=_SOL_SOCKET,
        name=_SO_MARK,
        int_value=mark,
        state=SocketOption.STATE_PREBIND,
    )
    return ClusterManager(upstream_bind_config=BindConfig(socket_options=[option]))
