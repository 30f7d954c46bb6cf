"""Tests marked `kubernetes` run against the API server that TULLE_TEST_KUBECONFIG names, and not without it.

They install the CRDs of deploy/crds, and refuse to where any of them is there already: those may hold objects.
"""

from __future__ import annotations

import copy
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.api_server import Answer, ApiServer, until
from tests.kubernetes.manifests import BY_KEY, CRDS, Crd

VARIABLE = "TULLE_TEST_KUBECONFIG"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True)
class Cluster:
    """A server with the CRDs, and a namespace for one module's objects. `created` are the answers to the CRDs."""

    server: ApiServer
    namespace: str
    created: dict[str, Answer]

    def path(self, document: dict[str, Any], *, named: bool = True) -> str:
        group, _, _ = document["apiVersion"].partition("/")
        crd = BY_KEY[group, document["kind"]]
        place = f"namespaces/{self.namespace}/" if crd.namespaced else ""
        name = f"/{document['metadata']['name']}" if named else ""
        return f"/apis/{document['apiVersion']}/{place}{crd.plural}{name}"

    def create(self, document: dict[str, Any], *, dry_run: bool = False) -> Answer:
        document = copy.deepcopy(document)
        document["metadata"].pop("namespace", None)
        path = self.path(document, named=False)
        return self.server.ask("POST", f"{path}?dryRun=All" if dry_run else path, document)

    def definition(self, crd: Crd) -> dict[str, Any]:
        return self.server.get(f"{_DEFINITIONS}/{crd.name}").body


@pytest.fixture(scope="session")
def server() -> ApiServer:
    kubeconfig = os.environ.get(VARIABLE)
    if not kubeconfig:
        pytest.skip(f"{VARIABLE} names no API server")
    return ApiServer(Path(kubeconfig))


@pytest.fixture(scope="module")
def cluster(server: ApiServer) -> Iterator[Cluster]:
    """The CRDs as they are in deploy/crds: conversion by a webhook that does not run."""
    with _installed(server, [crd.value for crd in CRDS]) as installed:
        yield installed


@pytest.fixture(scope="module")
def cluster_without_conversion(server: ApiServer) -> Iterator[Cluster]:
    """The CRDs with objects left as they are in every version, so that each schema can be tried by itself."""
    values = []
    for crd in CRDS:
        value = copy.deepcopy(dict(crd.value))
        value["spec"]["conversion"] = {"strategy": "None"}
        values.append(value)
    with _installed(server, values) as installed:
        yield installed


@contextmanager
def _installed(server: ApiServer, values: list[Any]) -> Iterator[Cluster]:
    names = [value["metadata"]["name"] for value in values]
    there = [name for name in names if server.get(f"{_DEFINITIONS}/{name}").status == 200]
    assert not there, f"{there} are in the cluster already; these tests replace and delete them"
    namespace = f"tulle-test-{uuid.uuid4().hex[:8]}"
    # A server of nothing but CRDs has no namespaces (404) and lets objects be in any.
    answer = server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    assert answer.status in {201, 404}, answer.message
    created = {}
    try:
        for value in values:
            created[value["metadata"]["name"]] = server.ask("POST", _DEFINITIONS, value)
        cluster = Cluster(server, namespace, created)
        for crd in CRDS:
            until(f"{crd.name} to be served", lambda crd=crd: _is_served(cluster, crd))
        yield cluster
    finally:
        for name in created:
            server.ask("DELETE", f"{_DEFINITIONS}/{name}")
        for name in created:
            until(f"{name} to be gone", lambda name=name: server.get(f"{_DEFINITIONS}/{name}").status == 404)
        server.ask("DELETE", f"/api/v1/namespaces/{namespace}")


def _is_served(cluster: Cluster, crd: Crd) -> bool:
    created = cluster.created[crd.name]
    assert created.status == 201, created.message
    served = cluster.server.get(f"/apis/{crd.key[0]}/{crd.storage_version}").body
    listed = isinstance(served, dict) and any(each["name"] == crd.plural for each in served.get("resources", []))
    return listed and cluster.server.get(f"/apis/{crd.key[0]}/{crd.storage_version}/{crd.plural}").status == 200
