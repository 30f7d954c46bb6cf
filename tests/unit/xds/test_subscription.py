"""The wildcard rules, sequence by sequence, as the protocol text has them."""

from __future__ import annotations

from typing import Any

import pytest

from xds.subscription import Subscription

EVERYTHING = "everything"


def state(subscription: Subscription) -> tuple[bool, set[str]]:
    return subscription.wildcard, set(subscription.names)


@pytest.mark.parametrize("legacy", [True, False])
def test_sotw_sequence_of_the_protocol_text(legacy: bool) -> None:
    subscription = Subscription(legacy)
    steps: list[tuple[list[str], Any, Any]] = [
        ([], (legacy, set()), ((), legacy)),
        (["*", "A"], (True, {"A"}), (("A",), not legacy)),
        (["A"], (False, {"A"}), ((), False)),
        ([], (False, set()), ((), False)),
        (["*"], (True, set()), ((), True)),
    ]
    for names, expected, (added, everything) in steps:
        demand = subscription.replace(names)
        assert state(subscription) == expected
        assert (tuple(demand.names), demand.everything) == (added, everything)


def test_delta_sequence_of_the_protocol_text() -> None:
    subscription = Subscription(legacy=True)
    steps: list[tuple[list[str], list[str], Any, Any]] = [
        ([], [], (True, set()), ((), True)),
        (["A"], [], (True, {"A"}), (("A",), False)),
        ([], ["*"], (False, {"A"}), ((), False)),
        ([], ["A"], (False, set()), ((), False)),
        ([], [], (False, set()), ((), False)),
    ]
    for subscribe, unsubscribe, expected, (added, everything) in steps:
        demand = subscription.update(subscribe, unsubscribe)
        assert state(subscription) == expected
        assert (tuple(demand.names), demand.everything) == (added, everything)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((["A"], []), ([], []), (False, {"A"})),
        ((["*"], ["*"]), ([], []), (False, set())),
        (([], ["X"]), ([], []), (True, set())),
        ((["*"], []), (["*"], []), (True, set())),
        ((["A", "B"], ["A"]), ([], []), (False, {"B"})),
    ],
)
def test_delta_forms(first: Any, second: Any, expected: Any) -> None:
    subscription = Subscription(legacy=True)
    subscription.update(*first)
    subscription.update(*second)
    assert state(subscription) == expected


def test_delta_without_legacy_wildcard() -> None:
    subscription = Subscription(legacy=False)
    assert not subscription.update([], []).everything
    assert state(subscription) == (False, set())


def test_unsubscribing_under_the_wildcard_must_be_answered() -> None:
    subscription = Subscription(legacy=True)
    subscription.update(["*", "A"], [])
    assert list(subscription.update([], ["A", "unknown"]).names) == ["A", "unknown"]
    subscription.update([], ["*"])
    assert not subscription.update([], ["A"]).names


def test_the_empty_name_ends_the_legacy_wildcard() -> None:
    subscription = Subscription(legacy=True)
    assert not subscription.replace([""]).names
    assert state(subscription) == (False, set())
