"""Listeners of the server's side. They hold ports, protocols, and mTLS modes; who may do what is not in them.

Each captured port has three ways in: mesh mTLS, told by its ALPN; any other TLS; anything else. Strict mode has only
the first. With two ways, an application's own TLS would be reset.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from google.protobuf.wrappers_pb2 import BoolValue

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.listener import v3_pb2 as listener
from protos.envoy.extensions.filters.http.rbac import v3_pb2 as http_rbac
from protos.envoy.extensions.filters.listener.tls_inspector import v3_pb2 as tls_inspector
from protos.envoy.extensions.filters.network.http_connection_manager import v3_pb2 as hcm
from protos.envoy.extensions.filters.network.tcp_proxy import v3_pb2 as tcp_proxy
from smi.model import InboundListener, InboundPort
from smi.objects import CaptureMode, MtlsMode
from translators import names, tls
from translators.access import DENY_ALL, HTTP_RBAC
from translators.disguises import disguise_filter
from translators.gate import GATE_TYPE
from translators.headers import cleaning_filter
from translators.http import connection_manager, set_manager
from translators.outbound import TCP_PROXY_FILTER, add_discovered, loop_guard, original_dst_filter
from translators.packing import pack, packed, seconds, socket_address
from translators.routes import plain_tcp_proxy
from translators.telemetry import inbound_http_log, inbound_tcp_log

INBOUND_CAPTURE_PORT = 15006
NETWORK_RBAC_TYPE = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"
_SERVER_FIRST_PATIENCE = 0.2
"""Seconds to wait for a client's first bytes: where the server speaks first there are none, and the connection goes
on as not TLS. Strict mode takes nothing but TLS, whose client speaks first: there Envoy's 15 s stay, or one lost
packet would end a connection."""
_TLS_INSPECTOR = listener.ListenerFilter(name="tls-inspector", typed_config=packed(tls_inspector.TlsInspector()))
_MESH = listener.FilterChainMatch(transport_protocol="tls", application_protocols=[names.MESH_ALPN])
_MESH_SOCKET = tls.server_socket()
_EARLY_BYTES = 65_536
"""What a client may send while the way to the application is not open yet; Envoy then stops reading for a moment."""


def inbound_listeners(inbound: InboundListener) -> Iterator[listener.Listener]:
    """Behind a redirect one listener for all ports; in explicit mode one for each port, bound at its address."""
    if inbound.capture is CaptureMode.TRANSPARENT:
        yield _captured(inbound)
        return
    for port in inbound.ports:
        made = _listener(names.inbound_port(inbound.class_name, port.port), inbound.address, port.port, inbound.mtls)
        _add_ways(made, port, by_port=False, mtls=inbound.mtls)
        yield made


def _captured(inbound: InboundListener) -> listener.Listener:
    made = listener.Listener()
    made.CopyFrom(_captured_anywhere(inbound.mtls))
    made.name = names.inbound(inbound.class_name)
    made.stat_prefix = names.stat_prefix(made.name)
    for port in inbound.ports:
        _add_ways(made, port, by_port=True, mtls=inbound.mtls)
    # Ports that no Service names: opaque bytes.
    for chain in _ways(made, names.inbound_port(inbound.class_name, None), inbound.mtls):
        _set_opaque(chain, inbound.class_name, None, gated=True)
    return made


@lru_cache(maxsize=len(MtlsMode))
def _captured_anywhere(mtls: MtlsMode) -> listener.Listener:
    """What the listeners behind the redirect have in common. To be copied, not changed."""
    made = _listener("", "0.0.0.0", INBOUND_CAPTURE_PORT, mtls)
    made.additional_addresses.append(listener.AdditionalAddress(address=socket_address("::", INBOUND_CAPTURE_PORT)))
    made.listener_filters.insert(0, original_dst_filter())
    made.filter_chains.append(loop_guard(INBOUND_CAPTURE_PORT))
    return made


def _listener(name: str, address: str, port: int, mtls: MtlsMode) -> listener.Listener:
    made = listener.Listener(
        name=name,
        stat_prefix=names.stat_prefix(name),
        address=socket_address(address, port),
        traffic_direction=core.INBOUND,
        listener_filters=[_TLS_INSPECTOR],
    )
    if mtls is MtlsMode.PERMISSIVE:
        made.listener_filters_timeout.CopyFrom(seconds(_SERVER_FIRST_PATIENCE))
        made.continue_on_listener_filters_timeout = True
    return made


def _add_ways(made: listener.Listener, port: InboundPort, *, by_port: bool, mtls: MtlsMode) -> None:
    """The ways into one port. Where the listener serves many ports, `by_port` makes the chains its own."""
    name = names.inbound_port(port.class_name, port.port)
    for chain in _ways(made, name, mtls):
        if by_port:
            chain.filter_chain_match.destination_port.value = port.port
        if port.protocol.is_http and not chain.name.endswith("/tls"):
            _set_http(chain, name, port.port, mesh=chain.HasField("transport_socket"))
        else:
            _set_opaque(chain, port.class_name, port.port, gated=not port.protocol.is_http)


def _ways(made: listener.Listener, name: str, mtls: MtlsMode) -> Iterator[listener.FilterChain]:
    """Adds chains without filters, and gives them."""
    yield made.filter_chains.add(name=f"{name}/mesh", filter_chain_match=_MESH, transport_socket=_MESH_SOCKET)
    if mtls is MtlsMode.PERMISSIVE:
        for kind, transport in (("tls", "tls"), ("plain", "raw_buffer")):
            chain = made.filter_chains.add(name=f"{name}/{kind}")
            chain.filter_chain_match.transport_protocol = transport
            yield chain


def _set_http(chain: listener.FilterChain, name: str, port: int, *, mesh: bool) -> None:
    manager = hcm.HttpConnectionManager()
    manager.CopyFrom(_manager(port, mesh))
    manager.rds.route_config_name = name
    set_manager(chain, manager)


@lru_cache(maxsize=1024)
def _manager(port: int, mesh: bool) -> hcm.HttpConnectionManager:
    """HTTP with paths made plain before any rule looks at them, and a filter that denies what no route allows.

    Without the former, `/public/../admin` and `%2F..%2F` passed a rule for `/public`. The name of the routes is left
    out. To be copied, not changed.
    """
    base = hcm.HttpFilter(name=HTTP_RBAC, typed_config=packed(http_rbac.RBAC(rules=DENY_ALL)))
    filters = [cleaning_filter(), disguise_filter(), base]
    manager = connection_manager(stat_prefix="inbound", routes="", access_log=inbound_http_log(port), filters=filters)
    manager.normalize_path.CopyFrom(BoolValue(value=True))
    manager.merge_slashes = True
    manager.path_with_escaped_slashes_action = hcm.HttpConnectionManager.UNESCAPE_AND_FORWARD
    if mesh:
        manager.forward_client_cert_details = hcm.HttpConnectionManager.SANITIZE_SET
        manager.set_current_client_cert_details.uri = True
    else:
        manager.forward_client_cert_details = hcm.HttpConnectionManager.SANITIZE
    return manager


def _set_opaque(chain: listener.FilterChain, class_name: str, port: int | None, *, gated: bool) -> None:
    """Opaque bytes. Not `gated` are ports that speak HTTP: a foreign TLS client has spoken before the server can."""
    name = names.inbound_port(class_name, port)
    if gated:
        add_discovered(chain, names.gate(class_name, port), GATE_TYPE)
    add_discovered(chain, name, NETWORK_RBAC_TYPE)
    proxy = tcp_proxy.TcpProxy()
    proxy.CopyFrom(_proxy(port, gated))
    proxy.stat_prefix = proxy.cluster = name
    pack(proxy, chain.filters.add(name=TCP_PROXY_FILTER).typed_config)


@lru_cache(maxsize=1024)
def _proxy(port: int | None, gated: bool) -> tcp_proxy.TcpProxy:
    """The way of opaque bytes to the application, without names. To be copied, not changed."""
    proxy = plain_tcp_proxy("")
    proxy.access_log.append(inbound_tcp_log(port))
    if gated:
        # The gate knows who the client is after the handshake: no earlier may a way be chosen. Without TLS it is at
        # once.
        proxy.upstream_connect_mode = tcp_proxy.ON_DOWNSTREAM_TLS_HANDSHAKE
        proxy.max_early_data_bytes.value = _EARLY_BYTES
    return proxy
