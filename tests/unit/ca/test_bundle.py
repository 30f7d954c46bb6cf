from __future__ import annotations

from datetime import datetime

import pytest

from ca.authority import Authority, create_root
from ca.bundle import BundleError, TrustBundle
from ca.identity import TrustDomain


def test_own_roots_are_always_present(authority: Authority, trust_domain: TrustDomain) -> None:
    other = TrustDomain("other.test")
    with pytest.raises(BundleError, match="no root for mesh"):
        TrustBundle(trust_domain, {other: (authority.root.certificate_pem,)})
    with pytest.raises(BundleError, match="has no roots"):
        TrustBundle(trust_domain, {trust_domain: ()})


def test_a_private_key_never_gets_in(authority: Authority, trust_domain: TrustDomain) -> None:
    bundle = TrustBundle(trust_domain, {trust_domain: (authority.root.to_pem(),)})
    assert bundle.own_pem == authority.root.certificate_pem
    with pytest.raises(BundleError, match="not a PEM certificate"):
        TrustBundle(trust_domain, {trust_domain: (b"nonsense",)})


def test_equal_whatever_the_order_of_domains_and_the_packing(
    authority: Authority, trust_domain: TrustDomain, now: datetime
) -> None:
    partner = TrustDomain("a.partner")
    own, second, foreign = (
        authority.root.certificate_pem,
        create_root(trust_domain, now).certificate_pem,
        create_root(partner, now).certificate_pem,
    )
    one = TrustBundle(trust_domain, {trust_domain: (own, second, own), partner: (foreign,)})
    two = TrustBundle(trust_domain, {partner: (foreign,), trust_domain: (own + second,)})
    assert one == two
    assert hash(one) == hash(two)
    assert list(one.roots) == list(two.roots) == [partner, trust_domain]
    assert one.own_pem == own + second
    assert one.pem(partner) == foreign


def test_the_mapping_cannot_be_changed(authority: Authority, trust_domain: TrustDomain) -> None:
    with pytest.raises(TypeError):
        authority.bundle.roots[trust_domain] = ()  # type: ignore[index]
