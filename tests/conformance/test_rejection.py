"""NACKs: recorded, held back on that stream, tried again with patience, and nobody else notices."""

from __future__ import annotations

import pytest

from tests.conformance.model import CDS, EDS, LDS, RDS, Sent, Wire, made
from xds.stream import Nack

both = pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])


def holding(delta: bool, *names: str, url: str = LDS) -> Wire:
    """A client that holds listeners."""
    wire = Wire(delta=delta)
    wire.put(*(made(url, name, "1") for name in names))
    wire.request(url, **{"resource_names_subscribe" if delta else "resource_names": [] if url == LDS else names})
    wire.ack(*wire.poll(), names=[] if url == LDS else names)
    return wire


def update(wire: Wire, *names: str, note: str = "2") -> Sent:
    wire.put(*(made(LDS, name, note) for name in names))
    (sent,) = wire.poll()
    return sent


@both
def test_the_culprit_is_held_back_and_the_rest_counts_as_applied(delta: bool) -> None:
    wire = holding(delta, "A", "B")
    sent = update(wire, "A", "B")
    assert wire.nack(sent, "Error adding/updating listener(s) A: no such filter\n") == Nack(
        LDS, "Error adding/updating listener(s) A: no such filter\n", ("A",)
    )
    assert wire.poll() == []
    assert set(wire.stream.substreams[LDS].held) == {"A"}


@both
def test_without_a_name_everything_new_is_suspect_but_not_what_was_accepted(delta: bool) -> None:
    wire = holding(delta, "A", "B", "C")
    sent = update(wire, "A", "B")
    assert wire.nack(sent, "it is bad").names == ("A", "B")
    assert wire.poll() == []


def test_without_a_name_a_resource_sent_again_is_not_suspect() -> None:
    wire = Wire()
    wire.put(made(CDS, "A"), made(EDS, "A", "1"), made(EDS, "B", "1"))
    wire.request(CDS)
    wire.request(EDS, resource_names_subscribe=["A", "B"])
    wire.ack(*wire.poll())
    wire.put(made(CDS, "A", "2"), made(EDS, "B", "2"))
    clusters, endpoints = wire.poll()
    assert endpoints.names == ["A", "B"]
    wire.ack(clusters)
    assert wire.nack(endpoints, "it is bad").names == ("B",)


def test_a_message_cut_off_blames_everything() -> None:
    wire = holding(True, "A", "B")
    sent = update(wire, "A", "B")
    assert wire.nack(sent, "A: something long...(truncated)").names == ("A", "B")


@both
def test_retries_are_patient(delta: bool) -> None:
    wire = holding(delta, "A")
    sent = update(wire, "A")
    tries = []
    start = wire.now
    for _ in range(12):
        wire.nack(sent, "A: bad")
        assert wire.poll() == []
        deadline = wire.stream.deadline()
        assert deadline is not None
        tries.append(deadline - wire.now)
        (sent,) = wire.poll(after=deadline - wire.now)
        assert sent.names == ["A"]
    assert tries == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert wire.now - start > 1000


@both
def test_an_accepted_retry_is_the_end_of_it(delta: bool) -> None:
    wire = holding(delta, "A")
    wire.nack(update(wire, "A"), "A: bad")
    wire.ack(*wire.poll(after=1.0), names=[])
    assert wire.stream.settled
    assert wire.poll(after=1000.0) == []


@both
def test_other_bytes_are_sent_at_once(delta: bool) -> None:
    wire = holding(delta, "A")
    wire.nack(update(wire, "A"), "A: bad")
    assert update(wire, "A", note="3").names == ["A"]


@both
def test_unrelated_changes_do_not_bring_it_back(delta: bool) -> None:
    wire = holding(delta, "A", "B")
    wire.nack(update(wire, "A"), "A: bad")
    sent = update(wire, "B")
    old = made(LDS, "A", "1").version
    assert sent.versions.get("A") == (None if delta else old)


def test_sotw_keeps_what_the_client_had() -> None:
    """Absence would delete it."""
    wire = holding(False, "A")
    wire.put(made(LDS, "new", "bad"))
    (sent,) = wire.poll()
    wire.nack(sent, "new: bad")
    assert update(wire, "A").names == ["A"]


