"""TLS of one run: an authority that lives in memory, one server certificate, one client certificate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc

from ca.authority import Authority, create_intermediate, create_root
from ca.identity import TrustDomain, WorkloadIdentity, control_plane_id
from ca.svid import X509Svid
from tests.bench import meshes

_SERVER_NAME = "xds.bench"
_LIFETIME = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM; one client certificate proves the service account that all simulated proxies run under."""

    roots: bytes
    server: tuple[bytes, bytes]
    client: tuple[bytes, bytes]

    def of_server(self) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials([self.server], self.roots, require_client_auth=True)

    def of_client(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.roots, *self.client)


CLIENT_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each proxy
    ("grpc.ssl_target_name_override", _SERVER_NAME),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", 30_000),
]


def make_credentials() -> Credentials:
    moment = datetime.now(UTC)
    domain = TrustDomain("cluster.local")
    root = create_root(domain, moment)
    authority = Authority(root, create_intermediate(root, moment))
    server = authority.issue(control_plane_id(domain), _LIFETIME, moment, [_SERVER_NAME])
    client = authority.issue(WorkloadIdentity(domain, meshes.NAMESPACE, "client").spiffe_id, _LIFETIME, moment)
    return Credentials(authority.bundle.pem(domain), _pem(server), _pem(client))


def _pem(svid: X509Svid) -> tuple[bytes, bytes]:
    return svid.private_key_pem, svid.certificate_chain_pem
