"""Small Envoy messages that several parts of the bootstrap are built of."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from protos.envoy.config.core.v3_pb2 import Address, SocketAddress
from protos.envoy.config.endpoint.v3_pb2 import ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints


def packed(message: Message) -> Any:
    """`message` inside an Any, in deterministic bytes."""
    wrapped = Any()
    wrapped.Pack(message, deterministic=True)
    return wrapped


def socket_address(host: str, port: int) -> Address:
    """A TCP address; `host` is an IP address or, where Envoy resolves names, a name."""
    return Address(socket_address=SocketAddress(address=host, port_value=port))


def single_endpoint(cluster: str, host: str, port: int) -> ClusterLoadAssignment:
    """The load assignment of a cluster with one endpoint."""
    endpoint = LbEndpoint(endpoint=Endpoint(address=socket_address(host, port)))
    return ClusterLoadAssignment(cluster_name=cluster, endpoints=[LocalityLbEndpoints(lb_endpoints=[endpoint])])