@both
def test_a_bind_conflict_heals_with_the_removal_of_the_other(delta: bool) -> None:
    wire = holding(delta, "old")
    wire.nack(update(wire, "new"), "new: cannot bind '10.0.0.1:80'")
    wire.drop((LDS, "old"))
    (sent,) = wire.poll()
    assert sent.names == ["new"]
    assert sent.removed == (["old"] if delta else [])
    wire.ack(sent, names=[])
    assert wire.stream.settled


@both
def test_a_rejected_resource_that_goes_is_gone(delta: bool) -> None:
    wire = holding(delta, "A")
    wire.nack(update(wire, "A"), "A: bad")
    wire.drop((LDS, "A"))
    (sent,) = wire.poll()
    assert sent.removed == (["A"] if delta else [])
    wire.ack(sent, names=[])
    assert wire.poll(after=1000.0) == []
    assert wire.stream.settled


@both
def test_routes_not_to_blame_are_sent_again_without_the_culprit(delta: bool) -> None:
    """One bad resource fails the rest of such a response, which is not applied."""
    wire = holding(delta, "A", "B", "C", url=RDS)
    wire.put(*(made(RDS, name, "2") for name in "ABC"))
    (sent,) = wire.poll()
    wire.nack(sent, "route B: unknown cluster", **({} if delta else {"resource_names": "ABC"}))
    (again,) = wire.poll()
    assert again.names == ["A", "C"]
    wire.ack(again, names="ABC")
    assert wire.poll() == []


def test_suspects_are_tried_one_by_one() -> None:
    wire = holding(True, "A", "B")
    wire.nack(update(wire, "A", "B"), "it is bad")
    one, two = wire.poll(after=1.0)
    assert (one.names, two.names) == (["A"], ["B"])
    wire.ack(one)
    assert wire.nack(two, "it is bad").names == ("B",)
    assert set(wire.stream.substreams[LDS].held) == {"B"}


def test_in_sotw_suspects_take_turns() -> None:
    """A response holds all listeners, and a rejection without a name all suspects: together they would never get in."""
    wire = holding(False, "old")
    wire.put(made(LDS, "bad"), made(LDS, "good"))
    (sent,) = wire.poll()
    assert wire.nack(sent, "no").names == ("bad", "good")
    (first,) = wire.poll(after=1.0)
    assert first.names == ["bad", "old"]
    assert wire.stream.deadline() is None
    assert wire.poll() == []
    wire.nack(first, "no")
    (second,) = wire.poll()
    assert second.names == ["good", "old"]
    wire.ack(second, names=[])
    assert set(wire.stream.substreams[LDS].held) == {"bad"}
    assert wire.stream.deadline() == wire.now + 2.0


@both
def test_a_late_rejection_of_what_was_replaced_holds_nothing(delta: bool) -> None:
    wire = holding(delta, "A")
    first, second = update(wire, "A", note="2"), update(wire, "A", note="3")
    wire.nack(first, "A: bad")
    wire.ack(second, names=[])
    assert wire.poll() == []
    assert wire.stream.settled


def test_a_rejection_under_way_when_bytes_change() -> None:
    """Both versions are rejected: what the client holds is still the first."""
    wire = holding(False, "A")
    first, second = update(wire, "A", note="2"), update(wire, "A", note="3")
    wire.nack(first, "A: bad")
    wire.nack(second, "A: bad")
    wire.put(made(LDS, "B"))
    (sent,) = wire.poll()
    assert sent.versions["A"] == made(LDS, "A", "1").version


def test_asking_again_is_answered_even_so() -> None:
    wire = holding(True, "A", url=RDS)
    wire.put(made(RDS, "A", "2"))
    (sent,) = wire.poll()
    wire.nack(sent, "A: bad")
    wire.request(RDS, resource_names_subscribe=["A"])
    assert wire.poll()[0].names == ["A"]


def test_a_client_that_rejects_everything_disturbs_nobody() -> None:
    sour = holding(True, "A", "B")
    sweet = Wire(sour.store)
    sweet.request(LDS)
    sweet.ack(*sweet.poll())
    for note in "23456789":
        bad = update(sour, "A", note=note)
        sour.nack(bad, "A: bad")
        assert sour.poll() == []
        (good,) = sweet.poll()
        sweet.ack(good)
    assert sweet.stream.settled
    assert not sour.stream.settled


@both
def test_going_back_is_sent_because_a_rejection_may_have_been_applied_in_part(delta: bool) -> None:
    wire = holding(delta, "A")
    wire.nack(update(wire, "A"), "A: bad")
    assert update(wire, "A", note="1").names == ["A"]
