"""What conversion kept in an annotation counts as if it were written, and never counts for less."""

from __future__ import annotations

import json
import time

import pytest

from smi.decode_kept import MAX_LENGTH
from smi.kept import KEPT
from smi.objects import AccessRule, HTTPMatch, MatchRef

GROUPS = {"TrafficTarget": "access", "HTTPRouteGroup": "specs", "TCPRoute": "specs", "TrafficSplit": "split"}
UDP = {"kind": "UDPRoute", "name": "u"}
FIELDS = {
    "TrafficTarget": {
        "destination": {"kind": "ServiceAccount", "name": "api"},
        "rules": [{"kind": "TCPRoute", "name": "t"}],
        "sources": [{"kind": "ServiceAccount", "name": "s", "namespace": "n"}],
    },
    "HTTPRouteGroup": {"matches": [{"name": "m"}, {"name": "n"}]},
    "TCPRoute": None,
    "TrafficSplit": {"service": "a", "backends": [{"service": "b", "weight": 1}]},
}
ANNOTATION_LINE = 7
LIMITED = [
    *(("TrafficTarget", version) for version in ("v1alpha1", "v1alpha2", "v1alpha3")),
    ("HTTPRouteGroup", "v1alpha1"),
    *(("TCPRoute", version) for version in ("v1alpha1", "v1alpha2", "v1alpha3")),
    *(("TrafficSplit", version) for version in ("v1alpha1", "v1alpha2")),
]
"""Where the annotation may hold a limit."""


@pytest.fixture
def read_kept(read):
    """Reads an object whose annotation is `kept` (a text as it is, else as JSON), with `fields` in place of some."""

    def read_kind(kind, version, kept, **fields):
        annotation = kept if isinstance(kept, str) else json.dumps(kept)
        head = [
            f"apiVersion: {GROUPS[kind]}.smi-spec.io/{version}",
            f"kind: {kind}",
            "metadata:",
            "  name: a",
            "  namespace: shop",
            "  annotations:",
            f"    {KEPT}: {json.dumps(annotation)}",
        ]
        spec = None if FIELDS[kind] is None and not fields else {**(FIELDS[kind] or {}), **fields}
        if version in ("v1alpha1", "v1alpha2") and kind == "HTTPRouteGroup":
            body = spec
        elif version == "v1alpha1" and kind == "TrafficTarget":
            body = {"specs" if key == "rules" else key: value for key, value in spec.items()}
        else:
            body = {} if spec is None else {"spec": spec}
        return read("\n".join([*head, *(f"{key}: {json.dumps(value)}" for key, value in body.items())]))

    return read_kind


@pytest.mark.parametrize(("kind", "version"), LIMITED)
@pytest.mark.parametrize("kept", ["", "{", "[]", "null", '{"rest": 5}', "[" * 100_000])
def test_what_cannot_be_understood_is_not_in_force(read_kept, kind, version, kept):
    reading = read_kept(kind, version, kept)
    assert reading.object is None
    assert ("TL1301", ANNOTATION_LINE) in reading.found
    assert not reading.decoded[0].intact


@pytest.mark.parametrize(("length", "code"), [(MAX_LENGTH, "TL1103"), (MAX_LENGTH + 1, "TL1301")])
def test_a_kept_text_is_as_long_as_kubernetes_allows(read_kept, length, code):
    text = '{"rest":{"spec":{"a":"%s"}}}'
    reading = read_kept("TrafficTarget", "v1alpha2", text % ("x" * (length - len(text) + 2)))
    assert reading.found == [(code, ANNOTATION_LINE)]


def test_what_is_kept_takes_bounded_time(read_kept):
    rules = ",".join(["[0,{}]"] * 30_000)
    began = time.process_time()
    assert read_kept("TrafficTarget", "v1alpha2", f'{{"udpRules":[{rules}]}}').object is None
    assert time.process_time() - began < 10


def test_a_finding_is_one_line_whatever_is_kept(read_kept):
    reading = read_kept("TCPRoute", "v1alpha2", {"spec": {"a\nb": 1}})
    assert reading.object is None
    assert "a\\nb" in reading.text
    assert all("\n" not in finding.message for finding in reading.diagnostics)


