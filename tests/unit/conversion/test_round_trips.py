"""Whatever the versions in between, an object comes back as it was. `convert` makes the normal forms: of what is
written at any version, what it becomes at another.
"""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smi.conversion import VERSIONS, convert
from smi.kept import KEPT
from tests.unit.conversion.documents import JSON, PAIRS, journeys

WHATEVER = st.booleans()


@st.composite
def trips(draw, stops):
    return draw(journeys(junk=draw(WHATEVER), stops=stops))


@settings(max_examples=600)
@given(trips(2))
def test_a_round_trip_gives_back_the_object(trip):
    written, normal, other = trip
    document = convert(written, normal)
    assert convert(convert(document, other), normal) == document


@settings(max_examples=200)
@given(trips(1))
def test_what_is_written_comes_back_as_written(trip):
    written, other = trip
    own = written["apiVersion"].rpartition("/")[2]
    assert convert(convert(written, other), own) == written


@settings(max_examples=200)
@given(trips(2))
def test_the_way_makes_no_difference(trip):
    written, other, last = trip
    assert convert(convert(written, other), last) == convert(written, last)


@settings(max_examples=200)
@given(trips(1))
def test_converting_again_changes_nothing(trip):
    written, version = trip
    document = convert(written, version)
    assert convert(document, version) == document
    assert document["apiVersion"] == f"{written['apiVersion'].partition('/')[0]}/{version}"


@settings(max_examples=200)
@given(trips(1))
def test_the_document_is_not_changed_and_of_metadata_only_the_annotation(trip):
    written, version = trip
    before = copy.deepcopy(written)
    document = convert(written, version)
    assert written == before
    assert document.get("status") == written.get("status")
    annotations = {**document["metadata"].get("annotations", {})}
    annotations.pop(KEPT, None)
    assert {**document["metadata"], "annotations": annotations} == {"annotations": {}, **written["metadata"]}
    json.dumps(document)


_TEXT = st.text(max_size=5) | st.sampled_from(["spec", "rules", "specs", "matches", "destination", "headers", "name"])
_KEPT = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("port", "emptyRules", "weights", "matches", "spec", "later"), JSON),
        "udpRules": st.lists(st.tuples(st.integers(0, 5), JSON), max_size=2) | JSON,
        "headers": st.lists(st.tuples(st.none() | _TEXT, JSON), max_size=2) | JSON,
        "rest": st.dictionaries(
            st.sampled_from(["spec", "root", "x"]), st.dictionaries(_TEXT, JSON, max_size=3) | JSON
        ),
    },
).map(json.dumps)


def _anything(inner):
    fields = ["spec", "rules", "specs", "sources", "destination", "matches", "backends", "weight", "port", "headers"]
    names = st.sampled_from([*fields, "kind", "name", "ports", "service", ""])
    return st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "UDPRoute"]), _anything
)


@st.composite
def wrong_objects(draw):
    group, kind, version = draw(st.sampled_from(PAIRS))
    fields = draw(_ANY.filter(lambda value: isinstance(value, dict)))
    annotations = st.dictionaries(_TEXT, JSON, max_size=1) | st.builds(lambda text: {KEPT: text}, _KEPT | JSON)
    metadata = draw(st.fixed_dictionaries({}, optional={"annotations": annotations | JSON}) | JSON)
    return {**fields, "apiVersion": f"{group}/{version}", "kind": kind, "metadata": metadata}


@settings(max_examples=800)
@given(wrong_objects(), st.data())
def test_no_mapping_raises_and_wrong_objects_settle(document, data):
    group, _, current = document["apiVersion"].rpartition("/")
    versions = VERSIONS[group, document["kind"]]
    before = _shown(document)
    version = data.draw(st.sampled_from(versions))
    converted = convert(document, version)
    assert _shown(document) == before
    assert converted["apiVersion"] == f"{group}/{version}"
    back = convert(converted, current)
    assert _shown(convert(convert(back, version), current)) == _shown(back)  # what is strange settles in one round trip


def _shown(document):
    return json.dumps(document, sort_keys=True)


def _nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def _endless():
    value = []
    value.append(value)
    return value


UNKEEPABLE = {"deep": _nested(100_000), "endless": _endless(), "bytes": b"", "set": {1}}


@pytest.mark.parametrize("value", UNKEEPABLE.values(), ids=UNKEEPABLE)
def test_what_json_cannot_hold_stays_in_its_field(value):
    document = {
        "apiVersion": "split.smi-spec.io/v1alpha4",
        "kind": "TrafficSplit",
        "metadata": {"name": "x"},
        "spec": {"service": "a", "backends": [{"service": "b", "weight": 3}], "matches": value},
    }
    older = convert(document, "v1alpha1")
    assert older["spec"]["matches"] is value
    assert older["spec"]["backends"] == [{"service": "b", "weight": "3"}]
    assert older["metadata"] == {"name": "x"}
    assert convert(older, "v1alpha4")["spec"]["matches"] is value
