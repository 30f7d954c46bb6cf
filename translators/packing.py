"""Small protobuf constructions that every translator needs.

Messages in capitals, here and in the other modules, are built once and never changed: whoever puts one into another
message copies it, which costs a tenth of building it again.
"""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.endpoint import v3_pb2 as endpoint

_TYPES = "type.googleapis.com/"
ADS = core.ConfigSource(ads=core.AggregatedConfigSource())
"""Ask for it on the one aggregated stream, whose version of the API it shares."""


def packed(message: Message) -> Any:
    """`message` as an Any, with deterministic bytes."""
    return Any(type_url=_TYPES + message.DESCRIPTOR.full_name, value=message.SerializeToString(deterministic=True))


def pack(message: Message, into: Any) -> None:
    """Make `into` hold `message`: for an Any that is a part of another message already."""
    into.type_url = _TYPES + message.DESCRIPTOR.full_name
    into.value = message.SerializeToString(deterministic=True)


def extension(name: str, message: Message) -> core.TypedExtensionConfig:
    """A named extension configuration."""
    made = core.TypedExtensionConfig(name=name)
    pack(message, made.typed_config)
    return made


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
