"""The CRDs with conversion by `smi.conversion`: what it gives fits the schemas, and no version changes a meaning.

API servers do not validate what a webhook gives them, so that is checked here.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smi.conversion import convert
from smi.decode import decode
from smi.documents import parse
from smi.objects import MeshObject
from smi.quantities import weights_of
from tests.kubernetes.api_server import MERGE_PATCH
from tests.kubernetes.cases import ACCEPTED, Accepted
from tests.kubernetes.conversion_webhook import running
from tests.kubernetes.manifests import BY_KEY, CRDS
from tests.kubernetes.pruning import pruned
from tests.kubernetes.validation import errors

_CONVERTED = [case for case in ACCEPTED if case.document["apiVersion"].partition("/")[0].endswith("smi-spec.io")]


def _versions(document: dict[str, Any]) -> list[str]:
    return list(BY_KEY[document["apiVersion"].partition("/")[0], document["kind"]].schemas)


def _at(document: dict[str, Any], version: str) -> dict[str, Any]:
    """The document under the apiVersion of another version, for its path."""
    return {**document, "apiVersion": f"{document['apiVersion'].partition('/')[0]}/{version}"}


def _meaning(document: dict[str, Any]) -> MeshObject:
    """What the decoders make of a document, its metadata apart: the documents are written for `default`."""
    document = {**document, "metadata": {**document["metadata"], "namespace": "default"}}
    (parsed,), _ = parse(json.dumps(document, sort_keys=True), "object.yaml")
    value = decode(parsed).object
    assert value is not None
    return dataclasses.replace(value, meta=dataclasses.replace(value.meta, annotations={}, created=""))


@pytest.mark.parametrize("case", _CONVERTED, ids=str)
def test_what_is_converted_fits_its_schema(case: Accepted):
    for version in _versions(case.document):
        converted = convert(case.document, version)
        assert errors(converted) == []
        assert pruned(converted) == converted


@given(st.text("0159.+-eEnumkKMGTPi", max_size=8))
@example("1" * 65)
@settings(max_examples=1000, deadline=None)
def test_a_quantity_that_the_schema_accepts_is_a_weight_and_no_other_is(text):
    spec = {"service": "a", "backends": [{"service": "b", "weight": text}]}
    document = {"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit", "spec": spec}
    assert (errors(document) == []) == (weights_of([text]) is not None and not text.startswith("-"))


@pytest.fixture(scope="module")
def conversion(cluster, tmp_path_factory):
    """The CRDs as shipped, with what an installer adds: where the webhook is."""
    with running(convert, tmp_path_factory.mktemp("webhook")) as client:
        patch = {"spec": {"conversion": {"webhook": {"clientConfig": {"service": None, **client}}}}}
        for crd in CRDS:
            if len(crd.schemas) > 1:
                path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd.name}"
                assert cluster.server.ask("PATCH", path, patch, sent=MERGE_PATCH).status == 200
        yield cluster


@pytest.mark.kubernetes
@pytest.mark.parametrize("case", _CONVERTED, ids=str)
def test_an_object_means_the_same_at_every_version(conversion, case: Accepted):
    created = conversion.create(case.document)
    assert (created.status, created.warnings) == (201, []), created.message
    try:
        for version in _versions(case.document):
            read = conversion.server.get(conversion.path(_at(case.document, version)))
            assert read.status == 200, read.message
            assert errors(read.body) == []
            assert _meaning(read.body) == _meaning(case.document)
    finally:
        conversion.server.ask("DELETE", conversion.path(case.document))


@pytest.mark.kubernetes
@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2", "v1alpha3"])
def test_flagger_does_not_open_a_canary_to_everyone(conversion, version):
    """It reads at an older version, where `matches` has no place, and puts back what its Go types can say."""
    (case,) = [case for case in _CONVERTED if case.document["metadata"]["name"] == "ab-test"]
    document = copy.deepcopy(case.document)
    document["metadata"] = {"name": f"canary-{version}"}
    assert conversion.create(document).status == 201
    older, weight = conversion.path(_at(document, version)), str if version == "v1alpha1" else int
    stored = conversion.server.get(older).body
    stored["spec"]["backends"] = [
        {"service": "website-v1", "weight": weight(0)},
        {"service": "website-v2", "weight": weight(7)},
    ]
    assert conversion.server.ask("PUT", older, stored).status == 200
    spec = conversion.server.get(conversion.path(document)).body["spec"]
    conversion.server.ask("DELETE", conversion.path(document))
    assert spec["matches"] == document["spec"]["matches"]
    assert [(each["service"], each["weight"]) for each in spec["backends"]] == [("website-v1", 0), ("website-v2", 7)]


@pytest.mark.kubernetes
@pytest.mark.parametrize(
    ("name", "version"),
    [("with-routes", "v1alpha3"), ("metrics-3", "v1alpha1"), ("mysql", "v1alpha1"), ("authorized", "v1alpha1")],
)
def test_a_label_set_at_another_version_takes_no_limit_away(conversion, name, version):
    document = next((case.document for case in _CONVERTED if case.document["metadata"]["name"] == name), _AUTHORIZED)
    assert conversion.create(document).status == 201
    other = conversion.path(_at(document, version))
    stored = conversion.server.get(other).body
    stored["metadata"]["labels"] = {"seen": "yes"}
    assert conversion.server.ask("PUT", other, stored).status == 200
    read = conversion.server.get(conversion.path(document)).body
    conversion.server.ask("DELETE", conversion.path(document))
    assert read["spec"] == document["spec"]


_AUTHORIZED: dict[str, Any] = {
    "apiVersion": "specs.smi-spec.io/v1alpha4",
    "kind": "HTTPRouteGroup",
    "metadata": {"name": "authorized"},
    "spec": {"matches": [{"name": "authorized", "pathRegex": "/", "headers": {"authorized": "true"}}]},
}
