from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.identity import (
    IdentityError,
    SpiffeId,
    TrustDomain,
    WorkloadIdentity,
    control_plane_id,
    workload_identity,
)

NAMES = st.text(alphabet="abcXYZ019._-", min_size=1, max_size=60).filter(lambda name: name not in (".", ".."))
DOMAINS = st.text(alphabet="abcz019._-", min_size=1, max_size=60)
NEAR_MISSES = st.text(alphabet="spiffe:/.%?#@aZ0-_ \x00é\n", max_size=60)


@given(domain=DOMAINS, namespace=NAMES, account=NAMES)
def test_workload_identity_round_trip(domain: str, namespace: str, account: str) -> None:
    identity = WorkloadIdentity(TrustDomain(domain), namespace, account)
    assert WorkloadIdentity.from_spiffe_id(SpiffeId.parse(str(identity))) == identity


@given(text=st.one_of(st.text(), NEAR_MISSES, NEAR_MISSES.map(lambda rest: f"spiffe://a/{rest}")))
def test_any_text_is_an_id_that_reads_the_same_or_an_error(text: str) -> None:
    try:
        spiffe_id = SpiffeId.parse(text)
    except IdentityError:
        return
    assert str(spiffe_id) == text
    assert len(text) <= 2048


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "spiffe:///ns/a/sa/b",
        "spiffe://td",
        "spiffe://td/",
        "spiffe://td/ns/",
        "spiffe://td/ns//sa",
        "spiffe://td/ns/../sa",
        "spiffe://td/ns/./sa",
        "spiffe://TD/ns/a",
        "SPIFFE://td/ns/a",
        "spiffe://td:80/ns/a",
        "spiffe://user@td/ns/a",
        "spiffe://td/ns/a?x=1",
        "spiffe://td/ns/a#x",
        "spiffe://td/ns/%61",
        "spiffe://td/ns/a\n",
        "spiffe://td/ns/a\x00",
        "https://td/ns/a",
        "spiffe://td/" + "a" * 2048,
        "spiffe://" + "a" * 256 + "/x",
    ],
)
def test_invalid_spiffe_ids(uri: str) -> None:
    with pytest.raises(IdentityError):
        SpiffeId.parse(uri)


def test_names_too_long_together_fail_at_once() -> None:
    with pytest.raises(IdentityError):
        WorkloadIdentity(TrustDomain("td"), "n" * 1500, "s" * 1500)


def test_the_control_plane_is_no_workload() -> None:
    with pytest.raises(IdentityError, match="does not name a workload"):
        WorkloadIdentity.from_spiffe_id(control_plane_id(TrustDomain("td")))


def test_dots_in_a_service_account_stay_in_it() -> None:
    identity = WorkloadIdentity(TrustDomain("td"), "a.b", "c.d")
    assert WorkloadIdentity.from_spiffe_id(identity.spiffe_id) == identity
    assert str(identity) == "spiffe://td/ns/a.b/sa/c.d"


@pytest.mark.parametrize("make", [WorkloadIdentity, workload_identity])
@pytest.mark.parametrize(
    "names", [("", "a"), ("a", ""), ("a", ".."), (".", "a"), ("a/b", "c"), ("a", "b\n"), ("a", "é")]
)
def test_invalid_names(make: Callable[[TrustDomain, str, str], WorkloadIdentity], names: tuple[str, str]) -> None:
    for _ in range(2):
        with pytest.raises(IdentityError):
            make(TrustDomain("td"), *names)


@given(domain=DOMAINS, namespace=NAMES, account=NAMES)
def test_a_remembered_identity_is_the_same_as_a_new_one(domain: str, namespace: str, account: str) -> None:
    new = WorkloadIdentity(TrustDomain(domain), namespace, account)
    for _ in range(2):
        remembered = workload_identity(TrustDomain(domain), namespace, account)
        assert (remembered, hash(remembered), str(remembered)) == (new, hash(new), str(new))
    assert str(new) == str(new.spiffe_id)


def test_the_longest_id() -> None:
    room = 2048 - len("spiffe://td/ns/n/sa/")
    assert len(str(WorkloadIdentity(TrustDomain("td"), "n", "s" * room))) == 2048
    with pytest.raises(IdentityError, match="longer than 2048"):
        WorkloadIdentity(TrustDomain("td"), "n", "s" * (room + 1))


def test_a_replaced_name_is_in_the_text() -> None:
    identity = WorkloadIdentity(TrustDomain("td"), "ns", "a")
    assert str(dataclasses.replace(identity, service_account="b")) == "spiffe://td/ns/ns/sa/b"
