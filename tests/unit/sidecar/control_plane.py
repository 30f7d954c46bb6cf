"""A minimal control plane for tests of the sidecar: real TLS, real gRPC, enrolment, delta ADS with fixed resources."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from ca.authority import Authority, create_intermediate, create_root
from ca.csr import requested_key
from ca.identity import (
    CONTROL_PLANE_NAME,
    ProxyIdentity,
    SpiffeId,
    TrustDomain,
    WorkloadIdentity,
    control_plane_id,
    proxy_id,
)
from ca.join import write_join
from deploy.enrolment_messages import ENROL, EnrolmentAnswer, decode_request, encode_answer
from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource

TRUST_DOMAIN = TrustDomain("test.mesh")
CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LISTENER_TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"


def new_authority(domain: TrustDomain = TRUST_DOMAIN) -> Authority:
    root = create_root(domain, datetime.now(UTC))
    return Authority(root, create_intermediate(root, datetime.now(UTC)))


def write_join_directory(state: Path, token: str, authority: Authority) -> Path:
    """What `tulle serve` writes for the workload bookstore/v1."""
    return write_join(state, "bookstore", "v1", token, authority.bundle.own_pem, stream_token=f"stream-{token}")


@dataclass
class ControlPlane:
    """Serves `resources` by type URL to everyone, and remembers who came and what was rejected.

    `tokens` are what was shown at enrolment, `clients` the certificates of streams. Tokens in `spent` are refused.
    """

    authority: Authority
    resources: Mapping[str, Sequence[tuple[str, Message]]] = field(default_factory=dict)
    identity: SpiffeId = field(default_factory=lambda: control_plane_id(TRUST_DOMAIN))
    names: Sequence[str] = (CONTROL_PLANE_NAME,)
    lifetime: timedelta = timedelta(hours=1)
    account: str = "v1"
    spent: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    renewals: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    certificates: list[bytes] = field(default_factory=list)
    node_ids: list[str] = field(default_factory=list)
    rejections: list[str] = field(default_factory=list)
    port: int = 0
    mtls_port: int = 0

    def __post_init__(self) -> None:
        svid = self.authority.issue(self.identity, timedelta(hours=1), datetime.now(UTC), self.names)
        pair = [(svid.private_key_pem, svid.certificate_chain_pem)]
        method = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=DeltaDiscoveryRequest.FromString,
            response_serializer=DeltaDiscoveryResponse.SerializeToString,
        )
        service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
        handler = grpc.method_handlers_generic_handler(service, {"DeltaAggregatedResources": method})
        enrolment, _, call = ENROL.removeprefix("/").partition("/")
        enrol = grpc.method_handlers_generic_handler(
            enrolment, {call: grpc.unary_unary_rpc_method_handler(self._enrol)}
        )
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((handler, enrol))
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", grpc.ssl_server_credentials(pair))
        mutual = grpc.ssl_server_credentials(pair, self.authority.bundle.own_pem, require_client_auth=True)
        self.mtls_port = self._server.add_secure_port(f"127.0.0.1:{self.mtls_port}", mutual)
        self._server.start()

    def stop(self) -> None:
        """Ends the server, and with it every stream."""
        self._server.stop(0).wait()

    def __enter__(self) -> ControlPlane:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _stream(
        self, requests: Iterator[DeltaDiscoveryRequest], context: grpc.ServicerContext
    ) -> Iterator[DeltaDiscoveryResponse]:
        self.clients.append(client_of(context))
        self.certificates.extend(context.auth_context().get("x509_pem_cert", ()))
        for request in requests:
            if request.node.id:
                self.node_ids.append(request.node.id)
            if request.HasField("error_detail"):
                self.rejections.append(request.error_detail.message)
            if not request.response_nonce:
                yield self._answer(request.type_url)

    def _enrol(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        client = client_of(context)
        if client:
            self.renewals.append(client)
            if ProxyIdentity.from_spiffe_id(SpiffeId.parse(client)).service_account != self.account:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, f"v1 is {self.account} now")
        else:
            token = str(dict(context.invocation_metadata()).get("authorization")).removeprefix("Bearer ")
            self.tokens.append(token)
            if token in self.spent:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "it has been used already")
            self.spent.append(token)
        identity = WorkloadIdentity(TRUST_DOMAIN, "bookstore", self.account)
        key = requested_key(decode_request(request))
        chain = self.authority.sign(proxy_id(identity, "v1"), key, self.lifetime, datetime.now(UTC))
        ends = x509.load_pem_x509_certificate(chain).not_valid_after_utc
        return encode_answer(EnrolmentAnswer(chain, self.authority.bundle.own_pem, self.mtls_port, ends))

    def _answer(self, type_url: str) -> DeltaDiscoveryResponse:
        answer = DeltaDiscoveryResponse(type_url=type_url, nonce=f"n-{threading.get_ident()}-{type_url}")
        for name, message in self.resources.get(type_url, ()):
            packed = Any()
            packed.Pack(message)
            answer.resources.append(Resource(name=name, version="1", resource=packed))
        return answer


def client_of(context: grpc.ServicerContext) -> str:
    """The SPIFFE ID of the client certificate; empty without one."""
    return b"".join(context.auth_context().get("peer_spiffe_id", ())).decode()
