"""What each kind becomes at each version, as people would write it."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest
import yaml

from smi.conversion import ConversionError, convert
from smi.kept import KEPT


def made(text: str) -> dict:
    return yaml.safe_load(dedent(text))


def kept(document: dict) -> dict:
    return json.loads(document["metadata"].get("annotations", {}).get(KEPT, "{}"))


def split(version: str, weights: list, **spec) -> dict:
    backends = [{"service": f"web-{number}", "weight": weight} for number, weight in enumerate(weights)]
    return {
        "apiVersion": f"split.smi-spec.io/{version}",
        "kind": "TrafficSplit",
        "metadata": {"name": "web"},
        "spec": {"service": "web", "backends": backends, **spec},
    }


def weights(document: dict) -> list:
    return [backend["weight"] for backend in document["spec"]["backends"]]


@pytest.mark.parametrize(
    ("quantities", "whole", "annotation"),
    [
        (["90", "10"], [90, 10], {}),
        (["1", "500m"], [1000, 500], {"weights": ["1", "500m"]}),
        ([1, "0m"], [1, 0], {"weights": [1, "0m"]}),
        (["1k", "1"], [1000, 1], {"weights": ["1k", "1"]}),
        (["0", "0"], [0, 0], {}),
    ],
)
def test_quantities_become_whole_weights_and_are_kept_where_they_look_different(quantities, whole, annotation):
    newer = convert(split("v1alpha1", quantities), "v1alpha4")
    assert weights(newer) == whole
    assert kept(newer) == annotation
    assert weights(convert(newer, "v1alpha1")) == quantities


@pytest.mark.parametrize(
    "quantities", [["abc", "1"], [-1, "1"], [1.5, "1"], [None, "1"], [True, "1"], ["1" * 70, "1"], [["1"], "1"]]
)
def test_weights_that_are_none_are_passed_on_for_decoding_to_complain_about(quantities):
    newer = convert(split("v1alpha1", quantities), "v1alpha4")
    assert weights(newer) == quantities
    assert kept(newer) == {}


@pytest.mark.parametrize("whole", [[-1, 1], [2**31, 1], ["x", 1], [1.5, 1], [None, 1]])
def test_wrong_whole_weights_do_not_become_quantities(whole):
    assert weights(convert(split("v1alpha2", whole), "v1alpha1")) == whole


def test_kept_quantities_are_dropped_as_soon_as_the_weights_are_others():
    newer = convert(split("v1alpha1", ["1", "500m"]), "v1alpha2")
    newer["spec"]["backends"][1]["weight"] = 1000
    assert weights(convert(newer, "v1alpha1")) == ["1000", "1000"]
    assert kept(convert(newer, "v1alpha4")) == {}


def test_matches_of_a_split_are_kept_where_a_version_has_none():
    matches = [{"kind": "HTTPRouteGroup", "name": "beta", "apiGroup": "specs.smi-spec.io"}]
    older = convert(split("v1alpha4", [0, 100], matches=matches), "v1alpha2")
    assert "matches" not in older["spec"]
    assert kept(older) == {"matches": matches}
    assert convert(older, "v1alpha3")["spec"]["matches"] == matches


def test_matches_written_where_the_version_has_none_are_never_taken_away():
    """Decoding refuses them there, and a person who converts such a file wants what it says."""
    newer = convert(split("v1alpha2", [1], matches=[{"kind": "HTTPRouteGroup", "name": "beta"}]), "v1alpha4")
    assert newer["spec"]["matches"] == [{"kind": "HTTPRouteGroup", "name": "beta"}]


@pytest.mark.parametrize("empty", [None, []])
def test_an_empty_list_where_the_version_has_none_does_not_lift_kept_matches(empty):
    matches = [{"kind": "HTTPRouteGroup", "name": "beta"}]
    older = convert(split("v1alpha4", [1], matches=matches), "v1alpha2")
    older["spec"]["matches"] = empty
    assert convert(older, "v1alpha4")["spec"]["matches"] == matches


GROUP = made("""
    apiVersion: specs.smi-spec.io/v1alpha4
    kind: HTTPRouteGroup
    metadata: {name: api, namespace: shop, annotations: {note: x}}
    spec:
      matches:
      - {name: beta, pathRegex: /api, methods: [GET], headers: {user-agent: ".*Firefox.*"}}
      - {name: all, pathRegex: /}
      - {name: old, headers: [{x-a: "1"}, {x-b: "2"}]}
