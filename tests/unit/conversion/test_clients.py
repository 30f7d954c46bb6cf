"""Programs that read an object at an older version, change what they know and write it back take nothing else away."""

from __future__ import annotations

import copy
from textwrap import dedent

import pytest
import yaml

from smi.conversion import convert


def made(text: str) -> dict:
    return yaml.safe_load(dedent(text))


SPLIT = made("""
    apiVersion: split.smi-spec.io/v1alpha4
    kind: TrafficSplit
    metadata: {name: web, namespace: shop, uid: "1", resourceVersion: "7", annotations: {note: x}}
    spec:
      service: web
      backends:
      - {service: web-canary, weight: 0}
      - {service: web-primary, weight: 100}
      matches:
      - {kind: HTTPRouteGroup, name: insiders}
    status: {conditions: []}
""")


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2", "v1alpha3"])
def test_flagger_replaces_all_backends_and_matches_survive(version):
    seen = copy.deepcopy(convert(SPLIT, version))
    weights = ["5", "95"] if version == "v1alpha1" else [5, 95]
    names = ["web-canary", "web-primary"]
    seen["spec"]["backends"] = [
        {"service": name, "weight": weight} for name, weight in zip(names, weights, strict=True)
    ]
    stored = convert(seen, "v1alpha4")
    expected = copy.deepcopy(SPLIT)
    expected["spec"]["backends"] = [{"service": "web-canary", "weight": 5}, {"service": "web-primary", "weight": 95}]
    assert stored == expected


@pytest.mark.parametrize(("version", "canary", "stored"), [("v1alpha1", "25", 25), ("v1alpha2", 25, 25)])
def test_argo_patches_the_backends_and_matches_survive(version, canary, stored):
    """A merge patch of `spec` replaces the list of backends and leaves metadata and the other fields alone."""
    seen = copy.deepcopy(convert(SPLIT, version))
    stable = "75" if version == "v1alpha1" else 75
    patch = {"backends": [{"service": "web-canary", "weight": canary}, {"service": "web-primary", "weight": stable}]}
    seen["spec"] = seen["spec"] | patch
    newest = convert(seen, "v1alpha4")
    assert newest["spec"]["matches"] == SPLIT["spec"]["matches"]
    assert [backend["weight"] for backend in newest["spec"]["backends"]] == [stored, 75]


def test_fractions_survive_a_client_that_only_labels_the_object():
    written = {**convert(SPLIT, "v1alpha1")}
    written["spec"]["backends"] = [{"service": "a", "weight": "1"}, {"service": "b", "weight": "500m"}]
    seen = copy.deepcopy(convert(written, "v1alpha3"))
    seen["metadata"]["labels"] = {"team": "web"}
    assert convert(seen, "v1alpha1")["spec"] == written["spec"]


def test_fractions_do_not_survive_new_weights():
    written = {**convert(SPLIT, "v1alpha1")}
    written["spec"]["backends"] = [{"service": "a", "weight": "1"}, {"service": "b", "weight": "500m"}]
    seen = copy.deepcopy(convert(written, "v1alpha2"))
    seen["spec"]["backends"].reverse()
    assert [each["weight"] for each in convert(seen, "v1alpha1")["spec"]["backends"]] == ["500", "1000"]


GROUP = made("""
    apiVersion: specs.smi-spec.io/v1alpha4
    kind: HTTPRouteGroup
    metadata: {name: api, namespace: shop}
    spec:
      matches:
      - {name: insiders, pathRegex: /, headers: {cookie: "type=insider"}}
      - {name: metrics, pathRegex: /metrics, methods: [GET]}
      - {name: beta, pathRegex: /beta, headers: [{user-agent: ".*Firefox.*"}]}
""")


def _matches_by_name(document: dict) -> dict:
    return {match["name"]: match for match in document["spec"]["matches"]}


def test_headers_survive_a_client_of_the_oldest_version_that_reorders_adds_and_removes_matches():
    seen = copy.deepcopy(convert(GROUP, "v1alpha1"))
    insiders, _, beta = seen["matches"]
    beta["methods"] = ["PUT"]
    seen["matches"] = [beta, {"name": "new", "pathRegex": "/new"}, insiders]
    stored = convert(seen, "v1alpha4")
    assert [match["name"] for match in stored["spec"]["matches"]] == ["beta", "new", "insiders"]
    matches, before = _matches_by_name(stored), _matches_by_name(GROUP)
    assert matches["insiders"] == before["insiders"]
    assert matches["beta"] == {**before["beta"], "methods": ["PUT"]}
    assert matches["new"] == {"name": "new", "pathRegex": "/new"}
    assert "annotations" not in stored["metadata"]


