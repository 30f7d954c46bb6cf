"""Listeners of the client's side: one for each service port, none of which a policy or a split ever changes."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import BoolValue

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.listener import v3_pb2 as listener
from protos.envoy.config.route import v3_pb2 as route
from protos.envoy.extensions.filters.listener.original_dst import v3_pb2 as original_dst
from smi.model import HeadlessEndpoint, LocalListener, PortKey, VirtualAddress
from smi.objects import Allowance
from smi.protocol import Protocol
from translators import names
from translators.http import connection_manager, manager_filter
from translators.packing import ads, packed, socket_address
from translators.routes import direct_routes, plain_tcp_proxy
from translators.telemetry import http_log, outbound_tags, tcp_log

OUTBOUND_CAPTURE_PORT = 15001
TCP_PROXY_FILTER = "envoy.filters.network.tcp_proxy"
TCP_PROXY_TYPE = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def service_listener(address: VirtualAddress) -> listener.Listener:
    """The listener of a service port at its virtual addresses; it binds nothing, the redirect leads to it."""
    first, *others = address.addresses
    made = _listener(names.outbound(address.key), first, address.key.port)
    made.bind_to_port.CopyFrom(BoolValue(value=False))
    made.additional_addresses.extend(
        listener.AdditionalAddress(address=socket_address(other, address.key.port)) for other in others
    )
    made.filter_chains.append(_frontend_chain(address.key, address.protocol))
    return made


def endpoint_listener(headless: HeadlessEndpoint) -> listener.Listener:
    """The listener at the own address of one endpoint of a headless service."""
    made = _listener(names.outbound_endpoint(headless), headless.endpoint.address, headless.endpoint.port)
    made.bind_to_port.CopyFrom(BoolValue(value=False))
    if headless.refused:
        cluster = names.BLACKHOLE_CLUSTER
    else:
        cluster = names.outbound_direct(headless.key) if headless.endpoint.in_mesh else names.PASSTHROUGH_CLUSTER
    if headless.protocol.is_http and headless.endpoint.in_mesh:
        made.filter_chains.append(_http_chain(headless.key, direct_routes(headless.key, cluster)))
    else:
        proxy = plain_tcp_proxy(names.outbound(headless.key), cluster)
        proxy.access_log.append(tcp_log(outbound_tags(headless.key)))
        made.filter_chains.add().filters.add(name=TCP_PROXY_FILTER, typed_config=packed(proxy))
    return made


def local_listener(local: LocalListener) -> listener.Listener:
    """Explicit mode: a bound listener on the client's loopback address that stands for a service port."""
    made = _listener(names.local(local), local.address, local.port)
    made.filter_chains.append(_frontend_chain(local.key, local.protocol))
    return made


def virtual_listener(egress: Allowance) -> listener.Listener:
    """What the redirect leads to: hands each connection to the listener of its destination, and what no listener
    serves to the outside world, or to nowhere.
    """
    made = _listener(names.VIRTUAL_OUTBOUND_LISTENER, "0.0.0.0", OUTBOUND_CAPTURE_PORT)
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
    return listener.ListenerFilter(
        name="envoy.filters.listener.original_dst", typed_config=packed(original_dst.OriginalDst())
    )


def loop_guard(port: int) -> listener.FilterChain:
    """Refuses connections made to the capture port itself: passed on, they would come back for ever."""
    chain = listener.FilterChain(name="loop-guard")
    chain.filter_chain_match.destination_port.value = port
    proxy = plain_tcp_proxy(names.BLACKHOLE_CLUSTER, names.BLACKHOLE_CLUSTER)
    chain.filters.add(name=TCP_PROXY_FILTER, typed_config=packed(proxy))
    return chain


def discovered_filter(name: str, type_url: str) -> listener.Filter:
    """A network filter whose configuration comes by ECDS under `name`: it changes without touching the listener."""
    return listener.Filter(
        name=name, config_discovery=core.ExtensionConfigSource(config_source=ads(), type_urls=[type_url])
    )


def _listener(name: str, address: str, port: int) -> listener.Listener:
    return listener.Listener(
        name=name,
        stat_prefix=names.stat_prefix(name),
        address=socket_address(address, port),
        traffic_direction=core.TrafficDirection.OUTBOUND,
    )


def _frontend_chain(key: PortKey, protocol: Protocol) -> listener.FilterChain:
    if protocol.is_http:
        return _http_chain(key, names.outbound(key))
    return listener.FilterChain(filters=[discovered_filter(names.outbound(key), TCP_PROXY_TYPE)])


def _http_chain(key: PortKey, routes: str | route.RouteConfiguration) -> listener.FilterChain:
    manager = connection_manager(
        stat_prefix="outbound",
        routes=routes,
        access_log=http_log(outbound_tags(key)),
        authority=f"{key.service}.{key.namespace}",
    )
    return listener.FilterChain(filters=[manager_filter(manager)])
