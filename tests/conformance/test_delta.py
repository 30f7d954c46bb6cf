"""Delta ADS, rule by rule. D1-D6 are the outlines of the public xDS test harness."""

from __future__ import annotations

from typing import Any

import pytest

from protos.envoy.config.endpoint import v3_pb2 as endpoint_v3
from protos.envoy.config.route import v3_pb2 as route_v3
from tests.conformance.model import CDS, ECDS, EDS, LDS, PROXY, RDS, SDS, Wire, made, names
from xds.ledger import MAX_RESPONSE_BYTES
from xds.resource import TypeUrl
from xds.stream import MAX_UNKNOWN_TYPES, PATIENCE, Ack, Nack, ProtocolError
from xds.view import View

by_type = pytest.mark.parametrize("url", list(TypeUrl), ids=lambda url: url.name)
by_named_type = pytest.mark.parametrize("url", [EDS, SDS, ECDS, RDS], ids=lambda url: url.name)
by_wildcard_type = pytest.mark.parametrize("url", [CDS, LDS], ids=lambda url: url.name)


def subscribed(url: TypeUrl, *wanted: str, put: str = "") -> Wire:
    """A wire with resources, subscribed to some names, everything acknowledged."""
    wire = Wire()
    wire.put(*(made(url, name) for name in put or wanted))
    wire.request(url, resource_names_subscribe=wanted)
    wire.ack(*wire.poll())
    return wire


# -- the harness


@by_type
def test_d1_names_are_answered_as_they_come(url: TypeUrl) -> None:
    wire = subscribed(url, "A", put="ABC")
    wire.request(url, resource_names_subscribe=["B"])
    (sent,) = wire.poll()
    assert sent.names == ["B"]


@by_type
def test_d2_a_change_is_sent_alone(url: TypeUrl) -> None:
    wire = subscribed(url, "A", "B", "C")
    wire.put(made(url, "A", "2"))
    (sent,) = wire.poll()
    assert (sent.names, sent.removed) == (["A"], [])


@by_type
def test_d3_a_name_that_appears_later_is_sent(url: TypeUrl) -> None:
    wire = subscribed(url, "A", "B", put="A")
    wire.put(made(url, "B"))
    (sent,) = wire.poll()
    assert sent.names == ["B"]


@by_wildcard_type
def test_d4_removed_and_back_without_asking_again(url: TypeUrl) -> None:
    wire = subscribed(url, "A", "B")
    wire.drop((url, "B"))
    (sent,) = wire.poll()
    assert (sent.names, sent.removed) == ([], ["B"])
    wire.ack(sent)
    wire.put(made(url, "B", "2"))
    (sent,) = wire.poll()
    assert sent.names == ["B"]


@by_type
def test_d5_unsubscribed_is_silent_and_nothing_is_not_everything(url: TypeUrl) -> None:
    wire = subscribed(url, "A", "B")
    for name in "BA":
        wire.request(url, resource_names_unsubscribe=[name])
        wire.put(made(url, name, "2"))
        assert wire.poll() == []


@pytest.mark.parametrize("pair", [(CDS, LDS), (LDS, CDS), (RDS, EDS), (EDS, RDS)], ids=lambda pair: pair[0].name)
def test_d6_types_are_independent(pair: tuple[TypeUrl, TypeUrl]) -> None:
    wire = Wire()
    for url in pair:
        wire.put(*(made(url, name) for name in "ABC"))
        wire.request(url, resource_names_subscribe=["B"])
        (sent,) = wire.poll()
        assert (sent.type_url, sent.names) == (url, ["B"])
    for url in pair:
        wire.put(made(url, "B", "2"))
        (sent,) = wire.poll()
        assert (sent.type_url, sent.names) == (url, ["B"])


# -- wildcards