@pytest.mark.parametrize("annotation", ["{port: 80}", "5", "true", "[a]"])
def test_an_annotation_that_is_no_text_is_not_taken_for_none(read, annotation):
    reading = read(
        f"""\
        apiVersion: specs.smi-spec.io/v1alpha1
        kind: TCPRoute
        metadata:
          name: a
          annotations:
            {KEPT}: {annotation}
        """
    )
    assert reading.object is None
    assert reading.found == [("TL1101", 6), ("TL1301", 6)]


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        *(("HTTPRouteGroup", version) for version in ("v1alpha2", "v1alpha3", "v1alpha4")),
        ("TCPRoute", "v1alpha4"),
        *(("TrafficSplit", version) for version in ("v1alpha3", "v1alpha4")),
    ],
)
def test_where_nothing_can_be_limited_it_is_not_read(read_kept, kind, version):
    reading = read_kept(kind, version, "{")
    assert reading.object is not None
    assert reading.found == []


@pytest.mark.parametrize(("kind", "version"), LIMITED)
def test_without_anything_kept_nothing_changes(read_kept, kind, version):
    reading = read_kept(kind, version, {})
    assert reading.object is not None
    assert reading.found == []


def test_the_port_of_a_target(read_kept):
    assert read_kept("TrafficTarget", "v1alpha3", {"port": 8080}).object.port == 8080
    written = {"kind": "ServiceAccount", "name": "api", "port": 80}
    for version in ("v1alpha1", "v1alpha2", "v1alpha3"):
        assert read_kept("TrafficTarget", version, {"port": 8080}, destination=written).object.port == 80
    for version in ("v1alpha1", "v1alpha2"):
        assert read_kept("TrafficTarget", version, {"port": 8080}).object.port is None
    wrong = {**written, "port": "80"}
    assert read_kept("TrafficTarget", "v1alpha3", {"port": 8080}, destination=wrong).object is None


@pytest.mark.parametrize("port", [0, "8080", 65536, True, None, [80]])
def test_a_kept_port_that_is_none(read_kept, port):
    reading = read_kept("TrafficTarget", "v1alpha3", {"port": port})
    assert reading.object is None
    assert reading.found == [("TL1301", ANNOTATION_LINE)]


@pytest.mark.parametrize(
    ("version", "kept", "ruleless"),
    [
        ("v1alpha3", {"emptyRules": True}, True),
        ("v1alpha3", {"emptyRules": False}, False),
        ("v1alpha3", {}, False),
        ("v1alpha2", {"emptyRules": False}, False),
        ("v1alpha2", {"emptyRules": True}, True),
        ("v1alpha2", {}, True),
        ("v1alpha1", {"emptyRules": False}, False),
        ("v1alpha1", {}, True),
    ],
)
def test_whether_a_target_without_rules_was_one_on_purpose(read_kept, version, kept, ruleless):
    reading = read_kept("TrafficTarget", version, kept, rules=[])
    assert reading.object.ruleless is ruleless
    assert bool(reading.object.sources) is ruleless
    assert reading.found == [("TL1217" if ruleless else "TL1211", 9 if version == "v1alpha1" else 8)]
    assert not read_kept("TrafficTarget", version, kept).object.ruleless


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2"])
def test_udp_rules_are_back_at_their_places(read_kept, version):
    kept = {"udpRules": [[0, UDP], [2, {**UDP, "name": "v"}]]}
    reading = read_kept("TrafficTarget", version, kept)
    assert reading.object.rules == tuple(
        AccessRule(*rule) for rule in (("UDPRoute", "u"), ("TCPRoute", "t"), ("UDPRoute", "v"))
    )
    assert reading.found == [("TL1215", ANNOTATION_LINE)]
    alone = read_kept("TrafficTarget", version, {"udpRules": [[0, UDP]]}, rules=[])
    assert alone.object.rules == (AccessRule("UDPRoute", "u"),)
    assert not alone.object.ruleless
    assert read_kept("TrafficTarget", "v1alpha3", kept).object.rules == (AccessRule("TCPRoute", "t"),)


@pytest.mark.parametrize("rule", [{"kind": "UDPRoute"}, {**UDP, "limit": 1}, {**UDP, "matches": ["m"]}, "u"])
def test_a_wrong_kept_rule_is_a_wrong_rule(read_kept, rule):
    reading = read_kept("TrafficTarget", "v1alpha2", {"udpRules": [[0, rule]]})
    assert reading.object is None
    assert {line for _, line in reading.found} == {ANNOTATION_LINE}


