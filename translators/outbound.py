"""Listeners of the client's side: one for each service port, none of which a policy or a split ever changes."""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.wrappers_pb2 import BoolValue

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.listener import v3_pb2 as listener
from protos.envoy.config.route import v3_pb2 as route
from protos.envoy.extensions.filters.listener.original_dst import v3_pb2 as original_dst
from smi.model import HeadlessEndpoint, LocalListener, PortKey, VirtualAddress
from smi.objects import Allowance
from smi.protocol import Protocol
from translators import names
from translators.http import connection_manager, set_manager
from translators.packing import ADS, pack, packed, socket_address
from translators.routes import direct_routes, plain_tcp_proxy
from translators.telemetry import outbound_http_log, outbound_tcp_log

OUTBOUND_CAPTURE_PORT = 15001
TCP_PROXY_FILTER = "tcp"
_FALSE = BoolValue(value=False)
TCP_PROXY_TYPE = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def service_listener(address: VirtualAddress) -> listener.Listener:
    """The listener of a service port at its virtual addresses; it binds nothing, the redirect leads to it."""
    first, *others = address.addresses
    made = _listener(names.outbound(address.key), first, address.key.port)
    made.bind_to_port.CopyFrom(_FALSE)
    made.additional_addresses.extend(
        listener.AdditionalAddress(address=socket_address(other, address.key.port)) for other in others
    )
    _serve(made, address.key, address.protocol)
    return made


def endpoint_listener(headless: HeadlessEndpoint) -> listener.Listener:
    """The listener at the own address of one endpoint of a headless service."""
    made = _listener(names.outbound_endpoint(headless), headless.endpoint.address, headless.endpoint.port)
    made.bind_to_port.CopyFrom(_FALSE)
    if headless.refused:
        cluster = names.BLACKHOLE_CLUSTER
    else:
        cluster = names.outbound_direct(headless.key) if headless.endpoint.in_mesh else names.PASSTHROUGH_CLUSTER
    if headless.protocol.is_http and headless.endpoint.in_mesh:
        _serve_http(made, headless.key, direct_routes(headless.key, cluster))
    else:
        proxy = plain_tcp_proxy(names.outbound(headless.key), cluster)
        proxy.access_log.append(outbound_tcp_log(headless.key))
        pack(proxy, made.filter_chains.add().filters.add(name=TCP_PROXY_FILTER).typed_config)
    return made


def local_listener(local: LocalListener) -> listener.Listener:
    """Explicit mode: a bound listener on the client's loopback address that stands for a service port."""
    made = _listener(names.local(local), local.address, local.port)
    _serve(made, local.key, local.protocol)
    return made


def virtual_listener(egress: Allowance) -> listener.Listener:
    """What the redirect leads to: hands each connection to the listener of its destination, and what no listener
    serves to the outside world, or to nowhere.
    """
    made = _listener(names.VIRTUAL_OUTBOUND_LISTENER, "0.0.0.0", OUTBOUND_CAPTURE_PORT)
    made.stat_prefix = made.name
    made.additional_addresses.append(listener.AdditionalAddress(address=socket_address("::", OUTBOUND_CAPTURE_PORT)))
    made.use_original_dst.CopyFrom(BoolValue(value=True))
    made.listener_filters.append(original_dst_filter())
    made.filter_chains.append(loop_guard(OUTBOUND_CAPTURE_PORT))
    target = names.PASSTHROUGH_CLUSTER if egress is Allowance.ALLOW else names.BLACKHOLE_CLUSTER
    proxy = plain_tcp_proxy(target, target)
    made.default_filter_chain.name = target
    made.default_filter_chain.filters.add(name=TCP_PROXY_FILTER, typed_config=packed(proxy))
    return made


def original_dst_filter() -> listener.ListenerFilter:
    """Restores the address that a redirected connection was meant for."""
    return listener.ListenerFilter(name="original-dst", typed_config=packed(original_dst.OriginalDst()))


@lru_cache(maxsize=2)
def loop_guard(port: int) -> listener.FilterChain:
    """Refuses connections made to the capture port itself: passed on, they would come back for ever.
    To be copied, not changed.
    """
    chain = listener.FilterChain(name="loop-guard")
    chain.filter_chain_match.destination_port.value = port
    proxy = plain_tcp_proxy(names.BLACKHOLE_CLUSTER, names.BLACKHOLE_CLUSTER)
    chain.filters.add(name=TCP_PROXY_FILTER, typed_config=packed(proxy))
    return chain


def add_discovered(chain: listener.FilterChain, name: str, type_url: str) -> None:
    """Add a network filter whose configuration comes by ECDS under `name`: it changes without touching the listener."""
    chain.filters.add(name=name, config_discovery=_source(type_url))


def _listener(name: str, address: str, port: int) -> listener.Listener:
    """Without filters. Its statistics are named by its address."""
    made = listener.Listener(name=name, traffic_direction=core.OUTBOUND)
    made.address.socket_address.address = address
    made.address.socket_address.port_value = port
    return made


def _serve(made: listener.Listener, key: PortKey, protocol: Protocol) -> None:
    name = names.outbound(key)
    if protocol.is_http:
        _serve_http(made, key, name)
    else:
        add_discovered(made.filter_chains.add(), name, TCP_PROXY_TYPE)


def _serve_http(made: listener.Listener, key: PortKey, routes: str | route.RouteConfiguration) -> None:
    manager = connection_manager(
        stat_prefix="outbound",
        routes=routes,
        access_log=outbound_http_log(key),
        authority=f"{key.service}.{key.namespace}",
    )
    set_manager(made.filter_chains.add(), manager)


@lru_cache(maxsize=8)
def _source(type_url: str) -> core.ExtensionConfigSource:
    return core.ExtensionConfigSource(config_source=ADS, type_urls=[type_url])
