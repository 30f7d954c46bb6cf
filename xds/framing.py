"""Protobuf wire framing by hand: a response is a join of bytes that were made once.

In: encoded resources. Out: bytes that parse as ``DiscoveryResponse`` or ``DeltaDiscoveryResponse``. Building a
response of 200 resources through protobuf objects takes about 70 times as long as joining their frames.

A length-delimited field is ``tag, varint(length), bytes``, and parsers accept fields in any order. So every frame is
split into a *header* (which belongs to one resource and one protocol variant) and the resource's *body*, which comes
last and is shared by both variants: ``header + body`` is one complete entry of ``resources``.
"""

from __future__ import annotations

from functools import lru_cache

# google.protobuf.Any
_ANY_TYPE_URL = b"\x0a"
_ANY_VALUE = b"\x12"
# envoy.service.discovery.v3.Resource
_RESOURCE_VERSION = b"\x0a"
_RESOURCE_RESOURCE = b"\x12"
_RESOURCE_NAME = b"\x1a"
# Both responses: repeated resources is field 2, type_url 4, nonce 5
_RESPONSE_RESOURCES = b"\x12"
_RESPONSE_TYPE_URL = b"\x22"
_RESPONSE_NONCE = b"\x2a"
# DiscoveryResponse
_SOTW_VERSION_INFO = b"\x0a"
_SOTW_CONTROL_PLANE = b"\x32"
# DeltaDiscoveryResponse
_DELTA_REMOVED = b"\x32"
_DELTA_CONTROL_PLANE = b"\x3a"
# envoy.config.core.v3.ControlPlane
_CONTROL_PLANE_IDENTIFIER = b"\x0a"


@lru_cache(maxsize=4096)
def varint(value: int) -> bytes:
    """The base-128 encoding of a non-negative integer. Lengths repeat: most are remembered."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(tag: bytes, content: bytes) -> bytes:
    """One length-delimited field."""
    return tag + varint(len(content)) + content


@lru_cache(maxsize=64)
def _any_of(type_url: str) -> bytes:
    """An ``Any`` without the length and the bytes of its value. There are few types, and each has many resources."""
    return field(_ANY_TYPE_URL, type_url.encode()) + _ANY_VALUE


def sotw_header(type_url: str, body_length: int) -> bytes:
    """What precedes a body of ``body_length`` bytes in ``DiscoveryResponse.resources``."""
    wrapped = _any_of(type_url) + varint(body_length)
    return _RESPONSE_RESOURCES + varint(len(wrapped) + body_length) + wrapped


def delta_header(type_url: str, name: str, version: str, body_length: int) -> bytes:
    """What precedes a body of ``body_length`` bytes in ``DeltaDiscoveryResponse.resources``."""
    wrapped = _any_of(type_url) + varint(body_length)
    inner = (
        field(_RESOURCE_NAME, name.encode())
        + field(_RESOURCE_VERSION, version.encode())
        + _RESOURCE_RESOURCE
        + varint(len(wrapped) + body_length)
        + wrapped
    )
    return _RESPONSE_RESOURCES + varint(len(inner) + body_length) + inner


@lru_cache(maxsize=64)
def sotw_prefix(type_url: str, control_plane: str) -> bytes:
    """What begins every ``DiscoveryResponse`` of a type."""
    identifier = field(_CONTROL_PLANE_IDENTIFIER, control_plane.encode())
    return field(_RESPONSE_TYPE_URL, type_url.encode()) + field(_SOTW_CONTROL_PLANE, identifier)


@lru_cache(maxsize=64)
def delta_prefix(type_url: str, control_plane: str) -> bytes:
    """What begins every ``DeltaDiscoveryResponse`` of a type."""
    identifier = field(_CONTROL_PLANE_IDENTIFIER, control_plane.encode())
    return field(_RESPONSE_TYPE_URL, type_url.encode()) + field(_DELTA_CONTROL_PLANE, identifier)


def nonce_field(nonce: str) -> bytes:
    """The nonce of a response of either variant."""
    return field(_RESPONSE_NONCE, nonce.encode())


def version_field(version: str) -> bytes:
    """``DiscoveryResponse.version_info``."""
    return field(_SOTW_VERSION_INFO, version.encode())


def delta_removed(name: str) -> bytes:
    """One entry of ``DeltaDiscoveryResponse.removed_resources``."""
    return field(_DELTA_REMOVED, name.encode())