""")


@pytest.mark.parametrize("version", ["v1alpha2", "v1alpha1"])
def test_matches_move_to_the_root_and_back(version):
    older = convert(GROUP, version)
    assert list(older) == ["apiVersion", "kind", "metadata", "matches"]
    assert convert(older, "v1alpha4") == GROUP
    if version == "v1alpha2":
        assert older["matches"] == GROUP["spec"]["matches"]
        assert older["metadata"] == GROUP["metadata"]
    else:
        assert older["matches"][0] == {"name": "beta", "pathRegex": "/api", "methods": ["GET"]}
        assert kept(older) == {
            "headers": [["beta", {"user-agent": ".*Firefox.*"}], ["old", [{"x-a": "1"}, {"x-b": "2"}]]]
        }
        assert older["metadata"]["annotations"]["note"] == "x"


def test_kept_headers_keep_their_order():
    """The decoded object has them in this order: another one would look like a change."""
    headers = {"x-b": "1", "x-a": "2"}
    older = convert({**GROUP, "spec": {"matches": [{"name": "a", "headers": headers}]}}, "v1alpha1")
    assert list(convert(older, "v1alpha4")["spec"]["matches"][0]["headers"]) == ["x-b", "x-a"]


def test_headers_written_in_the_oldest_version_win_over_kept_ones():
    older = convert(GROUP, "v1alpha1")
    older["matches"][0]["headers"] = {"user-agent": "curl"}
    newer = convert(older, "v1alpha4")["spec"]["matches"]
    assert [match.get("headers") for match in newer] == [{"user-agent": "curl"}, None, [{"x-a": "1"}, {"x-b": "2"}]]


@pytest.mark.parametrize("spec", [{}, {"spec": None}])
@pytest.mark.parametrize("version", ["v1alpha3", "v1alpha4"])
def test_matches_at_the_root_of_newer_versions_keep_their_meaning(version, spec):
    """So the specification's own examples write them."""
    matches = [{"name": "beta", "headers": {"cookie": "type=insider"}}]
    head = {"apiVersion": f"specs.smi-spec.io/{version}", "kind": "HTTPRouteGroup", "metadata": {"name": "x"}}
    document = {**head, **spec, "matches": matches}
    other = "v1alpha4" if version == "v1alpha3" else "v1alpha3"
    assert convert(document, other) == {**document, "apiVersion": f"specs.smi-spec.io/{other}"}
    assert convert(document, "v1alpha2") == {**head, "apiVersion": "specs.smi-spec.io/v1alpha2", "matches": matches}
    assert convert(convert(document, "v1alpha1"), "v1alpha4")["spec"] == {"matches": matches}


def test_matches_at_the_root_beside_a_spec_mean_nothing_and_do_not_begin_to():
    document = {**GROUP, "matches": [{"name": "stray"}]}
    older = convert(document, "v1alpha2")
    assert older["matches"] == GROUP["spec"]["matches"]
    assert kept(older) == {"rest": {"root": {"matches": [{"name": "stray"}]}}}
    assert convert(older, "v1alpha4") == document


def test_a_spec_beside_matches_of_an_older_version_means_nothing_and_does_not_begin_to():
    head = {"apiVersion": "specs.smi-spec.io/v1alpha2", "kind": "HTTPRouteGroup", "metadata": {"name": "x"}}
    document = {**head, "matches": [{"name": "a"}], "spec": {"matches": [{"name": "stray"}]}}
    newer = convert(document, "v1alpha4")
    assert newer["spec"] == {"matches": [{"name": "a"}]}
    assert convert(newer, "v1alpha2") == document


def test_unknown_fields_of_spec_are_kept():
    older = convert({**GROUP, "spec": {**GROUP["spec"], "later": 1}}, "v1alpha2")
    assert kept(older) == {"rest": {"spec": {"later": 1}}}
    assert convert(older, "v1alpha3")["spec"]["later"] == 1


TCP = made("""
    apiVersion: specs.smi-spec.io/v1alpha4
    kind: TCPRoute
    metadata: {name: db}
    spec: {matches: {name: ports, ports: [5432, 5433]}}
""")


@pytest.mark.parametrize(("version", "rest"), [("v1alpha3", {"spec": {}}), ("v1alpha2", {}), ("v1alpha1", {})])
def test_ports_of_a_tcp_route_are_kept(version, rest):
    older = convert(TCP, version)
    assert {key: value for key, value in older.items() if key not in ("apiVersion", "kind", "metadata")} == rest
    assert kept(older) == {"spec": TCP["spec"]}
    assert convert(older, "v1alpha4") == TCP


TARGET = made("""
    apiVersion: access.smi-spec.io/v1alpha1
    kind: TrafficTarget
    metadata: {name: api, namespace: shop}
    destination: {kind: ServiceAccount, name: api, port: 8080}
    specs:
    - {kind: HTTPRouteGroup, name: api, matches: [get]}
    - {kind: TCPRoute, name: api}
    sources:
    - {kind: ServiceAccount, name: web, namespace: shop}
""")
NEWEST_TARGET = made("""
    apiVersion: access.smi-spec.io/v1alpha3
    kind: TrafficTarget
    metadata: {name: api, namespace: shop}
    spec:
      destination: {kind: ServiceAccount, name: api}
      rules:
      - {kind: UDPRoute, name: first}
      - {kind: HTTPRouteGroup, name: api}
      - {kind: UDPRoute, name: third}
      sources:
      - {kind: ServiceAccount, name: web}
""")


