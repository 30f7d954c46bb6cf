"""TrafficSplits -> rules: the cases that the specification leaves open, and their decisions."""

from __future__ import annotations

import dataclasses

import pytest

from smi.model import MeshSnapshot
from smi.objects import Backend, MatchRef, MeshObject
from smi.resolve import codes
from tests.unit.resolve.conftest import (
    addresses_of,
    key,
    mk_match,
    mk_mesh,
    mk_port,
    mk_routes,
    mk_service,
    mk_split,
    mk_tcp_route,
    mk_workload,
    reported,
    shares_of,
)

OLD, YOUNG = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"
WITHOUT_SPLIT = [{"shop": 1}]
CANARY = mk_match("canary", x_canary="true")


def shop(*objects: MeshObject) -> MeshSnapshot:
    """A root service `shop`, and `v1` and `v2` to split it between."""
    return mk_mesh(mk_service("shop"), mk_service("v1"), mk_service("v2"), *objects)


def shares(mesh: MeshSnapshot, port: int = 80) -> list[dict[str, int]]:
    return shares_of(mesh.frontends[key("shop", port)])


def test_without_a_split_a_service_leads_to_itself() -> None:
    assert shares(shop()) == WITHOUT_SPLIT


@pytest.mark.parametrize("weights", [(90, 10), (1, 2), (1000, 500), (1, 1)])
def test_weights_are_relative_and_kept_as_written(weights: tuple[int, int]) -> None:
    assert shares(shop(mk_split("shop", {"v1": weights[0], "v2": weights[1]}))) == [
        {"v1": weights[0], "v2": weights[1]}
    ]


def test_a_split_concerns_its_own_root_only() -> None:
    mesh = shop(mk_split("shop", {"v1": 1, "v2": 1}))
    assert shares_of(mesh.frontends[key("v1")]) == [{"v1": 1}]


def test_the_root_may_be_its_own_backend() -> None:
    mesh = shop(mk_split("shop", {"shop": 90, "v2": 10}), mk_workload("shop"))
    assert shares(mesh) == [{"shop": 90, "v2": 10}]
    assert addresses_of(mesh, "shop") == [("10.0.0.1", 80, True)], "its own endpoints, no second split"
    assert not reported(mesh, codes.BACKEND_IS_ROOT)


def test_a_backend_that_is_itself_split_is_not_split_again() -> None:
    mesh = shop(mk_split("shop", {"v1": 1}, name="a"), mk_split("v1", {"v2": 1}, name="b"))
    assert shares(mesh) == [{"v1": 1}]
    assert shares_of(mesh.frontends[key("v1")]) == [{"v2": 1}]
    assert [found.object and found.object.name for found in reported(mesh, codes.BACKEND_IS_ROOT)] == ["a"]


def test_the_root_may_select_the_backends_own_workloads() -> None:
    mesh = mk_mesh(
        mk_service("shop", selector={"app": "v1"}),
        mk_service("v1"),
        mk_service("v2"),
        mk_workload("v1"),
        mk_workload("v2", address="10.0.0.2"),
        mk_split("shop", {"v1": 0, "v2": 100}),
    )
    assert shares(mesh) == [{"v2": 100}]
    assert addresses_of(mesh, "v1") == addresses_of(mesh, "shop")


def test_a_missing_root_is_reported() -> None:
    mesh = shop(mk_split("nowhere", {"v1": 1}))
    assert reported(mesh, codes.ROOT_SERVICE_MISSING)
    assert shares(mesh) == WITHOUT_SPLIT


def test_a_missing_backend_leaves_its_part_to_the_others() -> None:
    mesh = shop(mk_split("shop", {"v1": 50, "v9": 50}))
    assert shares(mesh) == [{"v1": 50}]
    assert reported(mesh, codes.BACKEND_MISSING)


def test_only_missing_backends_are_a_failure_and_not_the_root() -> None:
    assert shares(shop(mk_split("shop", {"v9": 50}))) == [{}]
    assert shares(shop(mk_split("shop", {"v9": 50, "v1": 0}))) == [{}]


def test_a_backend_of_weight_zero_may_be_missing() -> None:
    mesh = shop(mk_split("shop", {"v1": 100, "v9": 0}))
    assert shares(mesh) == [{"v1": 100}]
    assert not reported(mesh, codes.BACKEND_MISSING)


def test_a_backend_without_endpoints_keeps_its_part() -> None:
    mesh = shop(mk_split("shop", {"v1": 50, "v2": 50}), mk_workload("v1"))
    assert shares(mesh) == [{"v1": 50, "v2": 50}]
    assert addresses_of(mesh, "v2") == [], "a cluster without endpoints answers 503"
    assert "v2" in [found.object and found.object.name for found in reported(mesh, codes.SERVICE_WITHOUT_WORKLOADS)]


