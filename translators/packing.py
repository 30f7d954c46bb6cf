"""Small protobuf constructions that every translator needs."""

from __future__ import annotations

import ipaddress

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from protos.envoy.config.core import v3_pb2 as core

ANY_ADDRESS = {4: "0.0.0.0", 6: "::"}


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
    """A TCP address."""
    return core.Address(socket_address=core.SocketAddress(address=address, port_value=port))


def ads() -> core.ConfigSource:
    """Ask for it on the one aggregated stream."""
    return core.ConfigSource(ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3)


def ip_version(address: str) -> int:
    """4 or 6."""
    return ipaddress.ip_address(address).version
