"""Certificate signing requests (PKCS#10, RFC 2986): how a proxy asks for a certificate without showing its key.

In: the PEM text of a peer. Out: its public key, proved to be its own, or CsrError. Nothing else is taken from a
request: names, lifetimes and uses of a certificate come from whoever signs it.
"""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

MAX_CSR_LENGTH = 8 * 1024
"""Bytes of PEM; one with a P-256 key and no names has about 350."""

_PEM = re.compile(
    rb"\s*-----BEGIN CERTIFICATE REQUEST-----\r?\n[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE REQUEST-----\s*"
)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What `cryptography` raises for hostile requests: some when a part is first looked at, not when parsed."""


class CsrError(Exception):
    """A request that is not signed; the text says why, without repeating the peer's bytes."""


def signing_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A request for a certificate for `key`, as PEM; it names nobody."""
    builder = x509.CertificateSigningRequestBuilder(subject_name=x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def requested_key(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 key whose owner made `csr_pem`. Raises CsrError, and nothing else, for any bytes."""
    if len(csr_pem) > MAX_CSR_LENGTH:
        raise CsrError(f"the request is longer than {MAX_CSR_LENGTH} bytes")
    if not _PEM.fullmatch(csr_pem):
        raise CsrError("not one certificate request in PEM")
    try:
        return _proved_key(x509.load_pem_x509_csr(csr_pem))
    except _UNREADABLE as error:
        raise CsrError("the request cannot be read") from error


def _proved_key(csr: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey:
    key = csr.public_key()
    # Before the signature is looked at: large RSA keys are slow to verify with, on purpose perhaps.
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CsrError("the key is not an elliptic curve key on P-256")
    if not isinstance(csr.signature_hash_algorithm, _HASHES):
        raise CsrError("the request is not signed with SHA-256, SHA-384 or SHA-512")
    if not csr.is_signature_valid:
        raise CsrError("the request is not signed by the key it asks a certificate for")
    return key
