"""Listeners of the server's side. They hold ports, protocols, and mTLS modes; who may do what is not in them.

Each captured port has three ways in: mesh mTLS, told by its ALPN; any other TLS; anything else. Strict mode has only
the first. With two ways, an application's own TLS would be reset.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.listener import v3_pb2 as listener
from protos.envoy.extensions.filters.http.rbac import v3_pb2 as http_rbac
from protos.envoy.extensions.filters.listener.tls_inspector import v3_pb2 as tls_inspector
from protos.envoy.extensions.filters.network.http_connection_manager import v3_pb2 as hcm
from protos.envoy.extensions.filters.network.tcp_proxy import v3_pb2 as tcp_proxy
from smi.model import InboundListener, InboundPort
from smi.objects import CaptureMode, MtlsMode
from translators import names, tls
from translators.access import HTTP_RBAC, deny_all
from translators.gate import GATE_TYPE
from translators.http import connection_manager, manager_filter
from translators.outbound import TCP_PROXY_FILTER, discovered_filter, loop_guard, original_dst_filter
from translators.packing import packed, seconds, socket_address
from translators.routes import plain_tcp_proxy
from translators.telemetry import http_log, inbound_tags, tcp_log

INBOUND_CAPTURE_PORT = 15006
NETWORK_RBAC_TYPE = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"
_SERVER_FIRST_PATIENCE = 0.2
"""Seconds to wait for a client's first bytes: where the server speaks first there are none, and the connection goes
on as not TLS. Strict mode takes nothing but TLS, whose client speaks first: there Envoy's 15 s stay, or one lost
packet would end a connection."""
_EARLY_BYTES = 65_536
"""What a client may send while the way to the application is not open yet; Envoy then stops reading for a moment."""


def inbound_listeners(inbound: InboundListener) -> Iterator[listener.Listener]:
    """Behind a redirect one listener for all ports; in explicit mode one for each port, bound at its address."""
    if inbound.capture is CaptureMode.TRANSPARENT:
        yield _captured(inbound)
        return
    for port in inbound.ports:
        made = _listener(names.inbound_port(inbound.class_name, port.port), inbound.address, port.port, inbound.mtls)
        made.filter_chains.extend(_chains(port, inbound.mtls, by_port=False))
        yield made


def _captured(inbound: InboundListener) -> listener.Listener:
    made = _listener(names.inbound(inbound.class_name), "0.0.0.0", INBOUND_CAPTURE_PORT, inbound.mtls)
    made.additional_addresses.append(listener.AdditionalAddress(address=socket_address("::", INBOUND_CAPTURE_PORT)))
    made.listener_filters.insert(0, original_dst_filter())
    made.filter_chains.append(loop_guard(INBOUND_CAPTURE_PORT))
    for port in inbound.ports:
        made.filter_chains.extend(_chains(port, inbound.mtls, by_port=True))
    made.filter_chains.extend(_other_chains(inbound))
    return made


def _listener(name: str, address: str, port: int, mtls: MtlsMode) -> listener.Listener:
    made = listener.Listener(
        name=name,
        stat_prefix=names.stat_prefix(name),
        address=socket_address(address, port),
        traffic_direction=core.TrafficDirection.INBOUND,
    )
    if mtls is MtlsMode.PERMISSIVE:
        made.listener_filters_timeout.CopyFrom(seconds(_SERVER_FIRST_PATIENCE))
        made.continue_on_listener_filters_timeout = True
    made.listener_filters.add(
        name="envoy.filters.listener.tls_inspector", typed_config=packed(tls_inspector.TlsInspector())
    )
    return made


def _chains(port: InboundPort, mtls: MtlsMode, *, by_port: bool) -> Iterator[listener.FilterChain]:
    """The ways into one port. Where the listener serves many ports, `by_port` makes the chains its own."""
    name = names.inbound_port(port.class_name, port.port)
    for chain in _ways(name, mtls):
        if by_port:
            chain.filter_chain_match.destination_port.value = port.port
        if port.protocol.is_http and not chain.name.endswith("/tls"):
            chain.filters.append(_http(name, port.port, mesh=chain.HasField("transport_socket")))
        else:
            chain.filters.extend(_opaque(port.class_name, port.port, gated=not port.protocol.is_http))
        yield chain


def _other_chains(inbound: InboundListener) -> Iterator[listener.FilterChain]:
    """The ways into ports that no Service names: opaque bytes."""
    name = names.inbound_port(inbound.class_name, None)
    for chain in _ways(name, inbound.mtls):
        chain.filters.extend(_opaque(inbound.class_name, None, gated=True))
        yield chain


def _ways(name: str, mtls: MtlsMode) -> Iterator[listener.FilterChain]:
    mesh = listener.FilterChain(name=f"{name}/mesh", transport_socket=tls.server_socket())
    mesh.filter_chain_match.transport_protocol = "tls"
    mesh.filter_chain_match.application_protocols.append(names.MESH_ALPN)
    yield mesh
    if mtls is MtlsMode.PERMISSIVE:
        for kind, transport in (("tls", "tls"), ("plain", "raw_buffer")):
            chain = listener.FilterChain(name=f"{name}/{kind}")
            chain.filter_chain_match.transport_protocol = transport
            yield chain


def _http(name: str, port: int, *, mesh: bool) -> listener.Filter:
    """HTTP with paths made plain before any rule looks at them, and a filter that denies what no route allows.

    Without the former, `/public/../admin` and `%2F..%2F` passed a rule for `/public`.
    """
    base = hcm.HttpFilter(name=HTTP_RBAC, typed_config=packed(http_rbac.RBAC(rules=deny_all())))
    manager = connection_manager(
        stat_prefix="inbound", routes=name, access_log=http_log(inbound_tags(port)), filters=[base]
    )
    manager.normalize_path.CopyFrom(BoolValue(value=True))
    manager.merge_slashes = True
    manager.path_with_escaped_slashes_action = (
        hcm.HttpConnectionManager.PathWithEscapedSlashesAction.UNESCAPE_AND_FORWARD
    )
    if mesh:
        manager.forward_client_cert_details = hcm.HttpConnectionManager.ForwardClientCertDetails.SANITIZE_SET
        manager.set_current_client_cert_details.uri = True
    else:
        manager.forward_client_cert_details = hcm.HttpConnectionManager.ForwardClientCertDetails.SANITIZE
    return manager_filter(manager)


def _opaque(class_name: str, port: int | None, *, gated: bool) -> list[listener.Filter]:
    """Opaque bytes. Not `gated` are ports that speak HTTP: a foreign TLS client has spoken before the server can."""
    name = names.inbound_port(class_name, port)
    proxy = plain_tcp_proxy(name, name)
    proxy.access_log.append(tcp_log(inbound_tags(port)))
    rules = discovered_filter(name, NETWORK_RBAC_TYPE)
    forward = listener.Filter(name=TCP_PROXY_FILTER)
    if not gated:
        forward.typed_config.CopyFrom(packed(proxy))
        return [rules, forward]
    # The gate knows who the client is after the handshake: no earlier may a way be chosen. Without TLS it is at once.
    proxy.upstream_connect_mode = tcp_proxy.UpstreamConnectMode.ON_DOWNSTREAM_TLS_HANDSHAKE
    proxy.max_early_data_bytes.CopyFrom(UInt32Value(value=_EARLY_BYTES))
    forward.typed_config.CopyFrom(packed(proxy))
    return [discovered_filter(names.gate(class_name, port), GATE_TYPE), rules, forward]