def test_the_port_of_a_target_is_kept_and_comes_back():
    middle, newest = convert(TARGET, "v1alpha2"), convert(TARGET, "v1alpha3")
    assert middle["spec"]["destination"]["port"] == 8080
    assert middle["spec"]["rules"] == TARGET["specs"]
    assert kept(middle) == {}
    assert newest["spec"]["destination"] == {"kind": "ServiceAccount", "name": "api"}
    assert kept(newest) == {"port": 8080}
    assert list(newest) == ["apiVersion", "kind", "metadata", "spec"]
    assert list(newest["spec"]) == ["destination", "rules", "sources"]
    assert convert(newest, "v1alpha1") == TARGET


def test_a_port_written_in_the_version_without_wins_over_the_kept_one():
    newest = convert(TARGET, "v1alpha3")
    newest["spec"]["destination"]["port"] = 9090
    older = convert(newest, "v1alpha2")
    assert older["spec"]["destination"]["port"] == 9090
    assert kept(older) == {}


@pytest.mark.parametrize("port", ["8080", 0, 70000, 80.5, True, [80]])
def test_a_wrong_port_stays_where_it_is(port):
    document = {**TARGET, "destination": {**TARGET["destination"], "port": port}}
    newest = convert(document, "v1alpha3")
    assert newest["spec"]["destination"]["port"] == port
    assert kept(newest) == {}


def test_udp_rules_are_kept_and_return_to_their_places():
    older = convert(NEWEST_TARGET, "v1alpha2")
    assert older["spec"]["rules"] == [{"kind": "HTTPRouteGroup", "name": "api"}]
    first, third = NEWEST_TARGET["spec"]["rules"][0], NEWEST_TARGET["spec"]["rules"][2]
    assert kept(older) == {"udpRules": [[0, first], [2, third]]}
    assert convert(older, "v1alpha3") == NEWEST_TARGET
    assert convert(convert(older, "v1alpha1"), "v1alpha3") == NEWEST_TARGET


def test_udp_rules_alone_are_not_empty_rules():
    document = {**NEWEST_TARGET, "spec": {**NEWEST_TARGET["spec"], "rules": [{"kind": "UDPRoute", "name": "u"}]}}
    older = convert(document, "v1alpha1")
    assert older["specs"] == []
    del older["specs"]  # what a client that leaves out empty lists does
    newest = convert(older, "v1alpha3")
    assert newest["spec"]["rules"] == document["spec"]["rules"]
    assert kept(newest) == {}


@pytest.mark.parametrize("rules", [{}, {"specs": []}, {"specs": None}])
def test_empty_rules_of_older_versions_are_known_as_such(rules):
    document = {key: value for key, value in TARGET.items() if key != "specs"} | rules
    newest = convert(document, "v1alpha3")
    assert kept(newest) == {"port": 8080, "emptyRules": True}
    assert convert(newest, "v1alpha1") == document
    newest["spec"]["rules"] = [{"kind": "TCPRoute", "name": "db"}]
    assert kept(convert(newest, "v1alpha2")) == {}


def test_empty_rules_of_the_newest_version_do_not_begin_to_mean_all():
    document = {**NEWEST_TARGET, "spec": {**NEWEST_TARGET["spec"], "rules": []}}
    older = convert(document, "v1alpha2")
    assert kept(older) == {"emptyRules": False}
    assert convert(older, "v1alpha3") == document
    assert convert(convert(older, "v1alpha1"), "v1alpha3") == document
    older["spec"]["rules"] = [{"kind": "TCPRoute", "name": "db"}]
    assert kept(convert(older, "v1alpha3")) == {}


def test_the_form_of_another_version_does_not_begin_to_mean_anything():
    wrong = {**TARGET, "apiVersion": "access.smi-spec.io/v1alpha3"}
    older = convert(wrong, "v1alpha1")
    assert not {"destination", "specs", "sources"} & set(older)
    assert convert(older, "v1alpha3")["spec"] == {}


@pytest.mark.parametrize("spec", [5, "text", [1]])
@pytest.mark.parametrize(
    ("group", "kind"), [("access", "TrafficTarget"), ("specs", "HTTPRouteGroup"), ("specs", "TCPRoute")]
)
def test_a_spec_of_the_wrong_type_is_passed_on(group, kind, spec):
    head = {"kind": kind, "metadata": {"name": "x"}, "spec": spec}
    older = convert({"apiVersion": f"{group}.smi-spec.io/v1alpha3", **head}, "v1alpha1")
    assert older == {"apiVersion": f"{group}.smi-spec.io/v1alpha1", **head}


