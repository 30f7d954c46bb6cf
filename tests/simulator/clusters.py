"""Clusters and their endpoints: whom a sidecar would connect to, and how."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.struct_pb2 import Struct

from protos.envoy.config.cluster.v3_pb2 import Cluster
from protos.envoy.config.core.v3_pb2 import Address, SocketAddress, TransportSocket
from protos.envoy.config.endpoint.v3_pb2 import ClusterLoadAssignment
from protos.envoy.extensions.transport_sockets.raw_buffer.v3_pb2 import RawBuffer
from protos.envoy.extensions.transport_sockets.tls.v3_pb2 import CommonTlsContext, SdsSecretConfig, UpstreamTlsContext
from protos.envoy.extensions.upstreams.http.v3_pb2 import HttpProtocolOptions
from tests.simulator.strictness import NotUnderstoodError, is_a, only, same, the_only, unpacked

Place = tuple[str, int]
"""An IP address and a port."""
Facts = frozenset[tuple[str, object]]
"""What an endpoint says of itself, or is asked to say."""
NOTHING: Facts = frozenset()
_SOCKET_MATCH = "envoy.transport_socket_match"


@dataclass(frozen=True, slots=True)
class Tls:
    """A client's side of TLS: what it offers, and the SPIFFE IDs of servers that it believes."""

    alpn: tuple[str, ...]
    believed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Host:
    """An endpoint. `tls` None: plaintext."""

    place: Place
    tls: Tls | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A cluster without its endpoints. `kind`: EDS, STATIC or ORIGINAL_DST. Sockets are tried in order, last the
    one whose condition is empty. `hosts`: those that the cluster holds itself.
    """

    name: str
    kind: Cluster.DiscoveryType
    sockets: tuple[tuple[Facts, Tls | None], ...]
    hosts: tuple[Host, ...]

    def socket_of(self, says: Facts) -> Tls | None:
        """How to speak to an endpoint that says this of itself."""
        return next(tls for wanted, tls in self.sockets if wanted <= says)


@lru_cache(maxsize=1 << 14)
def plan(body: bytes) -> Plan:
    """What a Cluster, as it is sent, means."""
    cluster = Cluster.FromString(body)
    only(
        cluster,
        *("name", "type", "eds_cluster_config", "load_assignment", "lb_policy"),
        *("transport_socket", "transport_socket_matches", "typed_extension_protocol_options"),
        # These change nothing of where a call goes: limits far away, names of statistics, sockets' own addresses.
        *("circuit_breakers", "upstream_connection_options", "alt_stat_name", "upstream_bind_config"),
    )
    sockets = []
    for match in cluster.transport_socket_matches:
        only(match, "name", "match", "transport_socket")
        sockets.append((_values(match.match), _client_side(match.transport_socket)))
    sockets.append((NOTHING, _client_side(cluster.transport_socket) if cluster.HasField("transport_socket") else None))
    same("lb_policy", cluster.lb_policy, *_POLICIES[cluster.type])
    only(cluster.eds_cluster_config, "eds_config")
    for options in cluster.typed_extension_protocol_options.values():
        _check_options(options)
    made = Plan(cluster.name, cluster.type, tuple(sockets), ())
    if cluster.type != Cluster.STATIC:
        return made
    return Plan(cluster.name, cluster.type, tuple(sockets), tuple(_hosts(cluster.load_assignment, made)))


_POLICIES = {
    Cluster.EDS: (Cluster.LEAST_REQUEST,),
    Cluster.STATIC: (Cluster.ROUND_ROBIN,),
    Cluster.ORIGINAL_DST: (Cluster.CLUSTER_PROVIDED,),
}
"""Known kinds of clusters, and load balancing that gives every endpoint the same, or the one that was called."""


@lru_cache(maxsize=1 << 14)
def hosts(body: bytes, of: Plan) -> tuple[Host, ...]:
    """The endpoints of a ClusterLoadAssignment, as it is sent for the cluster `of`."""
    return tuple(_hosts(ClusterLoadAssignment.FromString(body), of))


def _hosts(assignment: ClusterLoadAssignment, of: Plan) -> list[Host]:
    only(assignment, "cluster_name", "endpoints")
    if not assignment.endpoints:
        return []
    locality = the_only("localities", assignment.endpoints)
    only(locality, "lb_endpoints")
    found = []
    for host in locality.lb_endpoints:
        only(host, "endpoint", "metadata")
        only(host.endpoint, "address")
        only(host.metadata, "filter_metadata")
        for name in host.metadata.filter_metadata:
            same("filter_metadata", name, _SOCKET_MATCH)
        says = _values(host.metadata.filter_metadata[_SOCKET_MATCH])
        found.append(Host(place(host.endpoint.address), of.socket_of(says)))
    return found


def place(address: Address) -> Place:
    only(address, "socket_address")
    only(address.socket_address, "address", "port_value")
    same("protocol", address.socket_address.protocol, SocketAddress.TCP)
    return address.socket_address.address, address.socket_address.port_value


def _values(struct: Struct) -> Facts:
    for name, value in struct.items():
        same(f"the type of {name}", type(value), bool, str, float)
    return frozenset(struct.items())


def _client_side(socket: TransportSocket) -> Tls | None:
    only(socket, "name", "typed_config")
    if is_a(socket.typed_config, RawBuffer):
        return None
    context = unpacked(socket.typed_config, UpstreamTlsContext)
    only(context, "common_tls_context")
    common = context.common_tls_context
    only(common, "tls_params", "tls_certificate_sds_secret_configs", "combined_validation_context", "alpn_protocols")
    check_certificate(common)
    validation = common.combined_validation_context
    only(validation, "default_validation_context", "validation_context_sds_secret_config")
    check_secret(validation.validation_context_sds_secret_config, "trust")
    only(validation.default_validation_context, "match_typed_subject_alt_names")
    believed = set()
    for san in validation.default_validation_context.match_typed_subject_alt_names:
        only(san, "san_type", "matcher")
        only(san.matcher, "exact")
        same("san_type", san.san_type, type(san).URI)
        believed.add(san.matcher.exact)
    if not believed:
        raise NotUnderstoodError("TLS that believes every server of the trust domain")
    return Tls(tuple(common.alpn_protocols), frozenset(believed))


def check_certificate(common: CommonTlsContext) -> None:
    check_secret(the_only("certificates", common.tls_certificate_sds_secret_configs), "identity")


def check_secret(config: SdsSecretConfig, name: str) -> None:
    only(config, "name", "sds_config")
    same("secret", config.name, name)


def _check_options(packed: AnyMessage) -> None:
    """HTTP versions and limits, which change nothing of where a call goes."""
    options = unpacked(packed, HttpProtocolOptions)
    only(options, "common_http_protocol_options", "explicit_http_config", "use_downstream_protocol_config")
    only(options.common_http_protocol_options, "max_headers_count")
    only(options.explicit_http_config, "http2_protocol_options")
    only(options.use_downstream_protocol_config, "http_protocol_options", "http2_protocol_options")
