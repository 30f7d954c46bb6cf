"""The manifests on a real API server before the conversion webhook runs: an answer or an error, nothing in between."""

from __future__ import annotations

import base64
import copy
from datetime import UTC, datetime

import pytest

from ca.authority import create_root
from ca.identity import TrustDomain
from tests.kubernetes.api_server import APPLY_PATCH, MERGE_PATCH
from tests.kubernetes.cases import ACCEPTED
from tests.kubernetes.manifests import BY_KEY

pytestmark = pytest.mark.kubernetes

_NEWEST = [case for case in ACCEPTED
           if (crd := BY_KEY[case.document["apiVersion"].partition("/")[0], case.document["kind"]])
           and case.document["apiVersion"].endswith(crd.storage_version)]  # fmt: skip
_OLDER = [case for case in ACCEPTED if case not in _NEWEST]
_SPLITS = BY_KEY["split.smi-spec.io", "TrafficSplit"]


@pytest.mark.parametrize("case", _NEWEST, ids=str)
def test_the_stored_version_works(cluster, case):
    created = cluster.create(case.document)
    assert (created.status, created.warnings) == (201, []), created.message
    path = cluster.path(case.document)
    label = {"metadata": {"labels": {"a": "b"}}}
    assert cluster.server.ask("PATCH", path, label, sent=MERGE_PATCH).status == 200
    assert len(cluster.server.get(cluster.path(case.document, named=False)).body["items"]) == 1
    assert cluster.server.ask("DELETE", path).status == 200


@pytest.mark.parametrize("case", _OLDER, ids=str)
def test_every_other_version_is_an_error_that_tells_why(cluster, case):
    created = cluster.create(case.document)
    assert created.status == 500
    assert "conversion webhook" in created.message


def test_a_split_is_never_read_without_what_limits_it(cluster):
    (case,) = [case for case in _NEWEST if case.document["metadata"]["name"] == "ab-test"]
    assert cluster.create(case.document).status == 201
    older = cluster.path({**case.document, "apiVersion": "split.smi-spec.io/v1alpha2"})
    answer = cluster.server.get(older)
    cluster.server.ask("DELETE", cluster.path(case.document))
    assert (answer.status, "conversion webhook" in answer.message) == (500, True)


def test_applying_the_manifests_again_keeps_what_the_installer_added(cluster, server):
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{_SPLITS.name}"
    apply = f"{path}?fieldManager=kubectl&force=true"
    root = create_root(TrustDomain("shop.example"), datetime.now(UTC))
    authority = base64.b64encode(root.certificate_pem).decode()
    added = {"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": authority}}}}}
    assert server.ask("PATCH", apply, copy.deepcopy(dict(_SPLITS.value)), sent=APPLY_PATCH).status == 200
    assert server.ask("PATCH", path, added, sent=MERGE_PATCH).status == 200
    assert server.ask("PATCH", apply, copy.deepcopy(dict(_SPLITS.value)), sent=APPLY_PATCH).status == 200
    conversion = cluster.definition(_SPLITS)["spec"]["conversion"]
    assert conversion["strategy"] == "Webhook"
    assert conversion["webhook"]["clientConfig"]["caBundle"] == authority
