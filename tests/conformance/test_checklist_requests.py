"""What a request means: rules of the protocol that the outlines of no public suite hold."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.conformance.model import CDS, ECDS, EDS, LDS, RDS, SDS, Sent, Wire, made
from xds.resource import TypeUrl
from xds.stream import Ack, Nack

both = pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
by_type = pytest.mark.parametrize("url", list(TypeUrl), ids=lambda url: url.name)
RESUMED = 2.0
"""Seconds after which a client that resumes is sent listeners and routes, whether it asked for clusters or not."""


def want(wire: Wire, url: TypeUrl, *wanted: str, **fields: Any) -> Any:
    return wire.request(url, **{"resource_names_subscribe" if wire.delta else "resource_names": wanted}, **fields)


def world(delta: bool, url: TypeUrl, put: str) -> Wire:
    wire = Wire(delta=delta)
    wire.put(*(made(url, name) for name in put))
    return wire


def summary(responses: list[Sent]) -> list[tuple[list[str], list[str]]]:
    return [(sorted(each.names), each.removed) for each in responses]


# -- what is an ACK, and what a NACK


@by_type
@pytest.mark.parametrize("version", ["", "of long ago", "current"])
@pytest.mark.parametrize("rejects", [False, True], ids=["ACK", "NACK"])
def test_sotw_versions_decide_nothing(url: TypeUrl, version: str, rejects: bool) -> None:
    """A NACK is known by its error_detail. Envoy answers a type it does not watch with an old version, and means no
    harm."""
    wire = world(False, url, "A")
    want(wire, url, "A")
    (sent,) = wire.poll()
    version = sent.message.version_info if version == "current" else version
    answer = want(wire, url, "A", response_nonce=sent.nonce, version_info=version, error="A: no" if rejects else None)
    assert isinstance(answer, Nack if rejects else Ack)
    assert wire.poll() == []


@by_type
@both
def test_a_request_without_nonce_is_no_answer(url: TypeUrl, delta: bool) -> None:
    wire = world(delta, url, "AB")
    want(wire, url, "A")
    (sent,) = wire.poll()
    assert want(wire, url, "A", "B") is None
    assert not wire.stream.settled
    wire.ack(sent, *wire.poll(), names=["A", "B"])
    assert wire.stream.settled


@both
def test_a_rejection_may_carry_a_subscription(delta: bool) -> None:
    wire = world(delta, RDS, "AB")
    want(wire, RDS, "A")
    (sent,) = wire.poll()
    want(wire, RDS, *(["B"] if delta else ["A", "B"]), response_nonce=sent.nonce, error="A: no")
    assert summary(wire.poll()) == [(["B"], [])]


@by_type
def test_a_stale_sotw_rejection_is_reported_and_its_names_wait_for_the_newer_answer(url: TypeUrl) -> None:
    wire = world(False, url, "AB")
    want(wire, url, "A")
    (first,) = wire.poll()
    wire.put(made(url, "A", "2"))
    (second,) = wire.poll()
    assert isinstance(want(wire, url, "A", "B", response_nonce=first.nonce, error="A: no"), Nack)
    assert wire.poll() == []
    want(wire, url, "A", "B", response_nonce=second.nonce)
    (third,) = wire.poll()
    assert "B" in third.names


@by_type
def test_the_version_a_sotw_client_reports_spares_it_nothing(url: TypeUrl) -> None:
    """It is the version of a type, perhaps of another set of names, perhaps of another replica."""
    wire = world(False, url, "A")
    want(wire, url, "A")
    (sent,) = wire.poll()
    again = Wire(wire.store, delta=False)
    want(again, url, "A", version_info=sent.message.version_info)
    assert summary(again.poll(after=RESUMED)) == [(["A"], [])]


# -- names and wildcards


@by_type
@both
def test_a_name_given_twice_is_one(url: TypeUrl, delta: bool) -> None:
    wire = world(delta, url, "A")
    want(wire, url, "A", "A")
    assert summary(wire.poll()) == [(["A"], [])]


@by_type
@both
def test_a_star_is_everything_of_any_type_and_is_no_name(url: TypeUrl, delta: bool) -> None:
    wire = world(delta, url, "AB")
    want(wire, url, "*")
    (sent,) = wire.poll()
    assert summary([sent]) == [(["A", "B"], [])]
    wire.ack(sent, names=["*"])
    wire.put(made(url, "C"))
    (sent,) = wire.poll()
    assert "C" in sent.names


@by_type
def test_subscribing_and_unsubscribing_one_name_at_once_is_unsubscribing(url: TypeUrl) -> None:
    wire = world(True, url, "AB")
    want(wire, url, "A", "B", resource_names_unsubscribe=["B"])
    assert summary(wire.poll()) == [(["A"], [])]
    wire.put(made(url, "B", "2"))
    assert wire.poll() == []


@pytest.mark.parametrize("url", [CDS, LDS], ids=lambda url: url.name)
def test_without_the_wildcard_names_stay_and_the_rest_is_sent_anew_when_asked_for(url: TypeUrl) -> None:
    """The client drops what only the wildcard gave it."""
    wire = world(True, url, "AB")
    want(wire, url, "*", "A")
    wire.ack(*wire.poll())
    wire.request(url, resource_names_unsubscribe=["*"])
    assert wire.poll() == []
    wire.put(made(url, "A", "2"), made(url, "B", "2"))
    assert summary(wire.poll()) == [(["A"], [])]
    want(wire, url, "*")
    assert summary(wire.poll()) == [(["A", "B"], [])]


@pytest.mark.parametrize("url", [CDS, LDS], ids=lambda url: url.name)
def test_a_missing_name_beside_the_wildcard_is_answered_at_once(url: TypeUrl) -> None:
    """On-demand clusters wait for that answer."""
    wire = world(True, url, "A")
    want(wire, url)
    wire.ack(*wire.poll())
    want(wire, url, "missing")
    assert summary(wire.poll()) == [([], ["missing"])]
    wire.put(made(url, "missing"))
    assert summary(wire.poll()) == [(["missing"], [])]


@by_type
def test_versions_of_what_is_not_subscribed_to_are_ignored(url: TypeUrl) -> None:
    wire = world(True, url, "AB")
    reported = {"B": made(url, "B", "old").version, "gone": "1"}
    want(wire, url, "A", initial_resource_versions=reported)
    assert summary(wire.poll(after=RESUMED)) == [(["A"], [])]
    assert wire.poll(after=1000.0) == []


@by_type
def test_names_of_other_authorities_are_names(url: TypeUrl) -> None:
    name = "xdstp://authority/type/some/name?a=b&c=d"
    wire = Wire()
    wire.put(made(url, name))
    want(wire, url, name)
    assert summary(wire.poll()) == [([name], [])]


# -- the order in which a client asks


@both
@pytest.mark.parametrize(
    "order", list(itertools.permutations([CDS, EDS, LDS, RDS])), ids=lambda order: "-".join(u.name[0] for u in order)
)
def test_every_order_of_first_requests_ends_equal_and_no_type_waits_for_another(
    delta: bool, order: tuple[TypeUrl, ...]
) -> None:
    """After a reconnect CDS is often the last, and while Envoy warms may never come."""
    wire = Wire(delta=delta)
    wire.put(*(made(url, "A") for url in order))
    held: dict[str, set[str]] = {}
    for url in order:
        want(wire, url, *(() if url in (CDS, LDS) else ("A",)))
        responses = wire.poll()
        assert responses[0].type_url == url
        for sent in responses:
            held.setdefault(sent.type_url, set()).update(sent.names)
            wire.ack(sent, names=[] if sent.type_url in (CDS, LDS) else ["A"])
    assert held == {url: {"A"} for url in order}
    assert wire.stream.settled


@both
@pytest.mark.parametrize("silent", [CDS, EDS, SDS, ECDS, LDS, RDS], ids=lambda url: url.name)
def test_a_type_that_is_never_answered_holds_up_none(delta: bool, silent: TypeUrl) -> None:
    """Also not itself: of a type that is not watched an ACK may never come."""
    wire = Wire(delta=delta)
    wire.put(*(made(url, "A") for url in TypeUrl))
    for url in TypeUrl:
        want(wire, url, "A")
    wire.ack(*(sent for sent in wire.poll() if sent.type_url != silent), names=["A"])
    for note in "23":
        wire.put(*(made(url, "A", note) for url in TypeUrl))
        responses = wire.poll()
        assert [sent.type_url for sent in responses] == list(TypeUrl)
        wire.ack(*(sent for sent in responses if sent.type_url != silent), names=["A"])
