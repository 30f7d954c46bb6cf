"""The client certificate that a sidecar holds: whose it is, and when it needs another. Pure.

In: what Envoy was given, what the join directory says now, the time. Out: a time, or a reason.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from ca.bundle import BundleError, TrustBundle
from ca.identity import IdentityError, ProxyIdentity
from ca.validation import SvidError, verify_svid
from deploy.sidecar.join import JoinMaterial, bundle_trust_domain

_RENEWAL_SHARE = 2 / 3
_RENEWAL_SPREAD = 1 / 6
"""As for the certificates of the data plane: renewals are spread over this share of their life."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A chain, leaf first, and since when it is here."""

    chain_pem: bytes
    received: datetime

    @property
    def ends(self) -> datetime:
        return x509.load_pem_x509_certificate(self.chain_pem).not_valid_after_utc

    def renew_at(self, jitter: float) -> datetime:
        """Two thirds of the way from its arrival to its end, give or take a twelfth (`jitter` in [0, 1))."""
        share = _RENEWAL_SHARE + (jitter - 0.5) * _RENEWAL_SPREAD
        return self.received + (self.ends - self.received) * share

    def useless_reason(self, material: JoinMaterial, now: datetime) -> str | None:
        """Why the control plane that wrote `material` would refuse it at `now`; None if it would not."""
        try:
            proxy = proxy_of(self.chain_pem, material.bundle.encode(), now)
        except SvidError as error:
            return f"its certificate is of no use any more: {error}"
        named = named_by(material.token)
        if named is not None and named != str(proxy.serves):
            return f"its certificate is for {proxy.serves}, and the workload is {named} now"
        return None


def proxy_of(chain_pem: bytes, bundle_pem: bytes, now: datetime | None = None) -> ProxyIdentity:
    """The proxy whose certificate `chain_pem` is, below the roots in `bundle_pem`; `now` None: at its beginning.

    Raises SvidError, and JoinError when the bundle is none.
    """
    domain = bundle_trust_domain(bundle_pem.decode("ascii"))
    try:
        bundle = TrustBundle(domain, {domain: (bundle_pem,)})
        moment = now or x509.load_pem_x509_certificate(chain_pem).not_valid_before_utc
        return ProxyIdentity.from_spiffe_id(verify_svid(chain_pem, bundle, moment))
    except (BundleError, IdentityError, ValueError) as error:
        raise SvidError(str(error)) from None


def named_by(token: str) -> str | None:
    """The SPIFFE ID that a join token says it is for; None when it cannot be read.

    Whether that is true, only the control plane can tell: it is a hint, and no proof.
    """
    return _claim(token, "sub")


def workload_of(token: str) -> str | None:
    """The same for the workload, `namespace/name`."""
    return _claim(token, "tulle/workload")


def _claim(token: str, name: str) -> str | None:
    try:
        payload = token.split(".")[1]
        value = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).get(name)
    except (IndexError, ValueError, AttributeError, RecursionError):
        return None
    return value if isinstance(value, str) else None
