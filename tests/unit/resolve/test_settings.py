"""Which policy and which mTLS mode is in force: the workload's annotation, then its namespace's, then MeshConfig."""

from __future__ import annotations

import pytest

from smi.model import MeshSnapshot
from smi.objects import MtlsMode, TrafficPolicy
from smi.resolve import codes
from tests.unit.resolve.conftest import (
    access_of,
    class_of,
    http_rule,
    mk_config,
    mk_match,
    mk_mesh,
    mk_namespace,
    mk_routes,
    mk_service,
    mk_target,
    mk_workload,
    reported,
)


def mesh_with(config: str | None, namespace: str | None, workload: str | None, setting: str) -> MeshSnapshot:
    enum = TrafficPolicy if setting == "traffic_policy" else MtlsMode
    return mk_mesh(
        mk_service("server"),
        mk_workload(
            "server",
            traffic_policy=workload if setting == "traffic_policy" else None,
            mtls=workload if setting == "mtls" else None,
        ),
        mk_namespace(**{setting: namespace}),
        *([mk_config(**{setting: enum(config)})] if config else []),
    )


PRECEDENCE = [
    (None, None, None, False),
    ("permissive", None, None, True),
    ("permissive", "strict", None, False),
    (None, "permissive", None, True),
    (None, "permissive", "strict", False),
    (None, "strict", "permissive", True),
    ("permissive", "permissive", "strict", False),
]


def policy_word(word: str | None) -> str | None:
    return "smi" if word == "strict" else word


@pytest.mark.parametrize(("config", "namespace", "workload", "permissive"), PRECEDENCE)
def test_traffic_policy(config: str | None, namespace: str | None, workload: str | None, permissive: bool) -> None:
    words = (policy_word(config), policy_word(namespace), policy_word(workload))
    mesh = mesh_with(*words, "traffic_policy")
    assert [access.everyone for access in class_of(mesh, "server").access] == [permissive, permissive]


@pytest.mark.parametrize(("config", "namespace", "workload", "permissive"), PRECEDENCE)
def test_mtls(config: str | None, namespace: str | None, workload: str | None, permissive: bool) -> None:
    mesh = mesh_with(config, namespace, workload, "mtls")
    expected = MtlsMode.PERMISSIVE if permissive else MtlsMode.STRICT
    assert class_of(mesh, "server").listener.mtls is expected


@pytest.mark.parametrize("wrong", ["", "Permissive", "allow", "permissive "])
@pytest.mark.parametrize("place", ["namespace", "workload"])
def test_what_is_not_understood_is_the_strictest(wrong: str, place: str) -> None:
    on_workload = wrong if place == "workload" else None
    on_namespace = wrong if place == "namespace" else "permissive"
    mesh = mk_mesh(
        mk_service("server"),
        mk_workload("server", traffic_policy=on_workload, mtls=on_workload),
        mk_namespace(traffic_policy=on_namespace, mtls=on_namespace),
        mk_config(traffic_policy=TrafficPolicy.PERMISSIVE, mtls=MtlsMode.PERMISSIVE),
    )
    found = class_of(mesh, "server")
    assert not any(access.everyone for access in found.access)
    assert found.listener.mtls is MtlsMode.STRICT
    assert len(reported(mesh, codes.ANNOTATION_INVALID)) == 2


def test_it_is_the_destinations_policy_that_counts() -> None:
    mesh = mk_mesh(
        mk_service("server"),
        mk_workload("server"),
        mk_workload("client", namespace="open"),
        mk_namespace("open", traffic_policy="permissive"),
    )
    assert not any(access.everyone for access in class_of(mesh, "server").access)
    assert all(access.everyone for access in class_of(mesh, "client", "open").access)


def test_under_a_permissive_policy_targets_play_no_part() -> None:
    target = mk_target("t", (http_rule("routes"),))
    mesh = mk_mesh(
        mk_service("server"),
        mk_workload("server", traffic_policy="permissive"),
        mk_routes("routes", mk_match("api")),
        target,
    )
    access = access_of(mesh, "server", 80)
    assert access.everyone
    assert access.grants == ()
