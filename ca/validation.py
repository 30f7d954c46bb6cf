"""Verification of X.509 SVIDs against a trust bundle.

In: a certificate chain as a peer presented it, the bundle, the time. Out: the peer's SPIFFE ID, or
SvidError. Source of the rules: SPIFFE X509-SVID, section 5 (validation), and RFC 5280 for the path, done by
`cryptography`.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from ca.bundle import TrustBundle
from ca.identity import IdentityError, SpiffeId
from ca.signer import uri_names

_MAX_CHAIN_BYTES = 64 * 1024
_MAX_INTERMEDIATES = 4
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for hostile certificates: most when a part is first looked at, not when parsed."""


class SvidError(Exception):
    """A certificate chain that proves no identity; the text says why, without repeating the peer's bytes."""


def verify_svid(chain_pem: bytes, bundle: TrustBundle, now: datetime) -> SpiffeId:
    """The identity that `chain_pem` (leaf first, then intermediates) proves at `now`.

    Only roots of the leaf's own trust domain count. Raises SvidError, and nothing else, for any bytes.
    """
    try:
        return _verify(_parse(chain_pem), bundle, now)
    except _UNREADABLE as error:
        raise SvidError("the chain has a certificate that cannot be read") from error


def _verify(chain: list[x509.Certificate], bundle: TrustBundle, now: datetime) -> SpiffeId:
    leaf, *intermediates = chain
    spiffe_id = _leaf_identity(leaf)
    if now < leaf.not_valid_before_utc:
        raise SvidError(f"not valid before {leaf.not_valid_before_utc}")
    if now > leaf.not_valid_after_utc:
        raise SvidError(f"expired at {leaf.not_valid_after_utc}")
    if spiffe_id.trust_domain not in bundle.roots:
        raise SvidError(f"trust domain {spiffe_id.trust_domain} is not trusted")
    roots = x509.load_pem_x509_certificates(bundle.pem(spiffe_id.trust_domain))
    policy = PolicyBuilder().store(Store(roots)).time(now).max_chain_depth(_MAX_INTERMEDIATES)
    try:
        policy.build_client_verifier().verify(leaf, intermediates)
    except VerificationError as error:
        # What it was about is shown behind the reason, and holds names that the peer has chosen.
        reason = str(error).partition("(encountered processing")[0].strip()
        raise SvidError(f"no valid path to a root of {spiffe_id.trust_domain}: {reason}") from error
    return spiffe_id


def _parse(chain_pem: bytes) -> list[x509.Certificate]:
    if len(chain_pem) > _MAX_CHAIN_BYTES:
        raise SvidError(f"the chain is longer than {_MAX_CHAIN_BYTES} bytes")
    certificates = x509.load_pem_x509_certificates(chain_pem)
    if not 1 <= len(certificates) <= _MAX_INTERMEDIATES + 1:
        raise SvidError(f"the chain has {len(certificates)} certificates")
    return certificates


def _leaf_identity(leaf: x509.Certificate) -> SpiffeId:
    """The one SPIFFE ID of a certificate that may not sign others."""
    try:
        uris = uri_names(leaf)
        constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound as error:
        raise SvidError(f"the leaf lacks an extension: {error}") from error
    if len(uris) != 1:
        raise SvidError(f"the leaf has {len(uris)} URI names instead of one")
    if constraints.ca:
        raise SvidError("the leaf is a signing certificate")
    if not usage.critical or not usage.value.digital_signature:
        raise SvidError("the leaf needs the critical key usage digitalSignature")
    if usage.value.key_cert_sign or usage.value.crl_sign:
        raise SvidError("the leaf may sign certificates")
    try:
        return SpiffeId.parse(uris[0])
    except IdentityError as error:
        raise SvidError("the URI name of the leaf is not a SPIFFE ID") from error