@by_wildcard_type
@pytest.mark.parametrize("wanted", [[], ["*"], ["*", "A"]], ids=["legacy", "explicit", "with a name"])
def test_the_wildcard_is_everything(url: TypeUrl, wanted: list[str]) -> None:
    wire = Wire()
    wire.put(*(made(url, name) for name in "BA"))
    wire.request(url, resource_names_subscribe=wanted)
    (sent,) = wire.poll()
    assert sent.names == ["A", "B"]
    wire.put(made(url, "C"))
    assert [each.names for each in wire.poll()] == [["C"]]


@by_wildcard_type
@pytest.mark.parametrize("wanted", [[], ["*"]], ids=["legacy", "explicit"])
def test_an_empty_world_is_an_answer_once(url: TypeUrl, wanted: list[str]) -> None:
    wire = Wire()
    wire.request(url, resource_names_subscribe=wanted)
    (sent,) = wire.poll()
    assert (sent.names, sent.removed) == ([], [])
    wire.ack(sent)
    assert wire.poll() == []


@by_named_type
def test_only_lds_and_cds_know_the_legacy_wildcard(url: TypeUrl) -> None:
    wire = Wire()
    wire.put(made(url, "A"))
    wire.request(url)
    assert wire.poll() == []


def test_legacy_wildcard_stays_when_names_join_it() -> None:
    wire = Wire()
    wire.put(made(CDS, "A"), made(CDS, "B"))
    wire.request(CDS)
    wire.ack(*wire.poll())
    wire.request(CDS, resource_names_subscribe=["A"])
    (sent,) = wire.poll()
    assert sent.names == ["A"]
    wire.put(made(CDS, "B", "2"))
    assert wire.poll()[0].names == ["B"]
    wire.request(CDS, resource_names_unsubscribe=["*"])
    wire.put(made(CDS, "A", "3"), made(CDS, "B", "3"))
    assert wire.poll()[0].names == ["A"]
    wire.request(CDS, resource_names_unsubscribe=["A"])
    wire.put(made(CDS, "A", "4"))
    assert wire.poll() == []


def test_wildcard_subscribed_and_unsubscribed_at_once_is_nothing() -> None:
    wire = Wire()
    wire.put(made(CDS, "A"))
    wire.request(CDS, resource_names_subscribe=["*"], resource_names_unsubscribe=["*"])
    assert wire.poll() == []


@by_wildcard_type
@pytest.mark.parametrize(("name", "answer"), [("A", (["A"], [])), ("gone", ([], ["gone"]))], ids=["held", "unknown"])
def test_a_name_unsubscribed_under_the_wildcard_is_settled(url: TypeUrl, name: str, answer: Any) -> None:
    wire = Wire()
    wire.put(made(url, "A"))
    wire.request(url, resource_names_subscribe=["*", "A", "gone"])
    wire.ack(*wire.poll())
    wire.request(url, resource_names_unsubscribe=[name])
    (sent,) = wire.poll()
    assert (sent.names, sent.removed) == answer


# -- names


@pytest.mark.parametrize("url", [CDS, SDS, LDS], ids=lambda url: url.name)
def test_a_missing_name_is_answered_as_removed_and_stays_subscribed(url: TypeUrl) -> None:
    wire = Wire()
    wire.request(url, resource_names_subscribe=["A"])
    (sent,) = wire.poll()
    assert (sent.names, sent.removed) == ([], ["A"])
    wire.put(made(url, "A"))
    assert wire.poll()[0].names == ["A"]


def test_missing_endpoints_are_an_empty_assignment() -> None:
    wire = Wire()
    wire.request(EDS, resource_names_subscribe=["A"])
    (sent,) = wire.poll()
    assert sent.removed == []
    (only,) = sent.message.resources
    assert endpoint_v3.ClusterLoadAssignment.FromString(only.resource.value) == endpoint_v3.ClusterLoadAssignment(
        cluster_name="A"
    )


def test_a_missing_route_is_an_empty_configuration() -> None:
    wire = Wire()
    wire.request(RDS, resource_names_subscribe=["A"])
    (sent,) = wire.poll()
    assert sent.removed == []
    (only,) = sent.message.resources
    assert route_v3.RouteConfiguration.FromString(only.resource.value) == route_v3.RouteConfiguration(name="A")


