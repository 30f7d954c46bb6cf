"""Whatever a file holds becomes objects or diagnostics, never an exception, and never anything unbounded."""

from __future__ import annotations

import json
import re

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from smi.decode import decode
from smi.documents import parse
from smi.versions import KINDS
from tests.unit.smi.outcomes import check

FIELDS = re.findall(
    r"\S+",
    """apiVersion kind metadata name namespace labels annotations spec status service backends weight matches
destination rules sources port ports targetPort protocol appProtocol type clusterIP clusterIPs selector externalName
pathRegex methods headers host items serviceAccountName address appPort upstreams localPort sidecar capture trustDomain
trafficPolicy mtls egress plaintextUpstreams certificates lifetime""",
)
WORDS = re.findall(
    r"\S+",
    """v1 v1alpha4 List None ServiceAccount HTTPRouteGroup TCPRoute UDPRoute GET * explicit transparent strict
permissive smi allow deny 127.0.0.1 ::1 10.0.0.1 24h a a.b a/b /api ( .* TCP ExternalName default cluster.local""",
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 70000)
    | st.integers()
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=12)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=6), inner, max_size=6)
    ),
    max_leaves=25,
)
specs = st.dictionaries(st.sampled_from(FIELDS), values, max_size=8)
heads = st.sampled_from(
    [(f"{kind.group}/{version}".removeprefix("/"), kind.name) for kind in KINDS for version in kind.decoders]
)


@given(st.text(max_size=400))
@settings(deadline=None)
@example("a: b\r\n---\r\nc: [")
@example("- - - -\n---")
def test_any_text(text):
    check(text)


PIECES = re.findall(
    r"\S+",
    """&a &b *a *b <<: << ? : a: b: - [ ] { } , ' " | > !!str !!int !!map !x # %YAML --- ... 1 on ~ \x01 \u2028 items:
kind:List kind: apiVersion: v1 metadata: name: spec: ports: Service""",
)


@given(st.lists(st.sampled_from([*PIECES, " ", "  ", "\n", "\n", "\n  ", "\t", "\r"]), max_size=60).map(" ".join))
@settings(max_examples=400, deadline=None)
@example("a: &a [*a]")
@example("&a a: &a {<<: *a}")
@example("a: &a\n  <<: {b: 1}\n  <<: [*a]")
@example("{? <<: 1}")
@example("a\n...\nb")
def test_any_pieces_of_yaml(text):
    check(text)


words = st.sampled_from([*WORDS, *FIELDS, "yes", "1", "null", "~", "<<", "2024-01-01", "ä", "a: b", "- c", "x\ny"])
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=5),
    max_leaves=25,
)


@given(
    st.dictionaries(words.filter(lambda word: word != "items"), trees, min_size=1, max_size=4),
    st.sampled_from([None, "'", '"']),
    st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_values_are_those_that_were_written(value, style, flow):
    """In any style of quotes and brackets, and every part is on a line that names it."""
    text = yaml.dump(value, Dumper=yaml.SafeDumper, default_style=style, default_flow_style=flow, allow_unicode=True)
    (document,), found = parse(text, "any.yaml")
    assert found == []
    assert document.value == value
    lines = text.splitlines()
    for key in value:
        assert key[0] in lines[document.line_of((key,)) - 1]


@given(values)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value(value):
    check(json.dumps(value))


@given(heads, specs, st.dictionaries(st.sampled_from(FIELDS), values, max_size=3))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_spec_of_any_kind(head, spec, metadata):
    document = {"apiVersion": head[0], "kind": head[1], "metadata": {"name": "default", **metadata}, "spec": spec}
    check(json.dumps(document))


GOOD = {
    "TrafficTarget": {
        "destination": {"kind": "ServiceAccount", "name": "api"},
        "rules": [{"kind": "HTTPRouteGroup", "name": "r", "matches": ["m"]}, {"kind": "TCPRoute", "name": "t"}],
        "sources": [{"kind": "ServiceAccount", "name": "s", "namespace": "n"}],
    },
    "HTTPRouteGroup": {"matches": [{"name": "m", "pathRegex": "/a", "methods": ["GET"], "headers": {"x": "y"}}]},
    "TCPRoute": {"matches": {"ports": [80, 81]}},
}
GROUPS = {kind.name: f"{kind.group}/{next(iter(kind.decoders))}" for kind in KINDS}


def paths(value, at=()):
    """Every place in a value at which something can be exchanged."""
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*at, key))
    if isinstance(value, list):
        for position, inner in enumerate(value):
            yield from paths(inner, (*at, position))


def exchanged(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = exchanged(value[path[0]], path[1:], new)
    return copy


@given(data=st.data(), kind=st.sampled_from(sorted(GOOD)))
@settings(max_examples=400, deadline=None)
def test_no_single_wrong_value_opens_access(data, kind):
    """What is exchanged for a value of a wrong type leaves out the part, and never lifts its limit."""
    spec = GOOD[kind]
    path = data.draw(st.sampled_from([path for path in paths(spec) if path]))
    wrong = data.draw(st.sampled_from([True, 1.5, {"odd": 1}, [["x"]], -7]))
    head = {"apiVersion": GROUPS[kind], "kind": kind, "metadata": {"name": "a"}}
    document = {**head, "spec": exchanged(spec, path, wrong)}
    (read,), _ = parse(json.dumps(document), "f.json")
    outcome = decode(read)
    value = outcome.object
    assert not outcome.intact
    if kind == "TrafficTarget" and value is not None:
        assert not value.sources or len(value.rules) == 2
        assert not value.sources or value.rules[0].matches == ("m",)
    if kind == "HTTPRouteGroup" and value is not None:
        assert value.matches == ()
    if kind == "TCPRoute":
        assert value is None
