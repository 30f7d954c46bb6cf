"""X.509 SVIDs: the credential of one proxy, and when to replace it.

In: what the authority signed. Out: frozen values whose text forms never show the key, and pure arithmetic
on time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ca.identity import SpiffeId

_RENEWAL_SHARE = 2 / 3
_RENEWAL_SPREAD = 1 / 6
"""Renewals of credentials issued together are spread over this share of their life, so they do not come
together.
"""


@dataclass(frozen=True, slots=True, repr=False)
class X509Svid:
    """A certificate with its private key, for one proxy alone. Times are UTC."""

    spiffe_id: SpiffeId
    certificate_chain_pem: bytes
    """The leaf, then the intermediate; the root is not part of it."""
    private_key_pem: bytes
    """PKCS#8. Hand it to the proxy it was made for, over authenticated TLS, and keep it nowhere else."""
    issued_at: datetime
    not_before: datetime
    """In whole seconds, and earlier than `issued_at` for the sake of peers whose clocks are behind."""
    not_after: datetime
    """In whole seconds; the last instant at which peers accept the certificate."""

    def __repr__(self) -> str:
        return (
            f"X509Svid({self.spiffe_id}, {self.not_before:%Y-%m-%dT%H:%M:%SZ} to"
            f" {self.not_after:%Y-%m-%dT%H:%M:%SZ}, private_key_pem=<redacted>)"
        )


def renew_at(svid: X509Svid, jitter: float) -> datetime:
    """When to replace `svid`: two thirds of the way from its issue to its expiry, a twelfth of that way
    earlier (`jitter` 0) to a twelfth later (`jitter` towards 1). Compare it with the wall clock: monotonic
    clocks may stand still while a machine sleeps, and certificates do not wait.
    """
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter must lie in [0, 1), not {jitter}")
    share = _RENEWAL_SHARE + (jitter - 0.5) * _RENEWAL_SPREAD
    return svid.issued_at + (svid.not_after - svid.issued_at) * share