def test_a_missing_extension_is_never_answered_as_removed() -> None:
    wire = Wire()
    wire.request(ECDS, resource_names_subscribe=["A"])
    assert wire.poll() == []
    wire.put(made(ECDS, "A"))
    assert wire.poll()[0].names == ["A"]


@by_type
def test_the_empty_name_is_nobody(url: TypeUrl) -> None:
    wire = Wire()
    wire.put(made(url, "A"))
    wire.request(url, resource_names_subscribe=[""])
    assert [(each.names, each.removed) for each in wire.poll()] == ([] if url is ECDS else [([], [""])])


@by_type
def test_subscribing_again_is_answered_again(url: TypeUrl) -> None:
    wire = subscribed(url, "A")
    wire.request(url, resource_names_subscribe=["A"])
    assert wire.poll()[0].names == ["A"]
    wire.request(url, resource_names_unsubscribe=["A"])
    wire.request(url, resource_names_subscribe=["A"])
    assert wire.poll()[0].names == ["A"]


def test_unknown_unsubscriptions_are_ignored() -> None:
    wire = subscribed(EDS, "A")
    wire.request(EDS, resource_names_unsubscribe=["never"])
    assert wire.poll() == []


def test_a_subscription_rides_on_an_answer() -> None:
    wire = Wire()
    wire.put(made(EDS, "A"), made(EDS, "B"))
    wire.request(EDS, resource_names_subscribe=["A"])
    (sent,) = wire.poll()
    answer = wire.request(EDS, response_nonce=sent.nonce, resource_names_subscribe=["B"])
    assert isinstance(answer, Ack)
    assert wire.poll()[0].names == ["B"]


@pytest.mark.parametrize("nonce", ["stale", ""])
def test_a_stale_nonce_never_loses_a_subscription(nonce: str) -> None:
    wire = subscribed(EDS, "A", put="AB")
    assert wire.request(EDS, response_nonce=nonce, resource_names_subscribe=["B"]) is None
    assert wire.poll()[0].names == ["B"]


def test_a_nonce_of_another_type_answers_nothing() -> None:
    wire = Wire()
    wire.put(made(CDS, "A"), made(LDS, "A"))
    wire.request(CDS)
    wire.request(LDS)
    cds, lds = wire.poll()
    assert wire.request(CDS, response_nonce=lds.nonce) is None
    assert isinstance(wire.request(CDS, response_nonce=cds.nonce), Ack)
    assert isinstance(wire.request(LDS, response_nonce=lds.nonce), Ack)


# -- no more than necessary


@by_type
def test_an_answer_is_not_answered_and_silence_is_not_repeated(url: TypeUrl) -> None:
    wire = Wire()
    wire.put(made(url, "A"))
    wire.request(url, resource_names_subscribe=["A"])
    (sent,) = wire.poll()
    assert wire.poll(after=60.0) == []
    wire.ack(sent)
    assert wire.poll() == []
    assert wire.stream.settled


@by_type
def test_equal_bytes_are_no_change(url: TypeUrl) -> None:
    wire = subscribed(url, "A")
    wire.put(made(url, "A"))
    assert wire.poll() == []


@by_type
def test_changes_merge_and_cancel(url: TypeUrl) -> None:
    wire = subscribed(url, "A")
    for note in "123":
        wire.put(made(url, "A", note))
    (sent,) = wire.poll()
    assert sent.versions == {"A": made(url, "A", "3").version}
    wire.ack(sent)
    wire.put(made(url, "A", "4"))
    wire.put(made(url, "A", "3"))
    assert wire.poll() == []


def test_one_of_many_is_one() -> None:
    wire = Wire()
    wire.put(*(made(CDS, f"c{number}") for number in range(100)))
    wire.request(CDS)
    wire.ack(*wire.poll())
    wire.put(made(CDS, "c42", "2"))
    assert [each.names for each in wire.poll()] == [["c42"]]


