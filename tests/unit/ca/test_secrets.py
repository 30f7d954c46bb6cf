"""The secrets as messages; `test_secrets_envoy.py` shows what Envoy makes of them."""

from __future__ import annotations

from datetime import datetime, timedelta

from ca.authority import Authority, create_root
from ca.bundle import TrustBundle
from ca.identity import TrustDomain, WorkloadIdentity
from ca.secrets import identity_secret, trust_secret
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls_v3


def test_identity(authority: Authority, identity: WorkloadIdentity, now: datetime) -> None:
    svid = authority.issue(identity.spiffe_id, timedelta(hours=1), now)
    secret = identity_secret(svid)
    assert secret.name == "identity"
    assert secret.tls_certificate.certificate_chain.inline_bytes == svid.certificate_chain_pem
    assert secret.tls_certificate.private_key.inline_bytes == svid.private_key_pem


def test_trust_keeps_domains_apart(authority: Authority, trust_domain: TrustDomain, now: datetime) -> None:
    partner = TrustDomain("a.partner")
    foreign = create_root(partner, now).certificate_pem
    own = authority.root.certificate_pem
    secret = trust_secret(TrustBundle(trust_domain, {trust_domain: (own,), partner: (foreign,)}))
    assert secret.name == "trust"
    # Roots outside the validator's map would be trusted for every domain.
    assert not secret.validation_context.HasField("trusted_ca")
    validator = secret.validation_context.custom_validator_config
    assert validator.name == "envoy.tls.cert_validator.spiffe"
    config = tls_v3.SPIFFECertValidatorConfig()
    assert validator.typed_config.Unpack(config)
    found = {domain.name: domain.trust_bundle.inline_bytes for domain in config.trust_domains}
    assert found == {"mesh.test": own, "a.partner": foreign}


def test_same_bundle_same_bytes(authority: Authority, trust_domain: TrustDomain, now: datetime) -> None:
    roots = {trust_domain: (authority.root.certificate_pem,)}
    partner = {TrustDomain("a.partner"): (create_root(TrustDomain("a.partner"), now).certificate_pem,)}
    one, two = (trust_secret(TrustBundle(trust_domain, all_)) for all_ in (roots | partner, partner | roots))
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)
