"""The annotation that holds what a version cannot say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smi.kept import KEPT, read, restore_headers, restore_udp_rules, written

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def test_without_the_annotation_nothing_is_kept():
    assert read({"other": "{}"}) == {}


def test_what_is_kept_is_compact_with_its_keys_in_order_and_its_values_as_written():
    assert written({"weights": ["1", 2], "rest": {"b": 1, "a": None}}) == '{"rest":{"b":1,"a":null},"weights":["1",2]}'


@given(st.dictionaries(st.sampled_from(["matches", "spec", "later"]) | st.text(min_size=12), JSON))
def test_what_was_written_can_be_read(kept):
    assert read({KEPT: written(kept)}) == kept


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "3", "{", "{}x", '"{}"', "[" * 100_000),
        *('{"port": "80"}', '{"port": 0}', '{"port": true}', '{"port": 1' + "0" * 5000 + "}", '{"emptyRules": 1}'),
        *('{"udpRules": {}}', '{"udpRules": [[0]]}', '{"udpRules": [[-1, {}]]}', '{"udpRules": [["0", {}]]}'),
        *('{"headers": [["a"]]}', '{"headers": [[1, {}]]}', '{"headers": ["ab"]}'),
        *('{"weights": "1"}', '{"rest": []}'),
    ],
)
def test_what_cannot_be_understood_is_known_as_such(text):
    assert read({KEPT: text}) is None


@pytest.mark.parametrize("value", [None, 3, {}, ["{}"]])
def test_an_annotation_must_be_a_text(value):
    assert read({KEPT: value}) == ({} if value is None else None)


@given(st.text() | JSON)
def test_no_annotation_raises(value):
    kept = read({KEPT: value})
    assert kept is None or isinstance(kept, dict)


def test_headers_return_to_the_matches_of_their_name_in_order():
    matches = [{"name": "b"}, {"name": "a"}, {"name": "new"}, {"name": "a"}, {"name": 5}, "no match"]
    kept = [["a", {"x": "1"}], ["b", {"x": "2"}], ["a", None], [None, {"x": "3"}], ["gone", {"x": "4"}]]
    assert restore_headers(matches, kept) == [
        {"name": "b", "headers": {"x": "2"}},
        {"name": "a", "headers": {"x": "1"}},
        {"name": "new"},
        {"name": "a"},
        {"name": 5, "headers": {"x": "3"}},
        "no match",
    ]
    assert matches[0] == {"name": "b"}


def test_each_entry_is_used_once_and_headers_of_the_match_itself_win():
    matches = [{"name": "a", "headers": {"own": "1"}}, {"name": "a"}, {"name": "a"}]
    kept = [["a", {"x": "1"}], ["a", {"x": "2"}]]
    assert restore_headers(matches, kept) == [matches[0], {"name": "a", "headers": {"x": "2"}}, {"name": "a"}]


def test_udp_rules_return_to_their_positions():
    assert restore_udp_rules(["a", "b"], [[0, "u"], [2, "v"], [4, "w"]]) == ["u", "a", "v", "b", "w"]


def test_udp_rules_go_to_the_end_where_rules_were_removed():
    assert restore_udp_rules([], [[7, "v"], [3, "u"]]) == ["u", "v"]
