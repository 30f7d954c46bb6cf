"""What each kind of certificate looks like: unsigned certificates, ready for their issuer's key.

In: names, public keys, validity. Out: certificate builders. Pure but for the random serial number. Source
of the rules: SPIFFE X509-SVID, sections 2 to 5 (one URI SAN; signing certificates name the trust domain
without a path; leaves hold digitalSignature and no signing usage), and RFC 5280, section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ca.identity import SpiffeId, TrustDomain


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate counts, both UTC and both included, in whole seconds."""

    not_before: datetime
    not_after: datetime


def root(trust_domain: TrustDomain, key: ec.EllipticCurvePublicKey, validity: Validity) -> x509.CertificateBuilder:
    """A self-signed root: one intermediate may stand between it and a leaf."""
    name = _signing_name("root", key)
    return _signing_certificate(trust_domain, key, validity, subject=name, issuer=name, path_length=1)


def intermediate(
    trust_domain: TrustDomain, key: ec.EllipticCurvePublicKey, validity: Validity, issuer: x509.Certificate
) -> x509.CertificateBuilder:
    """A certificate that signs leaves and nothing else."""
    name = _signing_name("intermediate", key)
    builder = _signing_certificate(trust_domain, key, validity, subject=name, issuer=issuer.subject, path_length=0)
    return builder.add_extension(_authority_key(issuer), critical=False)


def leaf(
    spiffe_id: SpiffeId,
    key: ec.EllipticCurvePublicKey,
    validity: Validity,
    issuer: x509.Certificate,
    dns_names: Sequence[str] = (),
) -> x509.CertificateBuilder:
    """An X509-SVID for TLS on either side. The subject is empty, so the names are critical (RFC 5280,
    4.2.1.6).
    """
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(spiffe_id))]
    names += [x509.DNSName(name) for name in dns_names]
    builder = _builder(key, validity, x509.Name([]), issuer.subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(is_leaf=True), critical=True)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        critical=False,
    )
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return builder.add_extension(_authority_key(issuer), critical=False)


def _signing_certificate(
    trust_domain: TrustDomain,
    key: ec.EllipticCurvePublicKey,
    validity: Validity,
    *,
    subject: x509.Name,
    issuer: x509.Name,
    path_length: int,
) -> x509.CertificateBuilder:
    builder = _builder(key, validity, subject, issuer)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = builder.add_extension(_usage(is_leaf=False), critical=True)
    names = [x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")]
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=False)


def _builder(
    key: ec.EllipticCurvePublicKey, validity: Validity, subject: x509.Name, issuer: x509.Name
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer_name=issuer, subject_name=subject, public_key=key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(validity.not_before).not_valid_after(validity.not_after)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _signing_name(role: str, key: ec.EllipticCurvePublicKey) -> x509.Name:
    # The key's digest keeps the names of two generations apart: verifiers look issuers up by name.
    digest = x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tulle"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Tulle {role}"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, digest),
        ]
    )


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    key_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)


def _usage(*, is_leaf: bool) -> x509.KeyUsage:
    """Key usage of a leaf (digitalSignature only), or of a signing certificate (certificates and CRLs
    only).
    """
    return x509.KeyUsage(
        digital_signature=is_leaf,
        key_cert_sign=not is_leaf,
        crl_sign=not is_leaf,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
