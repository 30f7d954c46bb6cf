"""Which other resources the resources of a proxy name: all of them must be there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.message import Message

from protos.envoy.config.cluster.v3_pb2 import Cluster
from protos.envoy.config.listener.v3_pb2 import Filter
from protos.envoy.config.route.v3_pb2 import RouteAction
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpFilter, Rds
from protos.envoy.extensions.filters.network.tcp_proxy.v3_pb2 import TcpProxy
from protos.envoy.extensions.transport_sockets.tls.v3_pb2 import SdsSecretConfig
from tests.unit.translators.conftest import parts
from xds.resource import TypeUrl

Reference = tuple[TypeUrl, str]


def references(roots: Iterable[Message]) -> set[Reference]:
    return {found for root in roots for part in parts(root) for found in _of(part)}


def _of(part: Message) -> Iterator[Reference]:
    match part:
        case RouteAction() | TcpProxy():
            if part.cluster:
                yield TypeUrl.CLUSTER, part.cluster
            for weighted in part.weighted_clusters.clusters:
                yield TypeUrl.CLUSTER, weighted.name
        case Rds():
            yield TypeUrl.ROUTE, part.route_config_name
        case Filter() | HttpFilter() if part.HasField("config_discovery"):
            yield TypeUrl.EXTENSION, part.name
        case SdsSecretConfig():
            yield TypeUrl.SECRET, part.name
        case Cluster() if part.type == Cluster.DiscoveryType.EDS:
            yield TypeUrl.ENDPOINT, part.eds_cluster_config.service_name or part.name
