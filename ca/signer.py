"""Signing certificates of the mesh, with or without the private key they belong to.

In: PEM. Out: frozen values whose text forms never show the key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ca.identity import IdentityError, TrustDomain


@dataclass(frozen=True, slots=True)
class SigningCertificate:
    """A signing certificate of the mesh; its key is elsewhere, offline for example."""

    certificate: x509.Certificate

    @property
    def id(self) -> str:
        """Tells certificates apart: the first half of the SHA-256 fingerprint, in hexadecimal digits."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()[:32]

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
        """All there is of it as one text, so that one rename stores it together or not at all."""
        return self.certificate_pem


@dataclass(frozen=True, slots=True)
class Signer(SigningCertificate):
    """A signing certificate of the mesh and its P-256 key; raises ValueError when the two do not match."""

    # Not compared: the certificate settles which key it is, and key objects compare by place in memory.
    private_key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.certificate.public_key() != self.private_key.public_key():
            raise ValueError("the private key does not belong to the certificate")

    def to_pem(self) -> bytes:
        return self.certificate_pem + private_key_pem(self.private_key)

    @classmethod
    def from_pem(cls, pem: bytes) -> Signer:
        """The reverse of `to_pem`; raises ValueError for anything else."""
        return cls(x509.load_pem_x509_certificate(pem), load_private_key(pem))


def load_signing_certificate(pem: bytes) -> SigningCertificate:
    """The reverse of `to_pem`: a Signer if the text has a private key. Raises ValueError for anything else."""
    if b"PRIVATE KEY" in pem:
        return Signer.from_pem(pem)
    return SigningCertificate(x509.load_pem_x509_certificate(pem))


def load_private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """The unencrypted P-256 key in `pem`; raises ValueError for anything else, without repeating the text."""
    try:
        private_key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("there is no readable, unencrypted private key") from error
    if not isinstance(private_key, ec.EllipticCurvePrivateKey) or private_key.curve.name != ec.SECP256R1.name:
        raise ValueError("the private key is not of the curve P-256")
    return private_key


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
