"""Delta xDS as bytes: the head of a response, and requests that are joined from parts made once.

Simulated proxies share two cores with the server they measure, so in the steady state they parse nothing but this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protos.envoy.config.core.v3_pb2 import Node
from xds.framing import field

_TYPE_URL = 0x22
_NONCE = 0x2A
EXTENSIONS = 516
"""Envoy 1.40 lists this many with its node, about 61 kB in all: in the first request of a stream, and with
`set_node_on_first_message_only`, as our bootstrap has it, in no other (seen with the real one)."""


def read_head(data: bytes) -> tuple[bytes, bytes]:
    """Type URL and nonce of a ``DeltaDiscoveryResponse``; quick where they come first."""
    type_url = nonce = b""
    at = 0
    while at < len(data) and not (type_url and nonce):
        tag = data[at]
        size, at = _varint(data, at + 1)
        if tag == _TYPE_URL:
            type_url = data[at : at + size]
        elif tag == _NONCE:
            nonce = data[at : at + size]
        at += size
    return type_url, nonce


def read_request(data: bytes) -> tuple[bytes, bool]:
    """Type URL of a request of a simulated proxy, and whether it answers a response: its nonce follows the type."""
    at = 0
    while at < len(data):
        tag = data[at]
        size, at = _varint(data, at + 1)
        if tag == 0x12:
            end = at + size
            return data[at:end], data[end : end + 1] == b"\x32"
        at += size
    raise ValueError("a request without a type")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := data[at]) & 0x80:
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    return value | byte << shift, at + 1


def type_field(type_url: str) -> bytes:
    return field(b"\x12", type_url.encode())


def nonce_field(nonce: bytes) -> bytes:
    return field(b"\x32", nonce)


def subscribe_fields(names: Iterable[str]) -> bytes:
    return b"".join(field(b"\x1a", name.encode()) for name in names)


def unsubscribe_fields(names: Iterable[str]) -> bytes:
    return b"".join(field(b"\x22", name.encode()) for name in names)


def version_fields(versions: Mapping[str, str]) -> bytes:
    """``initial_resource_versions``."""
    return b"".join(
        field(b"\x2a", field(b"\x0a", name.encode()) + field(b"\x12", version.encode()))
        for name, version in versions.items()
    )


def response_head(type_url: str, nonce: bytes) -> bytes:
    """All of a response but its resources and removals."""
    return field(b"\x22", type_url.encode()) + field(b"\x2a", nonce)


def node_field(node_id: str, rest: bytes) -> bytes:
    """The node of a request: its id, then what all nodes share."""
    return field(b"\x0a", field(b"\x0a", node_id.encode()) + rest)


def shared_node() -> bytes:
    """What nodes have beside their id, as large as that of a real Envoy."""
    node = Node(cluster="shop", user_agent_name="envoy")
    node.user_agent_build_version.version.major_number = 1
    node.user_agent_build_version.version.minor_number = 40
    for number in range(EXTENSIONS):
        node.extensions.add(
            name=f"envoy.filters.http.extension_{number:03d}",
            category="envoy.filters.http",
            type_urls=[f"envoy.extensions.filters.http.extension_{number:03d}.v3.Extension"],
        )
    return node.SerializeToString()