@pytest.mark.parametrize("text", ["{", "[]", '{"port": "x"}', 5])
def test_an_annotation_that_cannot_be_understood_is_left_alone_and_limits_stay_in_their_fields(text):
    metadata = {"name": "x", "annotations": {KEPT: text}}
    matches = [{"kind": "HTTPRouteGroup", "name": "beta"}]
    cases = [
        (
            {**split("v1alpha4", [1], matches=matches), "metadata": metadata},
            "v1alpha1",
            lambda d: d["spec"]["matches"],
            matches,
        ),
        ({**TCP, "metadata": metadata}, "v1alpha1", lambda d: d["spec"], TCP["spec"]),
        ({**TARGET, "metadata": metadata}, "v1alpha3", lambda d: d["spec"]["destination"]["port"], 8080),
        ({**NEWEST_TARGET, "metadata": metadata}, "v1alpha1", lambda d: d["specs"], NEWEST_TARGET["spec"]["rules"]),
        ({**GROUP, "metadata": metadata}, "v1alpha1", lambda d: d["matches"], GROUP["spec"]["matches"]),
    ]
    for document, version, field, value in cases:
        other = convert(document, version)
        assert field(other) == value
        assert other["metadata"] == metadata
        assert convert(other, document["apiVersion"]) == document


def test_unknown_fields_stay_in_place_without_an_annotation_to_keep_them():
    document = {**GROUP, "metadata": None, "spec": {**GROUP["spec"], "later": 1}}
    older = convert(document, "v1alpha2")
    assert older["spec"] == {"later": 1}
    assert older["matches"] == GROUP["spec"]["matches"]
    assert convert(older, "v1alpha4") == document


def test_what_a_later_release_keeps_is_left_in_the_annotation():
    document = split("v1alpha4", [1], matches=[])
    document["metadata"]["annotations"] = {KEPT: '{"later":[1]}'}
    older = convert(document, "v1alpha1")
    assert kept(older) == {"later": [1], "matches": []}
    assert convert(older, "v1alpha4") == document


def test_forged_leftovers_replace_no_field():
    rest = {"spec": {"matches": "x", "a": 1}, "root": {"metadata": {"name": "evil"}, "kind": "Secret", "spec": 3}}
    document = {
        **convert(GROUP, "v1alpha2"),
        "metadata": {"name": "x", "annotations": {KEPT: json.dumps({"rest": rest})}},
    }
    newer = convert(document, "v1alpha4")
    assert newer == {**GROUP, "metadata": {"name": "x"}, "spec": {**GROUP["spec"], "a": 1}}


@pytest.mark.parametrize(
    ("change", "version", "message"),
    [
        ({}, "v1alpha9", "TrafficSplit has no version 'v1alpha9'; it has v1alpha1, v1alpha2, v1alpha3, v1alpha4"),
        ({"apiVersion": "split.smi-spec.io/v2"}, "v1alpha1", "TrafficSplit has no version 'v2'; it has v1alpha1"),
        ({"kind": "TrafficSplat"}, "v1alpha1", "'TrafficSplat' of the group 'split.smi-spec.io' is not a kind of SMI"),
        ({"apiVersion": "specs.smi-spec.io/v1alpha4"}, "v1alpha1", "of the group 'specs.smi-spec.io' is not a kind"),
        ({"apiVersion": 5}, "v1alpha1", "an object must have the texts apiVersion and kind"),
        ({"kind": None}, "v1alpha1", "an object must have the texts apiVersion and kind"),
        (
            {},
            "specs.smi-spec.io/v1alpha1",
            "TrafficSplit is of the group split.smi-spec.io, not of 'specs.smi-spec.io'",
        ),
        ({"kind": "UDPRoute", "apiVersion": "specs.smi-spec.io/v1alpha4"}, "v1alpha3", "it has v1alpha4"),
        ({"kind": "x\n" * 1000}, "v1alpha1", "is not a kind of SMI"),
    ],
)
def test_kinds_and_versions_that_do_not_exist_are_told_in_one_line(change, version, message):
    with pytest.raises(ConversionError) as error:
        convert({**split("v1alpha4", [1]), **change}, version)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_the_version_may_have_its_group_as_in_the_request_of_a_webhook():
    document = split("v1alpha4", [1])
    assert convert(document, "split.smi-spec.io/v1alpha2") == convert(document, "v1alpha2")


def test_a_udp_route_has_one_version():
    document = {"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "UDPRoute", "spec": {"matches": {"ports": [53]}}}
    assert convert(document, "v1alpha4") == document
