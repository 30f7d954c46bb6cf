"""A certificate together with the private key it belongs to: what signs.

In: PEM. Out: frozen values whose text forms never show the key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ca.identity import IdentityError, TrustDomain


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing certificate of the mesh and its P-256 key; raises ValueError when the two do not match."""

    certificate: x509.Certificate
    # Not compared: the certificate settles which key it is, and key objects compare by place in memory.
    private_key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.certificate.public_key() != self.private_key.public_key():
            raise ValueError("the private key does not belong to the certificate")

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def trust_domain(self) -> TrustDomain:
        """The domain this certificate signs for; ValueError unless its one URI SAN is `spiffe://<domain>`."""
        uris = uri_names(self.certificate)
        if len(uris) != 1 or not uris[0].startswith("spiffe://"):
            raise ValueError("the certificate names no trust domain")
        try:
            return TrustDomain(uris[0].removeprefix("spiffe://"))
        except IdentityError as error:
            raise ValueError(str(error)) from error

    def to_pem(self) -> bytes:
        """Both halves as one text, so that one rename stores them together or not at all."""
        return self.certificate_pem + private_key_pem(self.private_key)

    @classmethod
    def from_pem(cls, pem: bytes) -> Signer:
        """The reverse of `to_pem`; raises ValueError for anything else."""
        certificate = x509.load_pem_x509_certificate(pem)
        private_key = load_pem_private_key(pem, password=None)
        if not isinstance(private_key, ec.EllipticCurvePrivateKey):
            raise ValueError("the private key is not an elliptic curve key")  # noqa: TRY004 - wrong content
        return cls(certificate, private_key)


def new_private_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key, the curve that every TLS stack has a fast implementation of."""
    return ec.generate_private_key(ec.SECP256R1())


def private_key_pem(private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as unencrypted PKCS#8: the form Envoy and gRPC read."""
    return private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def uri_names(certificate: x509.Certificate) -> list[str]:
    """All URI subject alternative names; empty when the certificate has no such extension."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)