TARGET = made("""
    apiVersion: access.smi-spec.io/v1alpha3
    kind: TrafficTarget
    metadata: {name: consul, namespace: shop}
    spec:
      destination: {kind: ServiceAccount, name: server, namespace: shop}
      rules:
      - {kind: UDPRoute, name: gossip}
      - {kind: TCPRoute, name: rpc}
      sources:
      - {kind: ServiceAccount, name: client, namespace: shop}
""")


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2"])
def test_udp_rules_survive_a_client_that_changes_rules_of_an_older_version(version):
    seen = copy.deepcopy(convert(TARGET, version))
    holder, key = (seen, "specs") if version == "v1alpha1" else (seen["spec"], "rules")
    holder[key] = [{"kind": "HTTPRouteGroup", "name": "api"}, *holder[key]]
    stored = convert(seen, "v1alpha3")
    assert stored["spec"]["rules"] == [
        {"kind": "UDPRoute", "name": "gossip"},
        {"kind": "HTTPRouteGroup", "name": "api"},
        {"kind": "TCPRoute", "name": "rpc"},
    ]


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2"])
def test_the_port_survives_a_client_of_the_newest_version(version):
    written = copy.deepcopy(convert(TARGET, version))
    (written if version == "v1alpha1" else written["spec"])["destination"]["port"] = 8300
    seen = copy.deepcopy(convert(written, "v1alpha3"))
    seen["spec"]["sources"].append({"kind": "ServiceAccount", "name": "other", "namespace": "shop"})
    stored = convert(seen, version)
    assert (stored if version == "v1alpha1" else stored["spec"])["destination"]["port"] == 8300


def test_a_port_taken_away_at_the_version_that_has_it_is_gone():
    written = copy.deepcopy(convert(TARGET, "v1alpha2"))
    written["spec"]["destination"]["port"] = 8300
    seen = copy.deepcopy(convert(convert(written, "v1alpha3"), "v1alpha2"))
    del seen["spec"]["destination"]["port"]
    assert convert(seen, "v1alpha3") == TARGET


TCP = made("""
    apiVersion: specs.smi-spec.io/v1alpha4
    kind: TCPRoute
    metadata: {name: db, namespace: shop}
    spec: {matches: {ports: [5432]}}
""")

KNOWN = {
    # What the types of the SDK know at each version, besides metadata: everything else is gone after an update.
    ("TrafficSplit", "v1alpha1"): {"spec": {"service": ..., "backends": ...}},
    ("TrafficSplit", "v1alpha2"): {"spec": {"service": ..., "backends": ...}},
    ("HTTPRouteGroup", "v1alpha1"): {"matches": [{"name": ..., "pathRegex": ..., "methods": ...}]},
    ("HTTPRouteGroup", "v1alpha2"): {"matches": ...},
    ("HTTPRouteGroup", "v1alpha3"): {"spec": {"matches": ...}},
    ("TCPRoute", "v1alpha1"): {},
    ("TCPRoute", "v1alpha2"): {},
    ("TCPRoute", "v1alpha3"): {"spec": {}},
    ("TrafficTarget", "v1alpha1"): {"destination": ..., "specs": ..., "sources": ...},
    ("TrafficTarget", "v1alpha2"): {"spec": {"destination": ..., "rules": ..., "sources": ...}},
}


def _as_typed(value, known):
    """What is left of a value after a client that drops the fields it does not know."""
    if known is ...:
        return value
    if isinstance(known, list):
        return [_as_typed(each, known[0]) for each in value]
    return {key: _as_typed(value[key], inner) for key, inner in known.items() if key in value}


@pytest.mark.parametrize(("kind", "version"), KNOWN)
def test_a_typed_client_that_drops_what_it_does_not_know_takes_nothing_away(kind, version):
    document = {each["kind"]: each for each in (SPLIT, GROUP, TARGET, TCP)}[kind]
    document = {key: value for key, value in document.items() if key != "status"}
    known = {"apiVersion": ..., "kind": ..., "metadata": ..., **KNOWN[kind, version]}
    assert convert(_as_typed(convert(document, version), known), document["apiVersion"]) == document