def test_a_backend_without_the_port_is_left_out_on_that_port() -> None:
    mesh = mk_mesh(
        mk_service("shop", mk_port(80), mk_port(81, name="http-b")),
        mk_service("green", mk_port(80, 8080), mk_port(81, name="http-b")),
        mk_service("blue", mk_port(1024), mk_port(81, name="http-b")),
        mk_split("shop", {"green": 50, "blue": 50}),
    )
    assert shares(mesh, 80) == [{"green": 50}]
    assert shares(mesh, 81) == [{"green": 50, "blue": 50}]
    assert [found.message for found in reported(mesh, codes.BACKEND_LACKS_PORT)] == [
        "backend blue has no TCP port 80: it gets nothing"
    ]


def test_all_weights_zero_fail_and_are_reported() -> None:
    mesh = shop(mk_split("shop", {"v1": 0, "v2": 0}))
    assert shares(mesh) == [{}]
    assert reported(mesh, codes.ALL_WEIGHTS_ZERO)


def test_a_weight_of_zero_takes_no_traffic_and_stays_warm() -> None:
    mesh = shop(mk_split("shop", {"v1": 100, "v2": 0}), mk_workload("client"))
    assert shares(mesh) == [{"v1": 100}]
    assert key("v2") in mesh.reaches["reach/*"].backends


def test_no_backends_at_all_fail() -> None:
    assert shares(shop(mk_split("shop", {}))) == [{}]


def test_two_backends_of_one_name_add_up() -> None:
    split = dataclasses.replace(
        mk_split("shop", {}), backends=(Backend("v1", 30), Backend("v2", 50), Backend("v1", 20))
    )
    assert shares(shop(split)) == [{"v1": 50, "v2": 50}]


def test_weights_that_envoy_cannot_add_are_scaled() -> None:
    mesh = shop(mk_split("shop", {"shop": 1, "v1": 2**32, "v2": 2**33}))
    made = shares(mesh)[0]
    assert sum(made.values()) <= 2**32 - 1
    assert made["shop"] >= 1, "what had weight keeps some"
    assert made["v2"] / made["v1"] == pytest.approx(2, rel=1e-6)


def test_weights_that_envoy_can_just_add_are_left_alone() -> None:
    assert shares(shop(mk_split("shop", {"v1": 2**32 - 2, "v2": 1}))) == [{"v1": 2**32 - 2, "v2": 1}]


def test_of_two_splits_without_matches_the_oldest_is_in_force() -> None:
    young = mk_split("shop", {"v2": 1}, name="a", created=YOUNG)
    mesh = shop(young, mk_split("shop", {"v1": 1}, name="b", created=OLD))
    assert shares(mesh) == [{"v1": 1}]
    assert [found.object for found in reported(mesh, codes.SPLIT_CONFLICT)] == [young.ref]


def test_splits_with_matches_come_first_in_order_of_age_and_then_the_one_without() -> None:
    mesh = shop(
        mk_routes("canary", CANARY),
        mk_split("shop", {"v1": 1}, name="all", created="2023-01-01T00:00:00Z"),
        mk_split("shop", {"v2": 1}, name="a-young", matches=("canary",), created=YOUNG),
        mk_split("shop", {"shop": 1}, name="b-old", matches=("canary",), created=OLD),
    )
    assert shares(mesh) == [{"shop": 1}, {"v2": 1}, {"v1": 1}]
    assert [bool(rule.matches) for rule in mesh.frontends[key("shop")].rules] == [True, True, False]


def test_requests_that_no_split_matches_go_to_the_root() -> None:
    mesh = shop(mk_routes("canary", CANARY), mk_split("shop", {"v2": 1}, matches=("canary",)))
    assert shares(mesh) == [{"v2": 1}, {"shop": 1}]
    assert mesh.frontends[key("shop")].rules[0].matches == (CANARY,)


def test_several_groups_are_one() -> None:
    other = mk_match("other")
    mesh = shop(
        mk_routes("canary", CANARY), mk_routes("more", other), mk_split("shop", {"v2": 1}, matches=("canary", "more"))
    )
    assert mesh.frontends[key("shop")].rules[0].matches == (CANARY, other)


def test_a_missing_group_turns_the_split_off_and_never_widens_it() -> None:
    mesh = shop(mk_routes("canary", CANARY), mk_split("shop", {"v2": 1}, matches=("canary", "missing")))
    assert shares(mesh) == WITHOUT_SPLIT
    assert reported(mesh, codes.ROUTE_MISSING)


def test_a_group_of_another_kind_turns_the_split_off() -> None:
    split = dataclasses.replace(mk_split("shop", {"v2": 1}), matches=(MatchRef("TCPRoute", "canary"),))
    assert shares(shop(mk_routes("canary", CANARY), mk_tcp_route("canary"), split)) == WITHOUT_SPLIT


def test_a_group_that_matches_nothing_takes_nothing() -> None:
    mesh = shop(mk_routes("empty"), mk_split("shop", {"v2": 1}, matches=("empty",)))
    assert shares(mesh) == WITHOUT_SPLIT
    assert reported(mesh, codes.NOTHING_MATCHED)


