"""State-of-the-world ADS, rule by rule. S1-S9 and U1-U3 are the outlines of the public xDS test harness."""

from __future__ import annotations

import pytest

from tests.conformance.model import CDS, ECDS, EDS, LDS, RDS, SDS, Sent, Wire, made
from xds.resource import TypeUrl
from xds.stream import PATIENCE, Ack

by_type = pytest.mark.parametrize("url", list(TypeUrl), ids=lambda url: url.name)
full = pytest.mark.parametrize("url", [CDS, LDS], ids=lambda url: url.name)
partial = pytest.mark.parametrize("url", [EDS, SDS, ECDS, RDS], ids=lambda url: url.name)


def world(url: TypeUrl, put: str) -> Wire:
    wire = Wire(delta=False)
    wire.put(*(made(url, name, "1") for name in put))
    return wire


def subscribed(url: TypeUrl, put: str, *wanted: str) -> tuple[Wire, Sent]:
    """A wire whose client has asked and acknowledged, and the response it got."""
    wire = world(url, put)
    wire.request(url, resource_names=wanted)
    (sent,) = wire.poll()
    wire.ack(sent, names=wanted)
    assert wire.poll() == []
    return wire, sent


def update(wire: Wire, url: TypeUrl, name: str) -> list[list[str]]:
    wire.put(made(url, name, "2"))
    return [sorted(each.versions) for each in wire.poll()]


# -- the harness


@full
def test_s1_the_wildcard_is_one_response(url: TypeUrl) -> None:
    _, sent = subscribed(url, "CAB")
    assert sent.names == ["A", "B", "C"]


@full
def test_s2_a_change_sends_everything(url: TypeUrl) -> None:
    wire, first = subscribed(url, "ABC")
    wire.put(made(url, "A", "2"))
    (sent,) = wire.poll()
    assert sent.names == ["A", "B", "C"]
    assert sent.versions["A"] == made(url, "A", "2").version
    assert sent.message.version_info != first.message.version_info


@full
def test_s3_an_addition_sends_everything(url: TypeUrl) -> None:
    wire, _ = subscribed(url, "ABC")
    assert update(wire, url, "D") == [["A", "B", "C", "D"]]


@pytest.mark.parametrize("url", [LDS, RDS, EDS, CDS], ids=lambda url: url.name)
def test_s4_names_are_a_subset(url: TypeUrl) -> None:
    _, sent = subscribed(url, "GBLD", "L", "G")
    assert sent.names == ["G", "L"]


@full
def test_s5_a_change_sends_the_whole_subset(url: TypeUrl) -> None:
    wire, _ = subscribed(url, "ABCD", "B", "D")
    assert update(wire, url, "B") == [["B", "D"]]


@partial
def test_s6_a_change_is_sent_alone(url: TypeUrl) -> None:
    wire, _ = subscribed(url, "ABCD", "B", "D")
    assert update(wire, url, "B") == [["B"]]


@full
def test_s7_a_missing_name_appears_with_the_whole_subset(url: TypeUrl) -> None:
    wire, sent = subscribed(url, "ABC", "A", "Z")
    assert sent.names == ["A"]
    assert update(wire, url, "Z") == [["A", "Z"]]


@partial
def test_s8_a_missing_name_appears_alone(url: TypeUrl) -> None:
    wire, sent = subscribed(url, "ABC", "A", "Z")
    assert sent.names == (["A", "Z"] if url in (EDS, RDS) else ["A"])
    assert update(wire, url, "Z") == [["Z"]]


@pytest.mark.parametrize("pair", [(CDS, LDS), (RDS, EDS)], ids=lambda pair: pair[0].name)
def test_s9_an_answer_under_the_wrong_type_blocks_nothing(pair: tuple[TypeUrl, TypeUrl]) -> None:
    wire = Wire(delta=False)
    for url in pair:
        wire.put(*(made(url, name) for name in "ABC"))
    wire.request(pair[0], resource_names=["B"])
    wire.ack(*wire.poll(), names=["B"])
    wire.request(pair[1], resource_names=["B"])
    (second,) = wire.poll()
    assert wire.request(pair[0], resource_names=["B"], response_nonce=second.nonce) is None
    assert wire.poll() == []
    assert update(wire, pair[0], "B") == [["B"]]


@pytest.mark.parametrize(
    ("url", "wanted", "kept"), [(CDS, "CAB", "A"), (LDS, "BDL", "B"), (RDS, "BD", "B"), (EDS, "BD", "B")]
)
def test_u1_u2_fewer_names(url: TypeUrl, wanted: str, kept: str) -> None:
    wire, sent = subscribed(url, "ABCDFL", *wanted)
    wire.request(url, resource_names=[kept], response_nonce=sent.nonce, version_info=sent.message.version_info)
    assert wire.poll() == []
    assert update(wire, url, kept) == [[kept]]


@by_type
def test_u3_the_empty_name_is_nobody(url: TypeUrl) -> None:
    wire, sent = subscribed(url, "ABCD", "A", "B")
    wire.request(url, resource_names=[""], response_nonce=sent.nonce)
    assert wire.poll() == []
    assert update(wire, url, "B") == []


# -- wildcards: the sequence of the protocol text


