"""A Listener as functions: which filter chain takes a connection, and what its filters are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.any_pb2 import Any as AnyMessage

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.core.v3_pb2 import TransportSocket
from protos.envoy.config.listener.v3_pb2 import Filter, FilterChain, Listener
from protos.envoy.extensions.filters.listener.original_dst.v3_pb2 import OriginalDst
from protos.envoy.extensions.filters.listener.tls_inspector.v3_pb2 import TlsInspector
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpConnectionManager
from protos.envoy.extensions.filters.network.tcp_proxy.v3_pb2 import TcpProxy
from protos.envoy.extensions.transport_sockets.tls.v3_pb2 import DownstreamTlsContext
from tests.simulator.clusters import Place, check_certificate, check_secret, place
from tests.simulator.http_manager import Manager, manager
from tests.simulator.strictness import NotUnderstoodError, is_a, only, unpacked


@dataclass(frozen=True, slots=True)
class Discovered:
    """A network filter whose configuration comes by ECDS."""

    name: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """`mesh`: it demands mesh TLS. Empty criteria are none. The last filter is an HTTP manager, a TCP proxy (packed) or
    one to be discovered.
    """

    name: str
    port: int
    transport: str
    alpn: frozenset[str]
    mesh: bool
    before: tuple[Discovered, ...]
    last: Manager | AnyMessage | Discovered


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a client shows at first: TLS or not, and which protocols it offers within."""

    tls: bool = False
    alpn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Door:
    """A listener. `bound`: it has its places on the host; otherwise connections are only handed to it."""

    name: str
    places: tuple[Place, ...]
    bound: bool
    outbound: bool
    hands_over: bool
    sees_original: bool
    sees_tls: bool
    chains: tuple[Chain, ...]
    default: Chain | None

    def chain(self, port: int, greeting: Greeting) -> Chain | None:
        """The chain for a connection to `port`: the criteria are tried one after the other, the nearest value first.

        Source: Envoy's filter_chain_manager_impl.cc. A port that has chains of its own never falls back to the others.
        """
        found: list[Chain] = [each for each in self.chains if each.port == port]
        found = found or [each for each in self.chains if not each.port]
        transport = "tls" if greeting.tls and self.sees_tls else "raw_buffer"
        found = _nearest(found, transport)
        offered = greeting.alpn if self.sees_tls else ()
        by_offer = [each for name in offered for each in found if name in each.alpn]
        left = by_offer or [each for each in found if not each.alpn]
        return left[0] if left else self.default


def _nearest(chains: list[Chain], transport: str) -> list[Chain]:
    return [each for each in chains if each.transport == transport] or [each for each in chains if not each.transport]


@lru_cache(maxsize=1 << 14)
def door(body: bytes) -> Door:
    """What a Listener, as it is sent, means."""
    listener = Listener.FromString(body)
    only(
        listener,
        *("name", "address", "additional_addresses", "bind_to_port", "traffic_direction", "use_original_dst"),
        *("listener_filters", "filter_chains", "default_filter_chain"),
        # Patience with clients that wait for the server, and names of statistics.
        *("listener_filters_timeout", "continue_on_listener_filters_timeout", "stat_prefix"),
    )
    for additional in listener.additional_addresses:
        only(additional, "address")
    chains = tuple(_chain(each) for each in listener.filter_chains)
    if len({(each.port, each.transport, each.alpn) for each in chains}) != len(chains):
        raise NotUnderstoodError(f"{listener.name} has two filter chains for the same")
    sees_original = sees_tls = False
    for each in listener.listener_filters:
        only(each, "name", "typed_config")
        if is_a(each.typed_config, TlsInspector):
            only(unpacked(each.typed_config, TlsInspector))
            sees_tls = True
        else:
            only(unpacked(each.typed_config, OriginalDst))
            sees_original = True
    return Door(
        name=listener.name,
        places=(place(listener.address), *(place(each.address) for each in listener.additional_addresses)),
        bound=not listener.HasField("bind_to_port") or listener.bind_to_port.value,
        outbound=listener.traffic_direction == core.OUTBOUND,
        hands_over=listener.use_original_dst.value,
        sees_original=sees_original,
        sees_tls=sees_tls,
        chains=chains,
        default=_chain(listener.default_filter_chain) if listener.HasField("default_filter_chain") else None,
    )


def _chain(chain: FilterChain) -> Chain:
    only(chain, "name", "filter_chain_match", "filters", "transport_socket")
    match = chain.filter_chain_match
    only(match, "destination_port", "transport_protocol", "application_protocols")
    *before, last = map(_filter, chain.filters)
    return Chain(
        name=chain.name,
        port=match.destination_port.value,
        transport=match.transport_protocol,
        alpn=frozenset(match.application_protocols),
        mesh=chain.HasField("transport_socket") and _server_side(chain.transport_socket),
        before=tuple(_discovered(before)),
        last=last,
    )


def _filter(one: Filter) -> Manager | AnyMessage | Discovered:
    only(one, "name", "typed_config", "config_discovery")
    if one.HasField("config_discovery"):
        only(one.config_discovery, "config_source", "type_urls")
        return Discovered(one.name, tuple(one.config_discovery.type_urls))
    if is_a(one.typed_config, HttpConnectionManager):
        return manager(one.typed_config.value)
    if is_a(one.typed_config, TcpProxy):
        return one.typed_config
    raise NotUnderstoodError(f"network filter {one.typed_config.type_url}")


def _discovered(filters: Iterable[object]) -> Iterable[Discovered]:
    for each in filters:
        if not isinstance(each, Discovered):
            raise NotUnderstoodError(f"filter {each} that is not the last one")
        yield each


def _server_side(socket: TransportSocket) -> bool:
    """Always true: what is not mesh TLS raises."""
    only(socket, "name", "typed_config")
    context = unpacked(socket.typed_config, DownstreamTlsContext)
    only(
        context,
        *("common_tls_context", "require_client_certificate"),
        *("disable_stateless_session_resumption", "disable_stateful_session_resumption"),
    )
    common = context.common_tls_context
    only(common, "tls_params", "tls_certificate_sds_secret_configs", "validation_context_sds_secret_config")
    check_certificate(common)
    check_secret(common.validation_context_sds_secret_config, "trust")
    if not context.require_client_certificate.value:
        raise NotUnderstoodError("TLS that asks for no certificate")
    return True