def test_an_empty_group_beside_another_leaves_that_one_in_force() -> None:
    mesh = shop(
        mk_routes("empty"), mk_routes("canary", CANARY), mk_split("shop", {"v2": 1}, matches=("empty", "canary"))
    )
    assert shares(mesh) == [{"v2": 1}, {"shop": 1}]
    assert mesh.frontends[key("shop")].rules[0].matches == (CANARY,)
    assert not reported(mesh, codes.NOTHING_MATCHED)


def test_without_age_splits_with_matches_go_by_name() -> None:
    splits = [
        mk_split("shop", {backend: 1}, name=name, matches=("canary",)) for name, backend in (("b", "v1"), ("a", "v2"))
    ]
    mesh = shop(mk_routes("canary", CANARY), *splits)
    assert shares(mesh) == [{"v2": 1}, {"v1": 1}, {"shop": 1}]
    assert shop(mk_routes("canary", CANARY), *reversed(splits)).frontends == mesh.frontends


def test_a_split_whose_requests_all_go_to_an_older_one_is_reported() -> None:
    young = mk_split("shop", {"v2": 1}, name="young", matches=("canary",), created=YOUNG)
    mesh = shop(
        mk_routes("canary", CANARY),
        mk_routes("more", mk_match("other")),
        mk_split("shop", {"v1": 1}, name="old", matches=("more", "canary"), created=OLD),
        young,
    )
    assert shares(mesh) == [{"v1": 1}, {"v2": 1}, {"shop": 1}]
    assert [found.object for found in reported(mesh, codes.SPLIT_SHADOWED)] == [young.ref]


@pytest.mark.parametrize("older", [("more",), ("canary", "missing")])
def test_a_split_that_gets_some_requests_is_not(older: tuple[str, ...]) -> None:
    mesh = shop(
        mk_routes("canary", CANARY),
        mk_routes("more", mk_match("other")),
        mk_split("shop", {"v1": 1}, name="old", matches=older, created=OLD),
        mk_split("shop", {"v2": 1}, name="young", matches=("canary",), created=YOUNG),
    )
    assert {"v2": 1} in shares(mesh)
    assert not reported(mesh, codes.SPLIT_SHADOWED)


def test_matches_do_not_apply_to_bytes() -> None:
    tcp = mk_port(80, name="tcp")
    mesh = mk_mesh(
        mk_service("shop", tcp),
        mk_service("v2", tcp),
        mk_routes("canary", CANARY),
        mk_split("shop", {"v2": 1}, matches=("canary",)),
    )
    assert shares(mesh) == WITHOUT_SPLIT
    assert reported(mesh, codes.MATCHES_NEED_HTTP)


def test_a_backend_of_another_protocol_is_reported() -> None:
    mesh = mk_mesh(
        mk_service("shop"),
        mk_service("v1", mk_port(80, name="tcp")),
        mk_split("shop", {"v1": 1}),
        mk_workload("client"),
    )
    assert reported(mesh, codes.PROTOCOL_MISMATCH)
    assert shares(mesh) == [{"v1": 1}]


def test_an_external_name_cannot_be_a_backend() -> None:
    mesh = shop(mk_service("out", external_name="example.com"), mk_split("shop", {"v1": 1, "out": 1}))
    assert shares(mesh) == [{"v1": 1}]
    assert ["ExternalName" in found.message for found in reported(mesh, codes.BACKEND_MISSING)] == [True]


def test_a_udp_port_is_no_port_of_a_backend() -> None:
    udp = mk_service("dns", dataclasses.replace(mk_port(80), transport="UDP"))
    mesh = shop(udp, mk_split("shop", {"v1": 1, "dns": 1}))
    assert shares(mesh) == [{"v1": 1}]
    assert reported(mesh, codes.BACKEND_LACKS_PORT)


def test_a_backend_without_selector_keeps_its_part_which_fails_and_is_reported() -> None:
    mesh = shop(mk_service("bare", selector={}), mk_split("shop", {"v1": 1, "bare": 1}))
    assert shares(mesh) == [{"v1": 1, "bare": 1}]
    assert reported(mesh, codes.BACKEND_WITHOUT_SELECTOR)
    quiet = shop(mk_service("bare", selector={}), mk_split("shop", {"v1": 1, "bare": 0}))
    assert not reported(quiet, codes.BACKEND_WITHOUT_SELECTOR), "with weight 0 nothing fails"


def test_a_bytes_root_with_an_http_backend_is_reported_too() -> None:
    mesh = mk_mesh(mk_service("shop", mk_port(80, name="tcp")), mk_service("v1"), mk_split("shop", {"v1": 1}))
    assert shares(mesh) == [{"v1": 1}]
    assert reported(mesh, codes.PROTOCOL_MISMATCH)


def test_http_1_and_2_may_share_a_split() -> None:
    mesh = mk_mesh(mk_service("shop"), mk_service("v1", mk_port(80, name="grpc")), mk_split("shop", {"v1": 1}))
    assert not reported(mesh, codes.PROTOCOL_MISMATCH)


def test_the_backends_order_does_not_matter() -> None:
    one, other = ({"v1": 1, "v2": 3}, {"v2": 3, "v1": 1})
    assert shop(mk_split("shop", one)).frontends == shop(mk_split("shop", other)).frontends
