"""Small protobuf constructions that every translator needs."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.endpoint import v3_pb2 as endpoint


def packed(message: Message) -> Any:
    """`message` as an Any, with deterministic bytes."""
    wrapped = Any()
    wrapped.Pack(message, deterministic=True)
    return wrapped


def extension(name: str, message: Message) -> core.TypedExtensionConfig:
    """A named extension configuration."""
    return core.TypedExtensionConfig(name=name, typed_config=packed(message))


def seconds(value: float) -> Duration:
    """A Duration of `value` seconds, exact to the millisecond."""
    milliseconds = round(value * 1000)
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def socket_address(address: str, port: int) -> core.Address:
    """A TCP address; a name in place of an IP address only where Envoy resolves names."""
    return core.Address(socket_address=core.SocketAddress(address=address, port_value=port))


def single_endpoint(cluster: str, address: str, port: int) -> endpoint.ClusterLoadAssignment:
    """The load assignment of a cluster with one endpoint."""
    host = endpoint.LbEndpoint(endpoint=endpoint.Endpoint(address=socket_address(address, port)))
    return endpoint.ClusterLoadAssignment(
        cluster_name=cluster, endpoints=[endpoint.LocalityLbEndpoints(lb_endpoints=[host])]
    )


def ads() -> core.ConfigSource:
    """Ask for it on the one aggregated stream."""
    return core.ConfigSource(ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3)