def test_resources_outside_the_view_are_silent() -> None:
    wire = Wire()
    wire.put(made(CDS, "foreign"), scope="elsewhere")
    wire.request(CDS)
    wire.ack(*wire.poll())
    wire.put(made(CDS, "foreign", "2"), scope="elsewhere")
    assert wire.poll() == []


def test_another_view_is_a_difference() -> None:
    wire = subscribed(CDS, "*", put="A")
    wire.put(made(CDS, "B"), scope="elsewhere")
    wire.store.set_view(PROXY, View(("all", "elsewhere")))
    assert [each.names for each in wire.poll()] == [["B"]]


# -- the first request after a reconnect


def versions(*held: Any) -> dict[str, str]:
    return {each.name: each.version for each in held}


@pytest.mark.parametrize("url", [CDS, LDS], ids=lambda url: url.name)
@pytest.mark.parametrize("wanted", [[], ["*"]], ids=["legacy", "explicit"])
def test_a_wildcard_client_gets_what_it_lacks(url: TypeUrl, wanted: list[str]) -> None:
    wire = Wire()
    same, new = made(url, "same"), made(url, "new", "2")
    wire.put(same, new)
    wire.request(
        url,
        resource_names_subscribe=wanted,
        initial_resource_versions=versions(same, made(url, "new"), made(url, "gone")),
    )
    (sent, *rest) = wire.poll() + wire.poll(after=5.0)
    assert sent.names == ["new"]
    # Clusters go last: routes that use them may not have been replaced yet on this stream.
    assert [each.removed for each in (sent, *rest)] == ([["gone"]] if url is LDS else [[], ["gone"]])


def test_versions_are_remembered_when_the_wildcard_is_asked_for_again_at_once() -> None:
    wire = Wire()
    wire.request(LDS, initial_resource_versions=versions(made(LDS, "gone")))
    wire.request(LDS, resource_names_subscribe=["*"])
    assert [each.removed for each in wire.poll(after=PATIENCE)] == [["gone"]]


@by_wildcard_type
def test_what_comes_and_goes_before_the_first_answer_is_gone(url: TypeUrl) -> None:
    """The client still has it from its last stream."""
    wire = Wire()
    wire.request(url, initial_resource_versions=versions(made(url, "A")))
    wire.put(made(url, "A", "2"))
    wire.drop((url, "A"))
    wire.now = 1.0
    assert [name for after in (0.0, 5.0) for each in wire.poll(after) for name in each.removed] == ["A"]


def test_a_stand_in_beside_a_spared_resource_is_not_all_there_is() -> None:
    """As many resources as the view has, but not those."""
    wire = Wire()
    wire.put(made(RDS, "A"))
    wire.request(CDS)
    wire.request(EDS)
    wire.poll()
    wire.request(RDS, resource_names_subscribe=["*", "B"], initial_resource_versions=versions(made(RDS, "A")))
    assert [each.names for each in wire.poll()] == [["B"]]


@pytest.mark.parametrize("url", [RDS, ECDS, CDS, LDS], ids=lambda url: url.name)
def test_a_current_version_spares_a_named_resource(url: TypeUrl) -> None:
    wire = Wire()
    wire.put(made(url, "A"), made(url, "B", "2"))
    wire.request(
        url,
        resource_names_subscribe=["A", "B"],
        initial_resource_versions=versions(made(url, "A"), made(url, "B")),
    )
    assert [each.names for each in wire.poll(after=PATIENCE)] == [["B"]]
    wire.put(made(url, "A", "2"))
    assert [each.names for each in wire.poll()] == [["A"]]


@pytest.mark.parametrize("url", [EDS, SDS], ids=lambda url: url.name)
def test_endpoints_and_secrets_are_always_sent_on_a_new_stream(url: TypeUrl) -> None:
    wire = Wire()
    wire.put(made(url, "A"))
    wire.request(url, resource_names_subscribe=["A"], initial_resource_versions=versions(made(url, "A")))
    assert [each.names for each in wire.poll()] == [["A"]]


