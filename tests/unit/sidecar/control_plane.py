"""A minimal control plane for tests of the sidecar: real TLS, real gRPC, delta ADS with fixed resources."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from ca.authority import Authority, create_intermediate, create_root
from ca.identity import SpiffeId, TrustDomain, control_plane_id
from ca.join import write_join
from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource

TRUST_DOMAIN = TrustDomain("test.mesh")
CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LISTENER_TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"


def new_authority(domain: TrustDomain = TRUST_DOMAIN) -> Authority:
    root = create_root(domain, datetime.now(UTC))
    return Authority(root, create_intermediate(root, datetime.now(UTC)))


def write_join_directory(state: Path, token: str, authority: Authority) -> Path:
    """What `tulle serve` writes for the workload bookstore/v1."""
    return write_join(state, "bookstore", "v1", token, authority.bundle.own_pem)


@dataclass
class ControlPlane:
    """Serves `resources` by type URL to everyone, and remembers who came and what was rejected."""

    authority: Authority
    resources: Mapping[str, Sequence[tuple[str, Message]]] = field(default_factory=dict)
    identity: SpiffeId = field(default_factory=lambda: control_plane_id(TRUST_DOMAIN))
    authorizations: list[str] = field(default_factory=list)
    node_ids: list[str] = field(default_factory=list)
    rejections: list[str] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        svid = self.authority.issue(self.identity, timedelta(hours=1), datetime.now(UTC))
        credentials = grpc.ssl_server_credentials([(svid.private_key_pem, svid.certificate_chain_pem)])
        method = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=DeltaDiscoveryRequest.FromString,
            response_serializer=DeltaDiscoveryResponse.SerializeToString,
        )
        service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
        handler = grpc.method_handlers_generic_handler(service, {"DeltaAggregatedResources": method})
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((handler,))
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
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
        self.authorizations.append(str(dict(context.invocation_metadata()).get("authorization")))
        for request in requests:
            if request.node.id:
                self.node_ids.append(request.node.id)
            if request.HasField("error_detail"):
                self.rejections.append(request.error_detail.message)
            if not request.response_nonce:
                yield self._answer(request.type_url)

    def _answer(self, type_url: str) -> DeltaDiscoveryResponse:
        answer = DeltaDiscoveryResponse(type_url=type_url, nonce=f"n-{threading.get_ident()}-{type_url}")
        for name, message in self.resources.get(type_url, ()):
            packed = Any()
            packed.Pack(message)
            answer.resources.append(Resource(name=name, version="1", resource=packed))
        return answer