def test_wildcard_forms() -> None:
    wire, sent = subscribed(CDS, "AB")
    for wanted, seen in ((["*", "A"], ["A", "B"]), (["A"], ["A"]), ([], None)):
        wire.request(CDS, resource_names=wanted, response_nonce=sent.nonce)
        for each in wire.poll():
            sent = each
            wire.ack(sent, names=wanted)
        wire.put(made(CDS, "A", repr(wanted)))
        responses = wire.poll()
        assert [each.names for each in responses] == ([] if seen is None else [seen])
        for each in responses:
            sent = each
            wire.ack(sent, names=wanted)


@partial
def test_only_lds_and_cds_know_the_legacy_wildcard(url: TypeUrl) -> None:
    wire = world(url, "A")
    wire.request(url)
    assert wire.poll() == []
    assert update(wire, url, "A") == []


@full
@pytest.mark.parametrize("wanted", [[], ["*"], ["Z"]], ids=["legacy", "explicit", "missing name"])
def test_an_empty_world_is_an_answer_once(url: TypeUrl, wanted: list[str]) -> None:
    _, sent = subscribed(url, "", *wanted)
    assert sent.names == []


# -- removals


@pytest.mark.parametrize("url", [CDS, LDS], ids=lambda url: url.name)
def test_absence_is_removal_of_clusters_and_listeners(url: TypeUrl) -> None:
    wire, _ = subscribed(url, "AB")
    wire.drop((url, "A"))
    (sent,) = wire.poll()
    assert sent.names == ["B"]


@partial
def test_nothing_is_sent_because_something_else_went(url: TypeUrl) -> None:
    wire, sent = subscribed(url, "AB", "A", "B")
    wire.drop((url, "A"))
    assert wire.poll() == []
    wire.request(url, resource_names=["B"], response_nonce=sent.nonce)
    assert wire.poll(after=10.0) == []


@pytest.mark.parametrize("url", [EDS, RDS], ids=lambda url: url.name)
def test_what_is_still_wanted_becomes_empty_after_a_while(url: TypeUrl) -> None:
    wire, _ = subscribed(url, "AB", "A", "B")
    wire.drop((url, "A"))
    assert wire.poll(after=64.9) == []
    assert [each.names for each in wire.poll(after=65.1)] == [["A"]]


# -- requests


@by_type
def test_a_new_name_is_answered_although_nothing_changed(url: TypeUrl) -> None:
    wire, sent = subscribed(url, "AB", "A")
    wire.request(url, resource_names=["A", "B"], response_nonce=sent.nonce, version_info=sent.message.version_info)
    (sent,) = wire.poll()
    assert sent.names == (["A", "B"] if url in (CDS, LDS) else ["B"])


@by_type
def test_unsubscribed_and_subscribed_again_is_sent_again(url: TypeUrl) -> None:
    wire, sent = subscribed(url, "AB", "A", "B")
    wire.request(url, resource_names=["A"], response_nonce=sent.nonce)
    wire.request(url, resource_names=["A", "B"], response_nonce=sent.nonce)
    assert "B" in wire.poll()[0].names


@by_type
def test_a_stale_request_is_neither_answered_nor_a_rejection(url: TypeUrl) -> None:
    wire, first = subscribed(url, "A", "A")
    wire.put(made(url, "A", "2"))
    (second,) = wire.poll()
    wire.request(url, resource_names=["A", "B"], response_nonce=first.nonce)
    assert wire.poll() == []
    assert isinstance(wire.request(url, resource_names=["A"], response_nonce=second.nonce), Ack)


@by_type
def test_the_nonce_of_an_earlier_stream_is_not_stale(url: TypeUrl) -> None:
    wire = world(url, "A")
    wire.request(url, resource_names=["A"], response_nonce="17", version_info="old")
    assert wire.poll(after=PATIENCE)[0].names == ["A"]


@by_type
def test_an_answer_is_not_answered_and_silence_is_not_repeated(url: TypeUrl) -> None:
    wire = world(url, "A")
    wire.request(url, resource_names=["A"])
    (sent,) = wire.poll()
    assert wire.poll(after=60.0) == []
    wire.ack(sent, names=["A"])
    assert wire.poll() == []
    assert wire.stream.settled


@pytest.mark.parametrize("url", [SDS, ECDS], ids=lambda url: url.name)
def test_missing_names_are_remembered_in_silence(url: TypeUrl) -> None:
    wire = world(url, "")
    wire.request(url, resource_names=["A"])
    assert wire.poll() == []
    assert update(wire, url, "A") == [["A"]]


@pytest.mark.parametrize("url", [EDS, RDS], ids=lambda url: url.name)
def test_missing_endpoints_and_routes_are_explicitly_empty(url: TypeUrl) -> None:
    wire = world(url, "")
    wire.request(url, resource_names=["A"])
    assert wire.poll()[0].names == ["A"]


def test_versions_are_content_and_so_equal_on_every_replica() -> None:
    one, other = world(CDS, "AB"), world(CDS, "BA")
    for wire in (one, other):
        wire.request(CDS)
    assert one.poll()[0].message.version_info == other.poll()[0].message.version_info


def test_a_type_nobody_serves_is_silence() -> None:
    wire = world(CDS, "A")
    wire.request("type.googleapis.com/strange", resource_names=["A"])
    assert wire.poll() == []