def test_lines_of_rules_are_those_where_they_are_written(read):
    reading = read(
        f"""\
        apiVersion: access.smi-spec.io/v1alpha1
        kind: TrafficTarget
        metadata:
          name: a
          annotations: {{{KEPT}: '{json.dumps({"udpRules": [[0, UDP]]})}'}}
        destination: {{kind: ServiceAccount, name: api}}
        specs:
        - kind: TCPRoute
          name: t
        - kind: TCPRoute
          nmae: t
        """
    )
    assert ("TL1102", 10) in reading.found
    assert ("TL1107", 11) in reading.found
    assert ("TL1215", 5) in reading.found


@pytest.mark.parametrize(("version", "holder"), [("v1alpha1", "spec"), ("v1alpha3", "root"), ("v1alpha2", "root")])
def test_a_misspelt_limit_that_has_no_place_is_still_an_error(read_kept, version, holder):
    reading = read_kept("TrafficTarget", version, {"rest": {holder: {"rulse": []}}})
    assert reading.object is None
    assert reading.found == [("TL1107", ANNOTATION_LINE)]
    other = read_kept("TrafficTarget", version, {"rest": {holder: {"note": "x"}}})
    assert other.object.sources
    assert other.found == [("TL1103", ANNOTATION_LINE)]


def test_headers_of_a_group(read_kept):
    kept = {"headers": [["m", {"x-role": "admin"}]]}
    assert read_kept("HTTPRouteGroup", "v1alpha1", kept).object.matches == (
        HTTPMatch("m", headers=(("x-role", "admin"),)),
        HTTPMatch("n"),
    )
    written = [{"name": "m", "headers": [{"cookie": "a"}]}]
    reading = read_kept("HTTPRouteGroup", "v1alpha1", kept, matches=written)
    assert reading.object.matches == (HTTPMatch("m", headers=(("cookie", "a"),)),)
    assert read_kept("HTTPRouteGroup", "v1alpha2", kept).object.matches == (HTTPMatch("m"), HTTPMatch("n"))


@pytest.mark.parametrize("headers", ["x-role", {"x-role": "("}, {"x-role": 5}, {"a b": "x"}, ["x"]])
def test_a_match_with_wrong_kept_headers_matches_nothing(read_kept, headers):
    reading = read_kept("HTTPRouteGroup", "v1alpha1", {"headers": [["m", headers]]})
    assert reading.object.matches == (HTTPMatch("n"),)
    assert {line for _, line in reading.found} == {8}
    assert not reading.decoded[0].intact


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2", "v1alpha3"])
def test_ports_of_a_tcp_route(read_kept, version):
    kept = {"spec": {"matches": {"ports": [80, 81]}}}
    reading = read_kept("TCPRoute", version, kept)
    assert reading.object.ports == (80, 81)
    assert reading.found == []
    assert read_kept("TCPRoute", version, kept, matches={"ports": [90]}).object.ports == (90,)
    assert read_kept("TCPRoute", "v1alpha4", kept).object.ports == ()


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"matches": {"ports": [80, 0]}}, "TL1108"),
        ({"matches": {"prots": [80]}}, "TL1107"),
        ({"ports": [80]}, "TL1107"),
        ([80], "TL1101"),
    ],
)
def test_wrong_kept_ports_are_not_every_port(read_kept, spec, code):
    reading = read_kept("TCPRoute", "v1alpha2", {"spec": spec})
    assert reading.object is None
    assert reading.found == [(code, ANNOTATION_LINE)]


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2"])
def test_matches_of_a_split(read_kept, version):
    kept = {"matches": [{"kind": "HTTPRouteGroup", "name": "beta"}]}
    reading = read_kept("TrafficSplit", version, kept)
    assert reading.object.matches == (MatchRef("HTTPRouteGroup", "beta"),)
    assert reading.found == []
    assert read_kept("TrafficSplit", version, kept, matches=kept["matches"]).object is None
    assert read_kept("TrafficSplit", "v1alpha4", kept).object.matches == ()


@pytest.mark.parametrize(
    ("matches", "code"),
    [("beta", "TL1101"), (["beta"], "TL1101"), ([{"kind": "TCPRoute", "name": "b"}], "TL1105"), ([{}], "TL1102")],
)
def test_a_split_with_wrong_kept_matches_is_not_one_for_all_requests(read_kept, matches, code):
    reading = read_kept("TrafficSplit", "v1alpha2", {"matches": matches})
    assert reading.object is None
    assert set(reading.found) == {(code, ANNOTATION_LINE)}


def test_kept_quantities_have_no_meaning(read_kept):
    reading = read_kept("TrafficSplit", "v1alpha2", {"weights": ["500m"]})
    assert [backend.weight for backend in reading.object.backends] == [1]
