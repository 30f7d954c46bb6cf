"""Where a connection of opaque bytes goes inside a workload: to its application, or to a dead end.

Network RBAC decides when the client's first bytes arrive. By then Envoy's TCP proxy is connected to the application,
and a server that speaks first has been heard by a client whom no rule allows (Envoy issue 9023, seen with 1.40). So
the address is chosen here, as soon as the client is known: after the TLS handshake, or at once where there is no TLS.
RBAC stays behind it, as it is what people know, and counts.

It is a configuration of its own (ECDS), as all access is: a changed rule touches no listener. Source: Envoy's network
filter `set_filter_state`, the filter state that ORIGINAL_DST clusters take their address from, and CEL in formats.
"""

from __future__ import annotations

import json
from functools import lru_cache

from google.protobuf.any_pb2 import Any

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.extensions.filters.common.set_filter_state import v3_pb2 as filter_state
from protos.envoy.extensions.filters.network.set_filter_state import v3_pb2 as set_filter_state
from smi.model import Access, Grant, InboundPort
from smi.objects import CaptureMode
from translators import names
from translators.packing import packed

GATE_TYPE = "type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config"
DEAD_END = "127.0.0.1:0"
"""Nothing can listen on port 0: connecting to it fails at once."""
_ADDRESS = "envoy.network.transport_socket.original_dst_address"
_AS_CALLED = "destination.address"
"""CEL: the address that the client called, from before the redirect, with its port."""


def connection_gate(access: Access, port: InboundPort | None) -> core.TypedExtensionConfig:
    """The gate of the target port of `access`; `port` None: of all ports that no Service names."""
    inside = _AS_CALLED
    if port is not None and port.capture is CaptureMode.EXPLICIT:
        inside = _text(names.host_port("127.0.0.1", port.app_port or port.port))
    way = ""
    if access.everyone:
        way = f"%CEL({inside})%"
    elif grants := [_condition(grant) for grant in access.grants if grant.http is None]:
        way = f"%CEL({' || '.join(grants)} ? {inside} : {_text(DEAD_END)})%"
    return core.TypedExtensionConfig(name=names.gate(access.class_name, access.port), typed_config=_leading(way))


@lru_cache(maxsize=1024)
def _leading(way: str) -> Any:
    """The gate that opens `way`, or none if that is empty. To be copied, not changed.

    Envoy leaves a value as it was when the next one cannot be computed: the first one makes that a refusal.
    """
    return packed(
        set_filter_state.Config(on_downstream_tls_handshake=[_address(text) for text in (DEAD_END, way) if text])
    )


def _condition(grant: Grant) -> str:
    """CEL: whether `grant` means the client. Without TLS nobody is anybody. SPIFFE IDs hold no quotes."""
    principals = ", ".join(_text(str(identity)) for identity in grant.principals)
    condition = f"connection.mtls && connection.uri_san_peer_certificate in [{principals}]"
    if grant.ports is not None:
        condition += f" && destination.port in [{', '.join(map(str, grant.ports))}]"
    return f"({condition})"


def _text(value: str) -> str:
    return json.dumps(value)


def _address(text: str) -> filter_state.FilterStateValue:
    source = core.DataSource(inline_string=text)
    return filter_state.FilterStateValue(
        object_key=_ADDRESS, format_string=core.SubstitutionFormatString(text_format_source=source)
    )
