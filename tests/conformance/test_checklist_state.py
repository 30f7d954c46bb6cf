"""What a client holds after changes: rules of the protocol that the outlines of no public suite hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.model import CDS, ECDS, EDS, LDS, RDS, SDS, Sent, Wire, made
from xds.ledger import GRACE
from xds.resource import TypeUrl

both = pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
by_type = pytest.mark.parametrize("url", list(TypeUrl), ids=lambda url: url.name)
by_full_type = pytest.mark.parametrize("url", [CDS, LDS], ids=lambda url: url.name)
by_partial_type = pytest.mark.parametrize("url", [EDS, SDS, ECDS, RDS], ids=lambda url: url.name)


def want(wire: Wire, url: TypeUrl, *wanted: str, **fields: Any) -> Any:
    return wire.request(url, **{"resource_names_subscribe" if wire.delta else "resource_names": wanted}, **fields)


def holding(delta: bool, url: TypeUrl, put: str, *wanted: str) -> tuple[Wire, Sent]:
    """A wire whose client has asked for names (none: the wildcard) and acknowledged, and what it got."""
    wire = Wire(delta=delta)
    wire.put(*(made(url, name) for name in put))
    want(wire, url, *wanted)
    (sent,) = wire.poll()
    wire.ack(sent, names=wanted)
    return wire, sent


def summary(responses: list[Sent]) -> list[tuple[list[str], list[str]]]:
    return [(sorted(each.names), each.removed) for each in responses]


# -- what goes


@by_full_type
@both
@pytest.mark.parametrize("wanted", [(), ("A", "B")], ids=["wildcard", "names"])
def test_the_last_of_a_type_goes_like_any_other(url: TypeUrl, delta: bool, wanted: tuple[str, ...]) -> None:
    """In SotW by an empty answer, which deletes everything."""
    wire, _ = holding(delta, url, "AB", *wanted)
    wire.drop((url, "A"), (url, "B"))
    assert summary(wire.poll()) == [([], ["A", "B"] if delta else [])]


@by_partial_type
def test_no_sotw_answer_is_empty(url: TypeUrl) -> None:
    """It would say nothing, or be misread."""
    wire, sent = holding(False, url, "AB", "A", "B")
    wire.drop((url, "A"), (url, "B"))
    assert wire.poll() == []
    want(wire, url, response_nonce=sent.nonce)
    assert wire.poll(after=1000.0) == []


@by_full_type
@both
def test_what_comes_back_with_the_bytes_it_went_with_is_sent(url: TypeUrl, delta: bool) -> None:
    """No version of it is remembered once it was said to be gone."""
    wire, _ = holding(delta, url, "AB")
    wire.drop((url, "A"))
    wire.ack(*wire.poll(), names=[])
    wire.put(made(url, "A"))
    assert summary(wire.poll()) == [(["A"] if delta else ["A", "B"], [])]


@both
def test_a_listener_goes_in_the_response_that_brings_its_successor(delta: bool) -> None:
    """Envoy applies removals of listeners first, so the address is free for it."""
    wire, _ = holding(delta, LDS, "AB")
    wire.change(put=[made(LDS, "successor")], drop=[(LDS, "A")])
    assert summary(wire.poll()) == [(["successor"], ["A"]) if delta else (["B", "successor"], [])]


@both
def test_a_cluster_goes_after_its_successor_came(delta: bool) -> None:
    wire, _ = holding(delta, CDS, "AB")
    want(wire, LDS)
    (listeners,) = wire.poll()
    wire.change(put=[made(CDS, "successor")], drop=[(CDS, "A")])
    assert summary(wire.poll()) == [(["successor"] if delta else ["A", "B", "successor"], [])]
    wire.ack(listeners, names=[])
    assert summary(wire.poll()) == [([], ["A"]) if delta else (["B", "successor"], [])]
    assert wire.poll(after=GRACE) == []


# -- what is not wanted any more


@by_type
@both
def test_what_changed_before_it_was_unsubscribed_from_is_not_sent_after(url: TypeUrl, delta: bool) -> None:
    wire, sent = holding(delta, url, "AB", "A", "B")
    wire.put(made(url, "B", "2"))
    if delta:
        wire.request(url, resource_names_unsubscribe=["B"])
    else:
        want(wire, url, "A", response_nonce=sent.nonce)
    assert all("B" not in each.names for each in wire.poll())


@by_type
def test_unsubscribed_and_subscribed_between_two_answers_is_answered(url: TypeUrl) -> None:
    wire, _ = holding(True, url, "AB", "A", "B")
    wire.request(url, resource_names_unsubscribe=["B"])
    wire.request(url, resource_names_subscribe=["B"])
    assert summary(wire.poll()) == [(["B"], [])]


# -- what is asked for


@by_type
@pytest.mark.parametrize("change", [False, True], ids=["unchanged", "changed meanwhile"])
def test_sotw_names_narrow_and_widen(url: TypeUrl, change: bool) -> None:
    wire, sent = holding(False, url, "ABC", "A", "B")
    held = {"A", "B"}
    for wanted in (["B"], ["B", "C"], ["A", "B", "C"], ["C"], ["A", "C"]):
        new = set(wanted) - held
        held = set(wanted)
        if change:
            wire.put(*(made(url, name, f"{name} for {wanted}") for name in new))
        want(wire, url, *wanted, response_nonce=sent.nonce, version_info=sent.message.version_info)
        responses = wire.poll()
        assert [set(each.names) for each in responses] == ([] if not new else [held if url in (CDS, LDS) else new])
        for sent in responses:
            wire.ack(sent, names=wanted)
    assert wire.stream.settled


@both
def test_endpoints_sent_unasked_are_sent_again_when_asked_for(delta: bool) -> None:
    """They follow a new cluster before its client can ask."""
    wire, _ = holding(delta, EDS, "A", "A")
    want(wire, CDS)
    wire.ack(*wire.poll(), names=[])
    wire.put(made(CDS, "new"), made(EDS, "new"))
    responses = wire.poll()
    assert [(each.type_url, each.names) for each in responses] == [(CDS, ["new"]), (EDS, ["new"])]
    wire.ack(responses[0], names=[])
    want(wire, EDS, "A", "new", response_nonce=responses[1].nonce)
    assert summary(wire.poll()) == [(["A", "new"] if delta else ["new"], [])]


@pytest.mark.parametrize("read", [False, True], ids=["before it read the new ones", "after"])
def test_endpoints_asked_for_again_after_every_cluster_response_are_sent_once(read: bool) -> None:
    """SotW Envoy repeats its whole request then, equal to its last answer but for the nonce it has seen."""
    wire, first = holding(False, EDS, "AB", "A", "B")
    want(wire, CDS)
    wire.ack(*wire.poll(), names=[])
    wire.put(made(CDS, "A", "2"))
    clusters, endpoints = wire.poll()
    assert endpoints.names == ["A"]
    wire.ack(clusters, names=[])
    want(wire, EDS, "A", "B", response_nonce=endpoints.nonce if read else first.nonce)
    assert wire.poll() == []
    wire.ack(endpoints, names=["A", "B"])
    assert wire.poll() == []
    assert wire.stream.settled


def test_endpoints_of_a_type_nobody_watches_are_not_sent() -> None:
    """Endpoints go unasked to clients that ask for some on this stream; gRPC and Envoy with static clusters do not."""
    wire, _ = holding(True, CDS, "A")
    wire.put(made(CDS, "new"), made(EDS, "new"))
    assert [each.type_url for each in wire.poll()] == [CDS]


# -- several clients, many changes


@by_type
def test_two_clients_of_both_variants_hear_of_one_change(url: TypeUrl) -> None:
    one, _ = holding(True, url, "AB", "A")
    two = Wire(one.store, delta=False)
    want(two, url, "A", "B")
    two.ack(*two.poll(), names=["A", "B"])
    one.put(made(url, "B", "2"))
    assert one.poll() == []
    assert summary(two.poll()) == [(["A", "B"] if url in (CDS, LDS) else ["B"], [])]
    one.put(made(url, "A", "2"))
    assert summary(one.poll()) == [(["A"], [])]


@by_type
@both
def test_a_hundred_resources_and_one_change(url: TypeUrl, delta: bool) -> None:
    wire = Wire(delta=delta)
    every = [f"r{number:03}" for number in range(100)]
    wire.put(*(made(url, name) for name in every))
    want(wire, url, *every)
    wire.ack(*wire.poll(), names=every)
    wire.put(made(url, "r050", "2"))
    whole = url in (CDS, LDS) and not delta
    assert summary(wire.poll()) == [(every if whole else ["r050"], [])]


@by_type
@both
def test_content_that_changes_changes_the_version_and_changes_it_back(url: TypeUrl, delta: bool) -> None:
    wire, first = holding(delta, url, "A", "A")
    versions = []
    for note in ("2", ""):
        wire.put(made(url, "A", note))
        (sent,) = wire.poll()
        wire.ack(sent, names=["A"])
        versions.append((sent.versions, "" if delta else sent.message.version_info))
    assert versions[0] != versions[1]
    assert versions[1] == (first.versions, "" if delta else first.message.version_info)
