"""Credentials as Envoy secrets. In: an SVID or a trust bundle. Out: `Secret` messages for SDS. Pure.

Source of the rules: envoy.extensions.transport_sockets.tls.v3 (`Secret`, `SPIFFECertValidatorConfig`).
"""

from __future__ import annotations

from ca.bundle import TrustBundle
from ca.svid import X509Svid
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls_v3

IDENTITY = "identity"
"""The secret every proxy asks for by this name, and whose content is its own."""
TRUST = "trust"
"""The secret that says whom to believe; the same for every proxy."""

_SPIFFE_VALIDATOR = "envoy.tls.cert_validator.spiffe"


def identity_secret(svid: X509Svid) -> tls_v3.Secret:
    """The certificate chain and private key of one proxy: never to be logged, or shared between proxies."""
    secret = tls_v3.Secret(name=IDENTITY)
    secret.tls_certificate.certificate_chain.inline_bytes = svid.certificate_chain_pem
    secret.tls_certificate.private_key.inline_bytes = svid.private_key_pem
    return secret


def trust_secret(bundle: TrustBundle) -> tls_v3.Secret:
    """The roots of each trust domain for Envoy's SPIFFE validator.

    A map from domain to roots, and not one flat list: in a flat list a foreign root could sign our
    identities. Whom to accept within a domain is for the TLS context to say
    (`match_typed_subject_alt_names`).
    """
    config = tls_v3.SPIFFECertValidatorConfig()
    for trust_domain in bundle.roots:
        domain = config.trust_domains.add(name=trust_domain.name)
        domain.trust_bundle.inline_bytes = bundle.pem(trust_domain)
    secret = tls_v3.Secret(name=TRUST)
    validator = secret.validation_context.custom_validator_config
    validator.name = _SPIFFE_VALIDATOR
    validator.typed_config.Pack(config, deterministic=True)
    return secret
