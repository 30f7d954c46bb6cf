"""The authority: a root, an intermediate below it, and the credentials they issue. The built-in `Issuer`.

In: keys, identities, and the time. Out: certificates. It reads no clock and touches no file; `ca.state`
keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ca import profiles
from ca.bundle import TrustBundle
from ca.identity import SpiffeId, TrustDomain
from ca.profiles import Validity
from ca.signer import Signer, SigningCertificate, new_private_key, private_key_pem
from ca.svid import X509Svid

ROOT_LIFETIME = timedelta(days=3650)
INTERMEDIATE_LIFETIME = timedelta(days=365)
INTERMEDIATE_RENEWAL = timedelta(days=60)
"""An intermediate is replaced when less than this is left, so that no leaf is cut short by its end."""

LEAF_BACKDATE = timedelta(seconds=60)
"""Proxies whose clocks are this much behind accept a new leaf at once."""
SIGNER_BACKDATE = timedelta(hours=1)
"""Larger than that of leaves: a clock that steps back soon after the first start must not stop the mesh."""


class AuthorityError(Exception):
    """A credential that cannot be issued; the text says why."""


def create_root(
    trust_domain: TrustDomain,
    now: datetime,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    not_before: datetime | None = None,
) -> Signer:
    """A new self-signed root for `trust_domain`, with a fresh key unless one is given.

    `not_before` is for a successor: it may begin with its predecessor, since a clock that was wrong for a
    moment must not leave a root whose life begins years from now.
    """
    key = key or new_private_key()
    begins = now - SIGNER_BACKDATE
    validity = _validity(min(begins, not_before or begins), now + ROOT_LIFETIME)
    builder = profiles.root(trust_domain, key.public_key(), validity)
    return Signer(builder.sign(key, hashes.SHA256()), key)


def create_intermediate(root: Signer, now: datetime) -> Signer:
    """A new intermediate below `root`, which it does not outlive, and with which it begins: a clock that was
    wrong for a moment must not leave one of the future. Raises AuthorityError when `root` is not valid.
    """
    require_valid(root, "root", now)
    key = new_private_key()
    parent = root.certificate
    validity = _validity(parent.not_valid_before_utc, min(now + INTERMEDIATE_LIFETIME, parent.not_valid_after_utc))
    builder = profiles.intermediate(root.trust_domain, key.public_key(), validity, parent)
    return Signer(builder.sign(root.private_key, hashes.SHA256()), key)


@dataclass(frozen=True, slots=True)
class Authority:
    """Issues the credentials of one trust domain. ValueError when the intermediate is not the root's."""

    root: SigningCertificate
    """Its key is not needed here: it may be offline."""
    intermediate: Signer

    def __post_init__(self) -> None:
        try:
            self.intermediate.certificate.verify_directly_issued_by(self.root.certificate)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise ValueError("the intermediate certificate was not signed by the root") from error
        if self.intermediate.trust_domain != self.root.trust_domain:
            raise ValueError("the intermediate and the root name different trust domains")

    @property
    def trust_domain(self) -> TrustDomain:
        return self.root.trust_domain

    @property
    def bundle(self) -> TrustBundle:
        """What a peer needs to verify everything this authority issues."""
        return TrustBundle(self.trust_domain, {self.trust_domain: (self.root.certificate_pem,)})

    def needs_intermediate(self, now: datetime) -> bool:
        """Whether it is time for a new intermediate, and a new one would last longer than the present one."""
        ends = self.intermediate.certificate.not_valid_after_utc
        return ends - now < INTERMEDIATE_RENEWAL and ends < self.root.certificate.not_valid_after_utc

    def issue(self, spiffe_id: SpiffeId, lifetime: timedelta, now: datetime, dns_names: Sequence[str] = ()) -> X509Svid:
        """See `Issuer.issue`. It ends with the intermediate, if that is earlier."""
        key = new_private_key()
        validity = self._leaf_validity(spiffe_id, lifetime, now)
        return X509Svid(
            spiffe_id=spiffe_id,
            certificate_chain_pem=self._sign(spiffe_id, key.public_key(), validity, dns_names),
            private_key_pem=private_key_pem(key),
            issued_at=now,
            not_before=validity.not_before,
            not_after=validity.not_after,
        )

    def sign(
        self, spiffe_id: SpiffeId, public_key: ec.EllipticCurvePublicKey, lifetime: timedelta, now: datetime
    ) -> bytes:
        """See `Issuer.sign`. It ends with the intermediate, if that is earlier."""
        if public_key.curve.name != ec.SECP256R1.name:
            raise AuthorityError(f"keys are of the curve P-256, not {public_key.curve.name}")
        return self._sign(spiffe_id, public_key, self._leaf_validity(spiffe_id, lifetime, now), ())

    def _leaf_validity(self, spiffe_id: SpiffeId, lifetime: timedelta, now: datetime) -> Validity:
        if spiffe_id.trust_domain != self.trust_domain:
            raise AuthorityError(f"{spiffe_id} is not of trust domain {self.trust_domain}")
        if lifetime < timedelta(seconds=1):
            raise AuthorityError(f"a lifetime of {lifetime} is too short: certificates count whole seconds")
        require_valid(self.root, "root", now)
        require_valid(self.intermediate, "intermediate", now)
        issuer = self.intermediate.certificate
        return _validity(
            max(now - LEAF_BACKDATE, issuer.not_valid_before_utc),
            min(now + lifetime, issuer.not_valid_after_utc),
        )

    def _sign(
        self,
        spiffe_id: SpiffeId,
        key: ec.EllipticCurvePublicKey,
        validity: Validity,
        dns_names: Sequence[str],
    ) -> bytes:
        builder = profiles.leaf(spiffe_id, key, validity, self.intermediate.certificate, dns_names)
        certificate = builder.sign(self.intermediate.private_key, hashes.SHA256())
        return certificate.public_bytes(Encoding.PEM) + self.intermediate.certificate_pem


def _validity(start: datetime, end: datetime) -> Validity:
    # X.509 has no fractions of a second; both ends are rounded down, so no child outlives its parent.
    return Validity(start.replace(microsecond=0), end.replace(microsecond=0))


def require_valid(signer: SigningCertificate, role: str, now: datetime) -> None:
    """Raise AuthorityError unless `signer`, the root or intermediate that `role` says, is valid at `now`."""
    begins, ends = signer.certificate.not_valid_before_utc, signer.certificate.not_valid_after_utc
    if now < begins:
        raise AuthorityError(f"the {role} certificate is not valid before {begins}, and the clock says {now}")
    if now >= ends:
        raise AuthorityError(f"the {role} certificate ended at {ends}, and the clock says {now}")
