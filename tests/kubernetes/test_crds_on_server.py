"""A real API server's verdict on the schemas: each version by itself, without conversion."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.kubernetes.api_server import MERGE_PATCH, TABLE
from tests.kubernetes.cases import ACCEPTED, REFUSED, Accepted, Refused
from tests.kubernetes.manifests import BY_KEY, CRDS, Crd

pytestmark = pytest.mark.kubernetes

each_crd = pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd.key[1])


@pytest.fixture(scope="module")
def cluster(cluster_without_conversion):
    return cluster_without_conversion


def _without_nulls(value: Any) -> Any:
    """The server may drop a null, which means the same as nothing."""
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def _fields(document: dict[str, Any]) -> dict[str, Any]:
    return {key: _without_nulls(value) for key, value in document.items() if key not in ("metadata", "status")}


def _split(version: str, name: str, canary: Any, primary: Any) -> dict[str, Any]:
    backends = [{"service": "app-canary", "weight": canary}, {"service": "app-primary", "weight": primary}]
    return {
        "apiVersion": f"split.smi-spec.io/{version}",
        "kind": "TrafficSplit",
        "metadata": {"name": name},
        "spec": {"service": "app", "backends": backends},
    }


@each_crd
def test_a_definition_is_accepted_without_any_warning(cluster, crd: Crd):
    created = cluster.created[crd.name]
    assert (created.status, created.warnings) == (201, [])
    conditions = {each["type"]: each["status"] for each in cluster.definition(crd)["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("case", ACCEPTED, ids=str)
def test_what_clients_write_is_stored_as_written(cluster, case: Accepted):
    answer = cluster.create(case.document)
    assert (answer.status, answer.warnings) == (201, []), answer.message
    path = cluster.path(case.document)
    try:
        assert _fields(cluster.server.get(path).body) == _fields(case.document)
    finally:
        cluster.server.ask("DELETE", path)


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_refused_is_refused_there(cluster, case: Refused):
    answer = cluster.create(case.document, dry_run=True)
    assert answer.status == 422, answer.body
    assert [field for field in answer.causes if field.startswith(case.at)], answer.message


def test_the_sentence_of_the_specification_is_what_a_person_reads(cluster):
    (case,) = [case for case in REFUSED if case.why == "empty sources"]
    sentence = "a valid TrafficTarget must specify a destination, at least one rule and at least one source"
    assert sentence in cluster.create(case.document, dry_run=True).message


@each_crd
def test_short_names_and_categories_are_known(cluster, crd: Crd):
    resources = cluster.server.get(f"/apis/{crd.key[0]}/{crd.storage_version}").body["resources"]
    names = {each["name"]: each for each in resources}
    assert names[crd.plural].get("shortNames", []) == crd.spec["names"].get("shortNames", [])
    assert names[crd.plural]["categories"] == crd.spec["names"]["categories"]
    assert f"{crd.plural}/status" in names


def test_a_table_shows_what_an_object_is_about(cluster):
    split = _split("v1alpha4", "table", 0, 100)
    assert cluster.create(split).status == 201
    table = cluster.server.get(cluster.path(split), accept=TABLE).body
    cluster.server.ask("DELETE", cluster.path(split))
    columns = [each["name"] for each in table["columnDefinitions"]]
    assert columns == ["Name", "Service", "Backends", "Accepted", "Age"]
    assert table["rows"][0]["cells"][:2] == ["table", "app"]


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2", "v1alpha3"])
def test_flagger_reads_and_replaces_with_weight_zero(cluster, version):
    """Its whole reconciliation: create, get, put back with other weights, get."""
    kind = str if version == "v1alpha1" else int
    split = _split(version, f"flagger-{version}", kind(0), kind(100))
    assert cluster.create(split).status == 201
    path = cluster.path(split)
    for canary in (10, 100, 0):
        stored = cluster.server.get(path).body
        stored["spec"]["backends"] = _split(version, "", kind(canary), kind(100 - canary))["spec"]["backends"]
        assert cluster.server.ask("PUT", path, stored).status == 200
        assert cluster.server.get(path).body["spec"] == stored["spec"]
    cluster.server.ask("DELETE", path)


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2", "v1alpha3"])
def test_argo_rollouts_patches_with_weight_zero(cluster, version):
    """It sends a merge patch of the spec, with all backends."""
    kind = str if version == "v1alpha1" else int
    split = _split(version, f"argo-{version}", kind(5), kind(95))
    assert cluster.create(split).status == 201
    path = cluster.path(split)
    for canary in (100, 0):
        spec = {"backends": _split(version, "", kind(canary), kind(100 - canary))["spec"]["backends"]}
        assert cluster.server.ask("PATCH", path, {"spec": spec}, sent=MERGE_PATCH).status == 200
        assert cluster.server.get(path).body["spec"] == {"service": "app", **spec}
    cluster.server.ask("DELETE", path)


def test_what_an_older_version_allowed_can_be_labelled_and_judged(cluster):
    """A TrafficTarget without rules is stored in a version that wants some; only a changed spec must be valid."""
    document = {
        "apiVersion": "access.smi-spec.io/v1alpha2",
        "kind": "TrafficTarget",
        "metadata": {"name": "no-rules"},
        "spec": {"destination": {"kind": "ServiceAccount", "name": "server", "port": 8080}},
    }
    assert cluster.create(document).status == 201
    path = cluster.path({**document, "apiVersion": "access.smi-spec.io/v1alpha3"})
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "TL1214",
        "message": "nothing is allowed",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    labelled = cluster.server.ask("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, sent=MERGE_PATCH)
    judged = cluster.server.ask("PATCH", f"{path}/status", {"status": {"conditions": [condition]}}, sent=MERGE_PATCH)
    changed = cluster.server.ask("PATCH", path, {"spec": {"sources": []}}, sent=MERGE_PATCH)
    cluster.server.ask("DELETE", path)
    assert (labelled.status, judged.status, changed.status) == (200, 200, 422)
    assert judged.body["status"] == {"conditions": [condition]}


@pytest.mark.parametrize("key", [key for key in BY_KEY if key[0].endswith("smi-spec.io")], ids=lambda key: key[1])
def test_unknown_fields_of_smi_are_kept(cluster, key):
    """Where a misspelt limit was pruned, more would be allowed than was meant."""
    document = copy.deepcopy(next(each.document for each in ACCEPTED if each.document["kind"] == key[1]))
    document["metadata"] = {"name": "unknown"}
    document["sepc"] = {"a": 1}
    spec = document.setdefault("spec", {})
    spec["pathRegexp"] = ["/a"]
    assert cluster.create(document).status == 201
    stored = cluster.server.get(cluster.path(document)).body
    cluster.server.ask("DELETE", cluster.path(document))
    assert (stored["sepc"], stored["spec"]["pathRegexp"]) == ({"a": 1}, ["/a"])


def test_unknown_fields_of_our_own_are_refused_for_kubectl(cluster):
    document = {
        "apiVersion": "tulle.dev/v1alpha1",
        "kind": "MeshConfig",
        "metadata": {"name": "default"},
        "spec": {"egres": "deny"},
    }
    path = cluster.path(document, named=False)
    answer = cluster.server.ask("POST", f"{path}?fieldValidation=Strict&dryRun=All", document)
    assert answer.status == 400
    assert 'unknown field "spec.egres"' in answer.message


@each_crd
def test_kubectl_explain_finds_every_description(cluster, crd: Crd):
    group, kind = crd.key
    for version, schema in crd.schemas.items():
        published = cluster.server.get(f"/openapi/v3/apis/{group}/{version}").body["components"]["schemas"]
        of_kind = next(each for name, each in published.items() if name.endswith(f".{kind}"))
        assert of_kind["description"] == schema["description"]
        for name, field in schema["properties"].items():
            if "description" in field:
                assert of_kind["properties"][name]["description"] == field["description"]
