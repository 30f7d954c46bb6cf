"""Where sidecars send to: the clusters of service ports, of applications, and of what is not in the mesh."""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.wrappers_pb2 import UInt32Value

from ca.identity import TrustDomain
from protos.envoy.config.cluster import v3_pb2 as cluster
from protos.envoy.config.core import v3_pb2 as core
from smi.model import BackendPort, InboundPort
from smi.objects import CaptureMode
from smi.protocol import Protocol
from translators import names, tls
from translators.endpoints import PLAIN
from translators.http import UPSTREAM_OPTIONS, upstream_options
from translators.packing import ADS, packed, single_endpoint

_NO_LIMIT = UInt32Value(value=2**21 - 1)
"""Of connections or requests of one sidecar to one service port: far above what a process can hold, and the largest
number of three bytes.
"""
_PLAIN_MATCH = cluster.Cluster.TransportSocketMatch(name="plain", match=PLAIN, transport_socket=tls.plain_socket())
APPLICATION_SIDE = ("127.0.0.6", "::6")
"""Source addresses of connections from an inbound listener to the application behind a redirect: by them the
redirect knows not to catch these connections again."""


def outbound_cluster(backend: BackendPort, trust_domain: TrustDomain) -> cluster.Cluster:
    """The cluster of a service port: the same bytes for every client.

    Whether an endpoint speaks mesh mTLS is its own matter: it does, unless its metadata says that it is plain. So what
    is not known of an endpoint ends in a handshake that fails, never in plaintext; and where no endpoint is plain, the
    cluster has no way to send plaintext at all.
    """
    made = cluster.Cluster()
    made.CopyFrom(_service_port(backend.protocol, backend.plain))
    made.name = names.outbound(backend.key)
    made.alt_stat_name = str(backend.key)
    tls.set_client_socket(made.transport_socket, backend.identities, trust_domain)
    return made


def direct_cluster(backend: BackendPort, trust_domain: TrustDomain) -> cluster.Cluster:
    """Mesh mTLS to the very endpoint of a headless service that the client called."""
    made = _original_destination(names.outbound_direct(backend.key), backend.protocol)
    made.alt_stat_name = str(backend.key)
    tls.set_client_socket(made.transport_socket, backend.identities, trust_domain)
    return made


def application_cluster(port: InboundPort) -> cluster.Cluster:
    """From the inbound listener to the application: its own port on loopback, or wherever the client sent it to.

    Opaque bytes go where their gate says.
    """
    name = names.inbound_port(port.class_name, port.port)
    if port.capture is CaptureMode.TRANSPARENT:
        return _to_application(name, port.protocol)
    if not port.protocol.is_http:
        return _original_destination(name, port.protocol)
    made = _cluster(name, cluster.Cluster.STATIC, port.protocol)
    made.load_assignment.CopyFrom(single_endpoint(name, "127.0.0.1", port.app_port or port.port))
    return made


def other_ports_cluster(class_name: str) -> cluster.Cluster:
    """From the inbound listener to ports of the application that no Service names."""
    return _to_application(names.inbound_port(class_name, None), Protocol.TCP)


def passthrough_cluster() -> cluster.Cluster:
    """Unknown destinations, unchanged."""
    return _original_destination(names.PASSTHROUGH_CLUSTER, Protocol.TCP)


def blackhole_cluster() -> cluster.Cluster:
    """Nowhere: what is sent here is refused."""
    return _cluster(names.BLACKHOLE_CLUSTER, cluster.Cluster.STATIC, Protocol.TCP)


@lru_cache(maxsize=2 * len(Protocol))
def _service_port(protocol: Protocol, plain: bool) -> cluster.Cluster:
    """What the clusters of all service ports of `protocol` have in common, with or without `plain` endpoints."""
    made = _cluster("", cluster.Cluster.EDS, protocol)
    made.eds_cluster_config.eds_config.CopyFrom(ADS)
    made.lb_policy = cluster.Cluster.LEAST_REQUEST
    if plain:
        made.transport_socket_matches.append(_PLAIN_MATCH)
    return made


def _cluster(name: str, kind: cluster.Cluster.DiscoveryType, protocol: Protocol) -> cluster.Cluster:
    made = cluster.Cluster(
        name=name,
        type=kind,
        # A mesh must not limit what nobody asked it to limit: Envoy's default is 1,024 of each.
        circuit_breakers=cluster.CircuitBreakers(
            thresholds=[
                cluster.CircuitBreakers.Thresholds(
                    max_connections=_NO_LIMIT,
                    max_pending_requests=_NO_LIMIT,
                    max_requests=_NO_LIMIT,
                    max_retries=_NO_LIMIT,
                )
            ]
        ),
    )
    made.upstream_connection_options.tcp_keepalive.SetInParent()
    if protocol.is_http:
        options = upstream_options(protocol is Protocol.HTTP2)
        made.typed_extension_protocol_options[UPSTREAM_OPTIONS].CopyFrom(packed(options))
    return made


def _original_destination(name: str, protocol: Protocol) -> cluster.Cluster:
    made = _cluster(name, cluster.Cluster.ORIGINAL_DST, protocol)
    made.lb_policy = cluster.Cluster.CLUSTER_PROVIDED
    return made


def _to_application(name: str, protocol: Protocol) -> cluster.Cluster:
    made = cluster.Cluster()
    made.CopyFrom(_application(protocol))
    made.name = name
    return made


@lru_cache(maxsize=len(Protocol))
def _application(protocol: Protocol) -> cluster.Cluster:
    """What the clusters of all applications behind a redirect that speak `protocol` have in common."""
    made = _original_destination("", protocol)
    ipv4, ipv6 = APPLICATION_SIDE
    made.upstream_bind_config.source_address.CopyFrom(core.SocketAddress(address=ipv4, port_value=0))
    extra = core.ExtraSourceAddress(address=core.SocketAddress(address=ipv6, port_value=0))
    made.upstream_bind_config.extra_source_addresses.append(extra)
    return made
