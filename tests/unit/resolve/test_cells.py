"""Cells follow what they read: computed when something they read has another value, and at no other time."""

from __future__ import annotations

import pytest

from smi.codes import CODES
from smi.objects import Meta, Namespace
from smi.resolve.cells import Derived, Graph, Members, Source

SUBJECT = Namespace(meta=Meta(namespace="", name="ns"))
CODE = next(iter(CODES.values()))


class Sheet:
    """Numbers, which of them are even, and sums over them: `computed` tells which cells were."""

    def __init__(self):
        self.graph, self.numbers, self.computed = Graph(), {}, []
        self.source = Source(self.graph, self.numbers)
        self.parity = Derived(self.graph, self._parity)
        self.groups = Members(self.graph)
        self.sums = Derived(self.graph, self._sum, output=True)
        self.source.follow(self.parity.touch)
        self.groups.follow(self.sums.touch)

    def _parity(self, key, findings):
        self.computed.append(("parity", key))
        number = self.numbers.get(key)
        if number is not None and number < 0:
            findings.add(CODE, "negative", SUBJECT)
        return None if number is None else number % 2

    def _sum(self, group, _):
        self.computed.append(("sum", group))
        found = [self.parity.get(key) for key in sorted(self.groups.of(group))]
        return sum(each for each in found if each is not None) if found else None

    def put(self, key, number):
        old = self.numbers.pop(key, None)
        if number is not None:
            self.numbers[key] = number
        self.source.changed(key, old, number)

    def settle(self):
        self.computed.clear()
        self.graph.settle()
        return list(self.computed)


@pytest.fixture
def sheet():
    made = Sheet()
    for key, number in {"a": 1, "b": 2, "c": 3}.items():
        made.put(key, number)
    made.groups.add("g", "a")
    made.groups.add("g", "b")
    made.settle()
    return made


def test_a_change_reaches_what_read_it_and_nothing_else(sheet):
    assert sheet.sums.values == {"g": 1}
    sheet.put("b", 5)
    assert sheet.settle() == [("parity", "b"), ("sum", "g")]
    assert sheet.sums.values == {"g": 2}
    sheet.put("c", 8)
    assert sheet.settle() == [("parity", "c")]


def test_an_equal_value_goes_no_further(sheet):
    sheet.put("a", 3)
    assert sheet.settle() == [("parity", "a")]


def test_what_is_read_no_longer_is_not_followed(sheet):
    sheet.groups.discard("g", "b")
    sheet.settle()
    sheet.put("b", 5)
    assert sheet.settle() == [("parity", "b")]


def test_a_cell_that_comes_to_nothing_is_gone_and_can_come_back(sheet):
    sheet.groups.discard("g", "a")
    sheet.groups.discard("g", "b")
    sheet.settle()
    assert sheet.sums.values == {}
    sheet.groups.add("g", "c")
    sheet.settle()
    assert sheet.sums.values == {"g": 1}


def test_a_missing_value_is_read_too(sheet):
    sheet.groups.add("g", "late")
    sheet.settle()
    sheet.put("late", 7)
    assert sheet.settle() == [("parity", "late"), ("sum", "g")]


def test_draining_tells_what_was_before_once(sheet):
    assert sheet.sums.drain() == {"g": None}
    sheet.put("b", 5)
    sheet.settle()
    sheet.put("b", 2)
    sheet.settle()
    assert sheet.sums.drain() == {}
    sheet.put("b", 5)
    sheet.settle()
    assert sheet.sums.drain() == {"g": 1}
    assert sheet.sums.drain() == {}


def test_findings_live_as_long_as_their_cell_finds_them(sheet):
    sheet.put("a", -1)
    sheet.put("b", -2)
    sheet.settle()
    assert [each.message for each in sheet.graph.findings] == ["negative"]
    assert len(sheet.graph.findings.appeared) == 1
    sheet.put("a", 1)
    sheet.settle()
    assert len(list(sheet.graph.findings)) == 1
    sheet.put("b", None)
    sheet.settle()
    assert not list(sheet.graph.findings)
    assert not sheet.graph.findings.appeared


def test_a_cell_that_makes_its_own_table_dirty_is_our_own_mistake():
    graph = Graph()
    table: Derived[str, int] = Derived(graph, lambda key, _: table.touch(key + "x") or 1)
    table.touch("a")
    with pytest.raises(RuntimeError):
        graph.settle()


@pytest.mark.parametrize("trace", ["another table", "a finding"])
def test_a_cell_that_came_to_nothing_is_found_again_when_everything_is_computed_anew(trace):
    graph, allowed = Graph(), False
    other = Source(graph, {})

    def compute(key, findings):
        if trace == "another table":
            other.get(key)
        elif not allowed:
            findings.add(CODE, "not allowed", SUBJECT)
        return allowed or None

    table: Derived[str, bool] = Derived(graph, compute)
    table.touch("a")
    graph.settle()
    assert table.values == {}
    allowed = True
    graph.invalidate()
    graph.settle()
    assert table.values == {"a": True}
    assert not list(graph.findings)


def test_a_cell_of_nothing_is_forgotten(sheet):
    for key in "abc":
        sheet.put(key, None)
    sheet.groups.discard("g", "a")
    sheet.groups.discard("g", "b")
    sheet.settle()
    sheet.graph.invalidate()
    assert [cell for cell in sheet.settle() if cell[0] == "parity"] == []
