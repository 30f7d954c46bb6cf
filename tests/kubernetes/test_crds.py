"""The CRD manifests without a server: structure, versions, what is accepted and refused, what pruning leaves."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smi.decode import Decoded, decode
from smi.decode_specs import MAX_MATCH_NAME, METHODS
from smi.decode_split import MAX_WEIGHT
from smi.documents import parse
from smi.patterns import MAX_LENGTH
from smi.versions import KINDS, find_kind
from tests.kubernetes.cases import ACCEPTED, REFUSED, Accepted, Refused
from tests.kubernetes.manifests import BY_KEY, CRDS, Crd, every_schema
from tests.kubernetes.pruning import pruned
from tests.kubernetes.structural import violations
from tests.kubernetes.validation import errors

_SHORT_NAMES = {
    "TrafficTarget": ["tt"],
    "HTTPRouteGroup": ["htr"],
    "TCPRoute": ["tr"],
    "UDPRoute": ["ur"],
    "TrafficSplit": ["ts"],
}
_SMI_VERSIONS = {"TrafficTarget": 3, "HTTPRouteGroup": 4, "TCPRoute": 4, "TrafficSplit": 4}

each_crd = pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd.key[1])
each_accepted = pytest.mark.parametrize("case", ACCEPTED, ids=str)


def _decoded(document: dict[str, Any]) -> Decoded:
    documents, found = parse(json.dumps(document), "object.yaml")
    assert (len(documents), found) == (1, [])
    return decode(documents[0])


def _is_decoded(document: dict[str, Any]) -> bool:
    group, _, version = document["apiVersion"].partition("/")
    kind = find_kind(group, document["kind"])
    return kind is not None and version in kind.decoders


@pytest.mark.parametrize(("name", "schema"), [pytest.param(*each, id=each[0]) for each in every_schema()])
def test_every_schema_is_structural(name, schema):
    assert violations(schema) == []


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ({"description": "d"}, "has no type"),
        ({"type": "string"}, "has no description"),
        ({"type": "text", "description": "d"}, "does not exist"),
        ({"type": "integer", "x-kubernetes-int-or-string": True, "description": "d"}, "int-or-string has no type"),
        ({"type": "object", "description": "d", "x-kubernetes-preserve-unknown-fields": False}, "can only be true"),
        ({"type": "object", "description": "d", "properties": {}, "additionalProperties": True}, "exclude each other"),
        ({"type": "object", "description": "d", "additionalProperties": False}, "cannot be false"),
        ({"type": "array", "description": "d"}, "an array has items"),
        ({"type": "string", "description": "d", "uniqueItems": True}, "uniqueItems"),
        ({"type": "string", "description": "d", "pattern": "(?=a)"}, "no RE2"),
        ({"type": "string", "description": "d", "$ref": "#"}, "$ref is not allowed"),
        ({"type": "object", "description": "d", "required": ["a"]}, "required and not declared"),
        ({"type": "string", "description": "d", "x-kubernetes-validations": [{"rule": "true"}]}, "needs a message"),
        (
            {"description": "d", "x-kubernetes-preserve-unknown-fields": True,
             "x-kubernetes-validations": [{"rule": "true", "message": "m"}]},
            "needs a typed value",
        ),
        ({"type": "string", "description": "d", "x-kubernetes-list-type": "atomic"}, "only arrays"),
        ({"type": "array", "description": "d", "items": {"type": "string"}, "x-kubernetes-list-type": "map"}, "keys"),
        (
            {"type": "array", "description": "d", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"],
             "items": {"type": "object", "properties": {"a": {"type": "string", "description": "d"}}}},
            "is not required",
        ),
        ({"type": "string", "description": "d", "anyOf": [{"type": "string"}]}, "type is not allowed here"),
        ({"type": "object", "description": "d", "not": {"properties": {"a": {}}}}, "not declared outside"),
        ({"type": "string", "description": "d", "anyOf": [{"description": "d"}]}, "description is not allowed here"),
    ],
)  # fmt: skip
def test_the_check_of_structure_finds(broken, problem):
    found = violations({"type": "object", "description": "d", "properties": {"field": broken}})
    assert len(found) == 1
    assert problem in found[0]


@each_crd
def test_a_manifest_is_complete(crd: Crd):
    names, versions = crd.spec["names"], crd.spec["versions"]
    assert crd.name == f"{crd.plural}.{crd.spec['group']}"
    assert crd.file == f"{names['kind'].lower()}.yaml"
    assert names.get("shortNames", []) == _SHORT_NAMES.get(names["kind"], [])
    assert names["categories"] == (["smi"] if crd.spec["group"].endswith("smi-spec.io") else ["tulle"])
    assert [each["name"] for each in versions if each["storage"]] == [max(each["name"] for each in versions)]
    for version in versions:
        assert version["served"]
        assert version["subresources"] == {"status": {}}
        assert [column["name"] for column in version["additionalPrinterColumns"]][-2:] == ["Accepted", "Age"]
        conditions = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
        assert conditions["x-kubernetes-list-map-keys"] == ["type"]


@each_crd
def test_no_version_is_read_in_the_sense_of_another(crd: Crd):
    """Strategy None (the default) would do that, so it is only for kinds with one version."""
    conversion = crd.spec.get("conversion")
    if len(crd.schemas) == 1:
        assert conversion is None
    else:
        assert conversion["strategy"] == "Webhook"
        assert conversion["webhook"]["conversionReviewVersions"] == ["v1"]
        assert conversion["webhook"]["clientConfig"].keys() == {"service"}  # a caBundle here would undo the installer's


def test_every_released_version_of_smi_is_served():
    served = {kind: len(crd.schemas) for (group, kind), crd in BY_KEY.items() if group.endswith("smi-spec.io")}
    assert served == {**_SMI_VERSIONS, "UDPRoute": 1}


def test_every_version_that_is_decoded_is_served():
    for kind in KINDS:
        if kind.group:
            crd = BY_KEY[kind.group, kind.name]
            assert kind.decoders.keys() <= crd.schemas.keys()
            assert kind.has_namespace == crd.namespaced


def test_every_version_that_is_served_is_decoded():
    decoded = {(kind.group, kind.name): set(kind.decoders) for kind in KINDS if kind.group}
    assert decoded == {crd.key: set(crd.schemas) for crd in CRDS}


@each_accepted
def test_what_clients_write_is_accepted(case: Accepted):
    assert errors(case.document) == []


def test_clients_write_every_version():
    tried = {(case.document["kind"], case.document["apiVersion"].partition("/")[2]) for case in ACCEPTED}
    assert tried == {(crd.key[1], version) for crd in CRDS for version in crd.schemas}


@each_accepted
def test_nothing_that_clients_write_is_pruned(case: Accepted):
    assert pruned(case.document) == case.document


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_refused_is_refused_there(case: Refused):
    """The schema refuses at that path only; what a rule in CEL refuses, the schema lets pass."""
    assert {path for path, _ in errors(case.document)} == ({case.at} if case.by == "schema" else set())


@pytest.mark.parametrize("case", [case for case in REFUSED if _is_decoded(case.document)], ids=str)
def test_what_is_refused_would_not_be_in_force_as_written(case: Refused):
    """A schema is never stricter than the decoders: each refusal has a diagnostic of theirs."""
    assert _decoded(case.document).diagnostics


def _places(value: Any) -> list[dict[str, Any]]:
    """Every mapping in a document, the one of its metadata apart."""
    if isinstance(value, list):
        return [place for item in value for place in _places(item)]
    if not isinstance(value, dict):
        return []
    return [value, *(place for key, item in value.items() if key != "metadata" for place in _places(item))]


_DECODED = [case.document for case in ACCEPTED if _is_decoded(case.document)]
_NEAR_MISSES = ["pathRegexp", "header", "match", "matches", "port", "ports", "source", "rule", "namespcae", "spec"]


@given(
    st.sampled_from(_DECODED),
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(_NEAR_MISSES), st.sampled_from(["a", 1, ["a"], {"a": "b"}]))
    ),
)
@settings(max_examples=400, deadline=None)
def test_pruning_never_changes_what_a_document_means(document, additions):
    """Nor does it hide a mistake: a field that is misspelt would, once pruned, limit nothing."""
    document = copy.deepcopy(document)
    for place, key, value in additions:
        places = _places(document)
        places[place % len(places)].setdefault(key, copy.deepcopy(value))
    before, after = _decoded(document), _decoded(pruned(document))
    assert (after.object, after.intact) == (before.object, before.intact)


def test_limits_are_those_of_the_decoders():
    """Where a schema and a decoder draw the same line, moving one must move the other."""
    split = BY_KEY["split.smi-spec.io", "TrafficSplit"].schemas["v1alpha4"]["properties"]["spec"]["properties"]
    group = BY_KEY["specs.smi-spec.io", "HTTPRouteGroup"].schemas["v1alpha4"]["properties"]["matches"]["items"]
    match = group["properties"]
    assert split["backends"]["items"]["properties"]["weight"]["maximum"] == MAX_WEIGHT
    assert match["pathRegex"]["maxLength"] == MAX_LENGTH
    assert match["name"]["maxLength"] == MAX_MATCH_NAME
    assert match["methods"]["items"]["enum"] == ["*", *METHODS]


def test_fields_of_our_own_kinds_that_do_not_exist_are_pruned():
    """So `kubectl apply` refuses them, as it does for built-in kinds."""
    workload = {"apiVersion": "tulle.dev/v1alpha1", "kind": "Workload", "spec": {"adress": "10.0.0.1"}, "status": {}}
    assert pruned(workload) == {**workload, "spec": {}}
