"""The trust bundle: which roots speak for which trust domain.

In: root certificates as PEM. Out: a frozen value. Public material only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.identity import TrustDomain


class BundleError(ValueError):
    """Roots that cannot make a trust bundle."""


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """Roots by trust domain, the mesh's own among them. A root speaks for its own domain and for no other.

    `roots` maps each domain to its root certificates, one PEM text each, without duplicates; equal roots in
    the same order make equal bundles, whatever the order of domains. Raises BundleError for anything but
    certificates.
    """

    trust_domain: TrustDomain
    roots: Mapping[TrustDomain, tuple[bytes, ...]] = field(hash=False)

    def __post_init__(self) -> None:
        normal = {domain: _normal(domain, pems) for domain, pems in sorted(self.roots.items())}
        if self.trust_domain not in normal:
            raise BundleError(f"the bundle of {self.trust_domain} has no root for {self.trust_domain} itself")
        object.__setattr__(self, "roots", MappingProxyType(normal))

    def federated(self, foreign: Mapping[TrustDomain, Iterable[bytes]]) -> TrustBundle:
        """The same with the roots of other domains, each of which speaks for its own domain only.

        Raises BundleError for the mesh's own domain: what else could sign its identities is not for others to say.
        """
        if self.trust_domain in foreign:
            raise BundleError(f"{self.trust_domain} is the mesh's own trust domain: its roots cannot be added")
        return TrustBundle(self.trust_domain, {**self.roots, **{name: tuple(pems) for name, pems in foreign.items()}})

    def pem(self, trust_domain: TrustDomain) -> bytes:
        """The roots of one domain as one PEM text; KeyError when the bundle does not know the domain."""
        return b"".join(self.roots[trust_domain])

    @property
    def own_pem(self) -> bytes:
        """The roots of the mesh's own domain: what a sidecar needs to recognise the control plane."""
        return self.pem(self.trust_domain)


def _normal(domain: TrustDomain, pems: Iterable[bytes]) -> tuple[bytes, ...]:
    certificates: list[x509.Certificate] = []
    for pem in pems:
        try:
            certificates += x509.load_pem_x509_certificates(pem)
        except ValueError as error:
            raise BundleError(f"a root of {domain} is not a PEM certificate") from error
    if not certificates:
        raise BundleError(f"trust domain {domain} has no roots")
    # Encoding anew drops whatever stood around the certificates, a private key by mistake for example.
    return tuple(dict.fromkeys(certificate.public_bytes(Encoding.PEM) for certificate in certificates))
