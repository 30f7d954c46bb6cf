"""Mutual TLS between sidecars: SPIFFE IDs are checked on both ends, names of hosts play no part.

Sources: Envoy's UpstreamTlsContext, DownstreamTlsContext and SPIFFE certificate validator; SPIFFE X509-SVID, section 4.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.wrappers_pb2 import BoolValue

from ca.identity import TrustDomain, WorkloadIdentity
from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.extensions.transport_sockets.raw_buffer import v3_pb2 as raw_buffer
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls
from translators import names
from translators.packing import ADS, pack, packed

_URI = tls.SubjectAltNameMatcher.URI
_TLS = "tls"
_PARAMETERS = tls.TlsParameters(
    tls_minimum_protocol_version=tls.TlsParameters.TLSv1_3, tls_maximum_protocol_version=tls.TlsParameters.TLSv1_3
)
_IDENTITY = tls.SdsSecretConfig(name=names.IDENTITY_SECRET, sds_config=ADS)
_TRUST = tls.SdsSecretConfig(name=names.TRUST_SECRET, sds_config=ADS)
_CLIENT = tls.UpstreamTlsContext(
    common_tls_context=tls.CommonTlsContext(
        tls_params=_PARAMETERS,
        tls_certificate_sds_secret_configs=[_IDENTITY],
        combined_validation_context=tls.CommonTlsContext.CombinedCertificateValidationContext(
            validation_context_sds_secret_config=_TRUST
        ),
        alpn_protocols=[names.MESH_ALPN],
    )
)
"""Without the names of those whom a client believes."""


def set_client_socket(
    socket: core.TransportSocket, accepted: Iterable[WorkloadIdentity], trust_domain: TrustDomain
) -> None:
    """Make `socket` the client's side: present `identity`, believe only servers whose SPIFFE IDs are among `accepted`.

    An empty list must not mean "anyone of the trust domain": then no server is believed.
    """
    context = tls.UpstreamTlsContext()
    context.CopyFrom(_CLIENT)
    believed = context.common_tls_context.combined_validation_context.default_validation_context
    for san in map(str, accepted):
        _add(believed, san)
    if not believed.match_typed_subject_alt_names:
        _add(believed, f"spiffe://{trust_domain}/tulle/nobody")
    socket.name = _TLS
    pack(context, socket.typed_config)


def server_socket() -> core.TransportSocket:
    """The server's side: demand a certificate of the mesh. Who may do what is decided by RBAC, not here.

    Sessions are not resumed: a resumed one would carry an identity that was checked under older rules.
    """
    context = tls.DownstreamTlsContext(
        common_tls_context=tls.CommonTlsContext(
            tls_params=_PARAMETERS,
            tls_certificate_sds_secret_configs=[_IDENTITY],
            validation_context_sds_secret_config=_TRUST,
        ),
        require_client_certificate=BoolValue(value=True),
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return core.TransportSocket(name=_TLS, typed_config=packed(context))


def plain_socket() -> core.TransportSocket:
    """No TLS."""
    return core.TransportSocket(name="raw", typed_config=packed(raw_buffer.RawBuffer()))


def _add(believed: tls.CertificateValidationContext, san: str) -> None:
    added = believed.match_typed_subject_alt_names.add()
    added.san_type = _URI
    added.matcher.exact = san
