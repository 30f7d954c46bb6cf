"""What issues credentials, for those who need some: a protocol, so that another authority can take its place.

The built-in one is `ca.authority.Authority`; `ca.state.CaState.authority` hands it out with its book-keeping.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from ca.bundle import TrustBundle
from ca.identity import SpiffeId, TrustDomain
from ca.svid import X509Svid


class Issuer(Protocol):
    """Issues the credentials of one trust domain. Ask for it each time: which root it stands below may change."""

    @property
    def trust_domain(self) -> TrustDomain:
        """The one domain it issues for."""

    @property
    def bundle(self) -> TrustBundle:
        """What a peer needs to verify everything that is issued, and was issued and is in use."""

    def issue(self, spiffe_id: SpiffeId, lifetime: timedelta, now: datetime, dns_names: Sequence[str] = ()) -> X509Svid:
        """A credential with a fresh key, valid from shortly before `now` until `now + lifetime`, or until its
        issuer ends if that is earlier.

        `dns_names` are for peers that check host names and know nothing of SPIFFE, as gRPC's own clients.
        Raises AuthorityError for a foreign trust domain, a lifetime below a second, or a signer that is not
        valid, and StateError when what must be kept cannot be written.
        """

    def sign(
        self, spiffe_id: SpiffeId, public_key: ec.EllipticCurvePublicKey, lifetime: timedelta, now: datetime
    ) -> bytes:
        """The certificate chain, as PEM with the leaf first, for a P-256 key that stays where it was made.

        That the peer holds the private key, and may have this name, is for the caller to know. Raises as
        `issue` does, and AuthorityError for a key of another curve.
        """
