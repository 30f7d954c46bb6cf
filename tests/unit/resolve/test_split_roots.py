"""Roots of splits that are no ordinary Services, and what happens to calls of them."""

from __future__ import annotations

import dataclasses

import pytest

from smi.objects import MeshObject, Service, Upstream
from smi.resolve import codes
from tests.unit.resolve.conftest import (
    key,
    mk_match,
    mk_mesh,
    mk_port,
    mk_routes,
    mk_service,
    mk_split,
    mk_workload,
    reported,
    shares_of,
)

IP = "10.96.0.1"
BARE = mk_service("shop", selector={}, ips=(IP,))
V1, V2 = mk_service("v1"), mk_service("v2")
CANARY = mk_match("canary", x_canary="true")


@pytest.mark.parametrize(
    "root",
    [
        mk_service("shop", headless=True),
        mk_service("shop", external_name="example.com"),
        mk_service("shop", dataclasses.replace(mk_port(53), transport="UDP")),
    ],
    ids=["headless", "ExternalName", "UDP"],
)
def test_a_root_whose_calls_cannot_be_split_is_reported(root: Service) -> None:
    mesh = mk_mesh(root, V1, mk_split("shop", {"v1": 1}))
    assert len(reported(mesh, codes.ROOT_NOT_SPLIT)) == 1
    assert key("shop") not in mesh.addresses


def test_endpoints_of_a_headless_root_are_called_by_their_own_address() -> None:
    mesh = mk_mesh(mk_service("shop", headless=True), mk_workload("shop"), V1, mk_split("shop", {"v1": 1}))
    assert [each.endpoint.address for each in mesh.headless[key("shop")]] == ["10.0.0.1"]


def test_upstreams_of_a_headless_root_are_split() -> None:
    client = mk_workload("client", explicit=True, upstreams=(Upstream("ns", "shop", 80, 15001),))
    mesh = mk_mesh(mk_service("shop", headless=True), V1, V2, client, mk_split("shop", {"v1": 1, "v2": 1}))
    assert shares_of(mesh.frontends[key("shop")]) == [{"v1": 1, "v2": 1}]
    (scope,) = mesh.reaches.values()
    assert scope.backends >= {key("v1"), key("v2")}


def test_a_headless_backend_has_its_part() -> None:
    mesh = mk_mesh(mk_service("shop"), mk_service("v1", headless=True), mk_split("shop", {"v1": 1}))
    assert shares_of(mesh.frontends[key("shop")]) == [{"v1": 1}]


def test_without_a_split_a_root_without_selector_is_passed_through() -> None:
    assert key("shop") not in mk_mesh(BARE).addresses


def test_a_split_of_a_root_without_selector_is_in_force() -> None:
    """An apex that only names what is split."""
    mesh = mk_mesh(BARE, V1, V2, mk_split("shop", {"v1": 90, "v2": 10}))
    assert mesh.addresses[key("shop")].addresses == (IP,)
    assert shares_of(mesh.frontends[key("shop")]) == [{"v1": 90, "v2": 10}]
    assert not reported(mesh, codes.BACKEND_WITHOUT_SELECTOR)


@pytest.mark.parametrize(
    "split",
    [
        mk_split("shop", {"shop": 90, "v1": 10}),
        mk_split("shop", {"v1": 1}, matches=("canary",)),
    ],
    ids=["as its own backend", "for what is not matched"],
)
def test_what_a_split_leaves_to_a_root_without_selector_fails_and_is_reported(split: MeshObject) -> None:
    mesh = mk_mesh(BARE, V1, mk_routes("canary", CANARY), split)
    assert key("shop") in mesh.addresses
    assert mesh.endpoints[key("shop")].endpoints == ()
    assert [found.object for found in reported(mesh, codes.BACKEND_WITHOUT_SELECTOR)] == [split.ref]


@pytest.mark.parametrize(
    "rest",
    [
        (mk_split("shop", {"v1": 1}, matches=("missing",)),),
        (mk_routes("empty"), mk_split("shop", {"v1": 1}, matches=("empty",))),
    ],
    ids=["missing group", "empty group"],
)
def test_a_split_that_is_ignored_leaves_a_root_without_selector_alone(rest: tuple[MeshObject, ...]) -> None:
    """Calls would fail, where without the split they reach whatever serves the address."""
    assert key("shop") not in mk_mesh(BARE, V1, *rest).addresses


def test_ports_of_a_root_without_selector_are_served_one_by_one() -> None:
    root = mk_service("shop", mk_port(80), mk_port(5432, name="tcp"), selector={}, ips=(IP,))
    mesh = mk_mesh(root, V1, mk_routes("canary", CANARY), mk_split("shop", {"v1": 1}, matches=("canary",)))
    assert key("shop", 80) in mesh.addresses
    assert key("shop", 5432) not in mesh.addresses, (
        "matches have no effect on bytes: passed through, as without a split"
    )


def test_an_address_belongs_to_the_oldest_service_that_is_served_there() -> None:
    old = mk_service("old", selector={}, ips=(IP,), created="2024-01-01T00:00:00Z")
    young = mk_service("young", ips=(IP,), created="2024-01-02T00:00:00Z")
    assert list(mk_mesh(old, young).addresses) == [key("young")]
    mesh = mk_mesh(old, young, V1, mk_split("old", {"v1": 1}))
    assert key("old") in mesh.addresses
    assert key("young") not in mesh.addresses
    assert reported(mesh, codes.ADDRESS_CONFLICT)


def test_a_root_that_comes_later_is_split_when_it_comes() -> None:
    split = mk_split("shop", {"v1": 1})
    assert reported(mk_mesh(V1, split), codes.ROOT_SERVICE_MISSING)
    mesh = mk_mesh(V1, split, mk_service("shop"))
    assert not reported(mesh, codes.ROOT_SERVICE_MISSING)
    assert shares_of(mesh.frontends[key("shop")]) == [{"v1": 1}]
