"""Outbound scopes: what a sidecar may call, and everything that this leads to."""

from __future__ import annotations

from smi.model import MeshSnapshot, PortKey, Reach, WorkloadKey
from smi.objects import MeshObject, Upstream
from smi.resolve import codes
from smi.resolve.reaches import LARGE_SCOPE
from tests.unit.resolve.conftest import (
    key,
    mk_match,
    mk_mesh,
    mk_namespace,
    mk_routes,
    mk_service,
    mk_split,
    mk_workload,
    reported,
)

SERVICES = (mk_service("a"), mk_service("b"), mk_service("c", namespace="far"), mk_service("d", namespace="far"))
A, B, C, D = key("a"), key("b"), key("c", namespace="far"), key("d", namespace="far")


def reach_of(mesh: MeshSnapshot, workload: str = "client") -> Reach:
    return mesh.reaches[mesh.proxies[WorkloadKey("ns", workload)].reach]


def frontends(*objects: MeshObject) -> set[PortKey]:
    return set(reach_of(mk_mesh(*SERVICES, *objects)).frontends)


def test_everything_by_default() -> None:
    assert frontends(mk_workload("client")) == {A, B, C, D}


def test_an_annotation_narrows_it_to_namespaces_and_services() -> None:
    assert frontends(mk_workload("client", reaches="ns/a, far")) == {A, C, D}
    assert frontends(mk_workload("client", reaches=" far/c ,, ")) == {C}


def test_the_workloads_annotation_comes_before_its_namespaces() -> None:
    namespace = mk_namespace(reaches="far")
    assert frontends(mk_workload("client"), namespace) == {C, D}
    assert frontends(mk_workload("client", reaches="ns/b"), namespace) == {B}


def test_a_namespaces_annotation_is_for_its_own_workloads() -> None:
    assert frontends(mk_workload("client"), mk_namespace("far", reaches="far")) == {A, B, C, D}


def test_places_that_do_not_exist_add_nothing_and_are_reported() -> None:
    mesh = mk_mesh(*SERVICES, mk_workload("client", reaches="ns/a, nowhere, ns/none"))
    assert set(reach_of(mesh).frontends) == {A}
    assert len(reported(mesh, codes.REACH_UNKNOWN)) == 2


def test_only_unknown_places_are_nothing_and_not_everything() -> None:
    assert frontends(mk_workload("client", reaches="nowhere")) == set()


def test_backends_of_splits_are_closed_over() -> None:
    mesh = mk_mesh(
        *SERVICES,
        mk_service("v2"),
        mk_service("v3"),
        mk_routes("r", mk_match("m")),
        mk_split("a", {"v2": 1, "v3": 0}, matches=("r",)),
        mk_workload("client", reaches="ns/a"),
    )
    reach = reach_of(mesh)
    assert reach.frontends == {A}
    assert reach.backends == {A, key("v2"), key("v3")}, "a weight of 0 is kept warm"


def test_explicit_workloads_reach_their_upstreams() -> None:
    mesh = mk_mesh(
        *SERVICES,
        mk_split("a", {"b": 1, "missing": 1}),
        mk_workload(
            "client", upstreams=(Upstream("ns", "a", 80, 31001), Upstream("far", "c", 80, 31002)), explicit=True
        ),
    )
    reach = reach_of(mesh)
    assert not reach.transparent
    assert reach.frontends == {A, C}
    assert reach.backends == {A, B, C}
    local = mesh.proxies[WorkloadKey("ns", "client")].local
    assert [(one.address, one.port, one.key) for one in local] == [("127.0.0.1", 31001, A), ("127.0.0.1", 31002, C)]


def test_an_explicit_workload_without_upstreams_reaches_nothing() -> None:
    assert frontends(mk_workload("client", explicit=True, reaches="ns")) == set()


def test_missing_upstreams_are_left_out_and_reported() -> None:
    upstreams = (Upstream("ns", "a", 81, 31001), Upstream("ns", "none", 80, 31002), Upstream("ns", "b", 80, 31003))
    mesh = mk_mesh(*SERVICES, mk_workload("client", upstreams=upstreams, explicit=True))
    assert reach_of(mesh).frontends == {B}
    assert [found.message for found in reported(mesh, codes.UPSTREAM_MISSING)] == [
        "upstream ns/a has no TCP port 81",
        "upstream ns/none is not a Service",
    ]


def test_equal_scopes_are_one() -> None:
    mesh = mk_mesh(
        *SERVICES,
        mk_workload("client", reaches="far, ns"),
        mk_workload("same", reaches="ns,far", address="10.0.0.2"),
        mk_workload("other", reaches="ns", address="10.0.0.3"),
    )
    assert reach_of(mesh) is reach_of(mesh, "same")
    assert len(mesh.reaches) == 2


def test_access_does_not_narrow_a_scope() -> None:
    assert frontends(mk_workload("client"), mk_workload("server", address="10.0.0.2")) == {A, B, C, D}


def test_a_scope_that_makes_sidecars_large_is_reported_once() -> None:
    services = [mk_service(f"s{number}") for number in range(LARGE_SCOPE + 1)]
    clients = [mk_workload("a"), mk_workload("b", address="10.0.0.2")]
    assert len(reported(mk_mesh(*services, *clients), codes.REACH_LARGE)) == 1
    assert not reported(mk_mesh(*services[:-1], *clients), codes.REACH_LARGE)
    narrowed = mk_workload("a", reaches="ns/s1")
    assert not reported(mk_mesh(*services, narrowed), codes.REACH_LARGE)
