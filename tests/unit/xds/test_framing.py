"""What is framed by hand is what protobuf would have written."""

from __future__ import annotations

import pytest

from protos.envoy.config.core import v3_pb2 as core_v3
from protos.envoy.service.discovery import v3_pb2 as discovery_v3
from xds import framing


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 21, (1 << 32) + 7])
def test_varint(value: int) -> None:
    decoded = 0
    for index, byte in enumerate(framing.varint(value)):
        decoded |= (byte & 0x7F) << (7 * index)
    assert decoded == value


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 20_000])
def test_delta(size: int) -> None:
    body = b"x" * size
    data = b"".join(
        (
            framing.delta_prefix("t/url", "me"),
            framing.nonce_field("17"),
            framing.delta_header("t/url", "näme", "v1", size),
            body,
            framing.delta_removed("gone"),
            framing.delta_header("t/url", "other", "v2", size),
            body,
        )
    )
    expected = discovery_v3.DeltaDiscoveryResponse(
        type_url="t/url",
        nonce="17",
        control_plane=core_v3.ControlPlane(identifier="me"),
        removed_resources=["gone"],
        resources=[
            {"name": "näme", "version": "v1", "resource": {"type_url": "t/url", "value": body}},
            {"name": "other", "version": "v2", "resource": {"type_url": "t/url", "value": body}},
        ],
    )
    assert discovery_v3.DeltaDiscoveryResponse.FromString(data) == expected


@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000])
def test_sotw(size: int) -> None:
    body = b"x" * size
    envelope = (framing.sotw_prefix("t/url", "me"), framing.nonce_field("17"), framing.version_field("v9"))
    data = b"".join((*envelope, framing.sotw_header("t/url", size), body))
    assert discovery_v3.DiscoveryResponse.FromString(data) == discovery_v3.DiscoveryResponse(
        type_url="t/url",
        nonce="17",
        version_info="v9",
        control_plane=core_v3.ControlPlane(identifier="me"),
        resources=[{"type_url": "t/url", "value": body}],
    )
