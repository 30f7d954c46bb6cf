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
from protos.envoy.type.matcher import v3_pb2 as matcher
from translators import names
from translators.packing import ads, packed

_SAN_URI = tls.SubjectAltNameMatcher.SanType.URI


def client_socket(accepted: Iterable[WorkloadIdentity], trust_domain: TrustDomain) -> core.TransportSocket:
    """The client's side: present `identity`, and believe only a server whose SPIFFE ID is one of `accepted`.

    An empty list must not mean "anyone of the trust domain": then no server is believed.
    """
    sans = [str(identity) for identity in accepted] or [f"spiffe://{trust_domain}/tulle/nobody"]
    context = tls.UpstreamTlsContext(
        common_tls_context=tls.CommonTlsContext(
            tls_params=_parameters(),
            tls_certificate_sds_secret_configs=[_secret(names.IDENTITY_SECRET)],
            combined_validation_context=tls.CommonTlsContext.CombinedCertificateValidationContext(
                default_validation_context=tls.CertificateValidationContext(
                    match_typed_subject_alt_names=[
                        tls.SubjectAltNameMatcher(san_type=_SAN_URI, matcher=matcher.StringMatcher(exact=san))
                        for san in sans
                    ]
                ),
                validation_context_sds_secret_config=_secret(names.TRUST_SECRET),
            ),
            alpn_protocols=[names.MESH_ALPN],
        )
    )
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))


def server_socket() -> core.TransportSocket:
    """The server's side: demand a certificate of the mesh. Who may do what is decided by RBAC, not here.

    Sessions are not resumed: a resumed one would carry an identity that was checked under older rules.
    """
    context = tls.DownstreamTlsContext(
        common_tls_context=tls.CommonTlsContext(
            tls_params=_parameters(),
            tls_certificate_sds_secret_configs=[_secret(names.IDENTITY_SECRET)],
            validation_context_sds_secret_config=_secret(names.TRUST_SECRET),
        ),
        require_client_certificate=BoolValue(value=True),
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))


def plain_socket() -> core.TransportSocket:
    """No TLS."""
    return core.TransportSocket(name="envoy.transport_sockets.raw_buffer", typed_config=packed(raw_buffer.RawBuffer()))


def _parameters() -> tls.TlsParameters:
    version = tls.TlsParameters.TlsProtocol.TLSv1_3
    return tls.TlsParameters(tls_minimum_protocol_version=version, tls_maximum_protocol_version=version)


def _secret(name: str) -> tls.SdsSecretConfig:
    return tls.SdsSecretConfig(name=name, sds_config=ads())