@pytest.mark.parametrize("url", [SDS, ECDS], ids=lambda url: url.name)
def test_what_a_client_may_be_using_is_not_taken_from_it(url: TypeUrl) -> None:
    wire = Wire()
    wire.request(url, resource_names_subscribe=["A"], initial_resource_versions=versions(made(url, "A")))
    assert wire.poll() == []


def test_versions_count_in_the_first_request_only() -> None:
    wire = subscribed(RDS, "A", put="AB")
    wire.request(RDS, resource_names_subscribe=["B"], initial_resource_versions=versions(made(RDS, "B")))
    assert [each.names for each in wire.poll()] == [["B"]]


def test_a_current_client_is_answered_with_nothing() -> None:
    wire = Wire()
    wire.put(made(CDS, "A"))
    wire.request(CDS, initial_resource_versions=versions(made(CDS, "A")))
    (sent,) = wire.poll()
    assert (sent.names, sent.removed) == ([], [])


# -- form


def test_nonces_are_unique_in_a_stream() -> None:
    wire = Wire()
    for url in TypeUrl:
        wire.put(made(url, "A"))
        wire.request(url, resource_names_subscribe=["A"])
    nonces = [each.nonce for each in wire.poll()]
    assert len(set(nonces)) == len(TypeUrl)


def test_resources_go_by_rank_then_name() -> None:
    wire = Wire()
    wire.put(made(LDS, "virtual", rank=1), made(LDS, "zebra"), made(LDS, "ape"))
    wire.request(LDS)
    assert wire.poll()[0].names == ["ape", "zebra", "virtual"]


@pytest.mark.parametrize(("url", "parts"), [(EDS, 3), (CDS, 1)], ids=["endpoints", "clusters"])
def test_large_answers_are_split_where_that_is_allowed(url: TypeUrl, parts: int) -> None:
    wire = Wire()
    big = "x" * (MAX_RESPONSE_BYTES // 2 - 100)
    wire.put(*(made(url, name, big + name) for name in "ABCDE"))
    wire.request(url, resource_names_subscribe=list("ABCDE"))
    responses = wire.poll()
    assert len(responses) == parts
    assert sorted(name for each in responses for name in each.names) == list("ABCDE")


# -- types and errors


def test_a_type_nobody_serves_is_empty() -> None:
    wire = Wire()
    wire.request("type.googleapis.com/strange", resource_names_subscribe=["A"])
    (sent,) = wire.poll()
    assert sent.removed == ["A"]
    wire.request("type.googleapis.com/stranger")
    assert wire.poll() == []


def test_types_nobody_serves_are_limited() -> None:
    wire = Wire()
    for number in range(MAX_UNKNOWN_TYPES + len(TypeUrl)):
        wire.request(f"type.googleapis.com/strange{number}")
    with pytest.raises(ProtocolError, match="too many resource types"):
        wire.request("type.googleapis.com/one-more")


def test_names_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.subscription.MAX_NAMES", 2)
    wire = Wire()
    with pytest.raises(ProtocolError, match="too many resource names"):
        wire.request(EDS, resource_names_subscribe=["A", "B", "C"])


def test_a_request_needs_a_type() -> None:
    with pytest.raises(ProtocolError, match="type_url"):
        Wire().request("")


def test_a_client_that_never_answers_costs_bounded_memory() -> None:
    wire = subscribed(CDS, "*", put="A")
    for number in range(200):
        wire.put(made(CDS, "A", str(number)))
        assert len(wire.poll()) == 1
    assert len(wire.stream.substreams[CDS].unacked) == 64


def test_rejection_of_something_unknown_is_only_reported() -> None:
    wire = subscribed(CDS, "A")
    answer = wire.request(CDS, response_nonce="77", error="no")
    assert answer == Nack(CDS, "no", ())
    assert wire.poll() == []
    assert names(wire.store.record(PROXY).listing(CDS).resources) == ["A"]
