"""The authority with its book-keeping: nothing is issued before it is noted until when it may be in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec

from ca.authority import Authority
from ca.bundle import TrustBundle
from ca.identity import SpiffeId, TrustDomain, control_plane_id
from ca.svid import X509Svid

Note = Callable[[str, datetime, datetime], None]
"""Takes the id of the root, when the credential ends, and the time; raises when it must not be issued."""


@dataclass(frozen=True, slots=True)
class RecordedIssuer:
    """An `Issuer`: the authority below the root that issues now. `bundle` has the other root of a rotation too."""

    _authority: Authority
    bundle: TrustBundle
    _note: Note

    @property
    def trust_domain(self) -> TrustDomain:
        return self._authority.trust_domain

    def issue(self, spiffe_id: SpiffeId, lifetime: timedelta, now: datetime, dns_names: Sequence[str] = ()) -> X509Svid:
        """See `Issuer.issue`."""
        self._record(spiffe_id, lifetime, now)
        return self._authority.issue(spiffe_id, lifetime, now, dns_names)

    def sign(
        self, spiffe_id: SpiffeId, public_key: ec.EllipticCurvePublicKey, lifetime: timedelta, now: datetime
    ) -> bytes:
        """See `Issuer.sign`."""
        self._record(spiffe_id, lifetime, now)
        return self._authority.sign(spiffe_id, public_key, lifetime, now)

    def _record(self, spiffe_id: SpiffeId, lifetime: timedelta, now: datetime) -> None:
        # The control plane replaces its own certificate in the moment that another root issues.
        if spiffe_id != control_plane_id(self.trust_domain):
            end = min(now + lifetime, self._authority.intermediate.certificate.not_valid_after_utc)
            self._note(self._authority.root.id, end, now)
