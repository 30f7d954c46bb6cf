"""The static cluster through which a sidecar reaches its control plane.

In: the control plane's address and SPIFFE ID, and the SDS files with the trust bundle and with a token or a client
certificate. Out: the cluster: HTTP/2 over TLS 1.3, the server's SPIFFE ID pinned, the certificate presented, or the
token added to each stream by an upstream filter. `google_grpc` is not used: it never rereads its roots (DESIGN section
5).

Each stream gets a connection of its own. Envoy presents a renewed certificate on new connections only, and would open
the stream that follows an expired one on the old connection, to be refused.
"""

from __future__ import annotations

import ipaddress
from pathlib import PurePath

from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from ca.identity import SpiffeId
from protos.envoy.config.cluster.v3_pb2 import Cluster, UpstreamConnectionOptions
from protos.envoy.config.core import v3_pb2 as core_v3
from protos.envoy.config.core.v3_pb2 import (
    ApiVersion,
    ConfigSource,
    Http2ProtocolOptions,
    KeepaliveSettings,
    PathConfigSource,
    TcpKeepalive,
    TransportSocket,
    TypedExtensionConfig,
    WatchedDirectory,
)
from protos.envoy.extensions.filters.http.credential_injector.v3_pb2 import CredentialInjector
from protos.envoy.extensions.filters.http.upstream_codec.v3_pb2 import UpstreamCodec
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpFilter
from protos.envoy.extensions.http.injected_credentials.generic.v3_pb2 import Generic
from protos.envoy.extensions.transport_sockets.tls.v3_pb2 import (
    CertificateValidationContext,
    CommonTlsContext,
    SdsSecretConfig,
    SubjectAltNameMatcher,
    TlsParameters,
    UpstreamTlsContext,
)
from protos.envoy.extensions.upstreams.http.v3_pb2 import HttpProtocolOptions
from protos.envoy.type.matcher.v3_pb2 import StringMatcher
from translators.packing import packed, single_endpoint

XDS_CLUSTER = "xds"
TOKEN_SECRET = "token"
CLIENT_SECRET = "client"
TRUST_SECRET = "control_plane_trust"

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def xds_cluster(
    host: str,
    port: int,
    control_plane: SpiffeId,
    token_file: str | None,
    trust_file: str,
    client_file: str | None = None,
) -> Cluster:
    """The cluster `xds` to `host` (address or DNS name) and `port`. None: no token, no client certificate."""
    cluster = Cluster(
        name=XDS_CLUSTER,
        type=Cluster.STATIC if _is_address(host) else Cluster.STRICT_DNS,
        connect_timeout=Duration(seconds=1),
        per_connection_buffer_limit_bytes=UInt32Value(value=1024 * 1024),
        load_assignment=single_endpoint(XDS_CLUSTER, host, port),
        transport_socket=TransportSocket(
            name="envoy.transport_sockets.tls", typed_config=packed(_tls(control_plane, trust_file, client_file))
        ),
        upstream_connection_options=UpstreamConnectionOptions(
            tcp_keepalive=TcpKeepalive(keepalive_time=UInt32Value(value=30), keepalive_interval=UInt32Value(value=5))
        ),
    )
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(packed(_http_options(token_file)))
    return cluster


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _sds_file(secret: str, path: str) -> SdsSecretConfig:
    # The directory is watched, since replacement by rename changes what the path means without touching the
    # old file.
    source = PathConfigSource(path=path, watched_directory=WatchedDirectory(path=str(PurePath(path).parent)))
    return SdsSecretConfig(
        name=secret, sds_config=ConfigSource(path_config_source=source, resource_api_version=ApiVersion.V3)
    )


def _tls(control_plane: SpiffeId, trust_file: str, client_file: str | None) -> UpstreamTlsContext:
    pin = SubjectAltNameMatcher(san_type=SubjectAltNameMatcher.URI, matcher=StringMatcher(exact=str(control_plane)))
    common = CommonTlsContext(
        tls_params=TlsParameters(
            tls_minimum_protocol_version=TlsParameters.TLSv1_3,
            tls_maximum_protocol_version=TlsParameters.TLSv1_3,
        ),
        alpn_protocols=["h2"],
        combined_validation_context=CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=CertificateValidationContext(match_typed_subject_alt_names=[pin]),
            validation_context_sds_secret_config=_sds_file(TRUST_SECRET, trust_file),
        ),
    )
    if client_file is not None:
        common.tls_certificate_sds_secret_configs.append(_sds_file(CLIENT_SECRET, client_file))
    return UpstreamTlsContext(common_tls_context=common)


def _http_options(token_file: str | None) -> HttpProtocolOptions:
    keepalive = KeepaliveSettings(interval=Duration(seconds=30), timeout=Duration(seconds=5))
    options = HttpProtocolOptions(
        explicit_http_config=HttpProtocolOptions.ExplicitHttpConfig(
            http2_protocol_options=Http2ProtocolOptions(connection_keepalive=keepalive)
        ),
        common_http_protocol_options=core_v3.HttpProtocolOptions(max_requests_per_connection=UInt32Value(value=1)),
    )
    if token_file is not None:
        options.http_filters.extend(_token_filters(token_file))
    return options


def _token_filters(token_file: str) -> list[HttpFilter]:
    injector = CredentialInjector(
        overwrite=True,
        credential=TypedExtensionConfig(
            name="envoy.http.injected_credentials.generic",
            typed_config=packed(Generic(credential=_sds_file(TOKEN_SECRET, token_file), header_value_prefix="Bearer ")),
        ),
    )
    return [
        HttpFilter(name="envoy.filters.http.credential_injector", typed_config=packed(injector)),
        HttpFilter(name="envoy.filters.http.upstream_codec", typed_config=packed(UpstreamCodec())),
    ]
