"""Every traffic policy with every mTLS mode and every kind of TrafficTarget: who is let in where."""

from __future__ import annotations

import itertools

import pytest

from smi.model import MeshSnapshot
from smi.objects import AccessRule, MeshObject, MtlsMode
from smi.resolve import codes
from tests.unit.resolve.conftest import (
    access_of,
    class_of,
    http_rule,
    key,
    mk_match,
    mk_mesh,
    mk_namespace,
    mk_port,
    mk_routes,
    mk_service,
    mk_split,
    mk_target,
    mk_tcp_route,
    mk_workload,
    reported,
    shares_of,
    tcp_rule,
)

POLICIES, MODES = ("smi", "permissive"), ("strict", "permissive")
HTTP, TCP, OTHER = 80, 5432, None
SERVICE = mk_service("server", mk_port(HTTP), mk_port(TCP, name="tcp"))
ROUTES = (mk_routes("routes", mk_match("api")), mk_tcp_route("all"), mk_tcp_route("web", HTTP))

TARGETS: dict[str, tuple[tuple[AccessRule, ...] | None, tuple[bool, bool, bool]]] = {
    # the rules of a TrafficTarget (None: there is none), and where they grant anything: HTTP, TCP, other ports
    "none": (None, (False, False, False)),
    "http": ((http_rule("routes"),), (True, False, False)),
    "tcp": ((tcp_rule("all"),), (True, True, True)),
    "tcp on a port": ((tcp_rule("web"),), (True, False, True)),
    "both": ((http_rule("routes"), tcp_rule("web")), (True, False, True)),
    "udp": ((AccessRule("UDPRoute", "udp"),), (False, False, False)),
    "no rules": ((), (False, False, False)),
    "missing": ((http_rule("missing"),), (False, False, False)),
}
CASES = [(*case, place) for case in itertools.product(POLICIES, MODES, TARGETS) for place in ("namespace", "workload")]


def mesh_with(policy: str, mtls: str, rules: tuple[AccessRule, ...] | None, place: str) -> MeshSnapshot:
    """The switches at `place`; where that is the workload, its namespace says the opposite."""
    if place == "workload":
        (other_policy,) = set(POLICIES) - {policy}
        (other_mtls,) = set(MODES) - {mtls}
        switches: tuple[MeshObject, ...] = (
            mk_namespace(traffic_policy=other_policy, mtls=other_mtls),
            mk_workload("server", traffic_policy=policy, mtls=mtls),
        )
    else:
        switches = (mk_namespace(traffic_policy=policy, mtls=mtls), mk_workload("server"))
    targets = () if rules is None else (mk_target("t", rules),)
    return mk_mesh(SERVICE, *ROUTES, *switches, *targets)


@pytest.mark.parametrize(("policy", "mtls", "kind", "place"), CASES)
def test_policy_mtls_and_kind_of_target(policy: str, mtls: str, kind: str, place: str) -> None:
    rules, granted = TARGETS[kind]
    mesh = mesh_with(policy, mtls, rules, place)
    listener = class_of(mesh, "server").listener
    assert listener.mtls is MtlsMode(mtls), "who may connect without a certificate is another question than what for"
    for port, expected in zip((HTTP, TCP, OTHER), granted, strict=True):
        access = access_of(mesh, "server", port)
        assert access.everyone == (policy == "permissive")
        assert bool(access.grants) == (expected and policy == "smi")
        assert all(grant.principals for grant in access.grants), "plaintext has no identity: no grant is for it"


@pytest.mark.parametrize(("policy", "mtls", "kind"), [(p, m, k) for p in POLICIES for m in MODES for k in TARGETS])
def test_targets_that_play_no_part_are_told(policy: str, mtls: str, kind: str) -> None:
    mesh = mesh_with(policy, mtls, TARGETS[kind][0], "namespace")
    able = kind not in ("none", "udp", "no rules")
    assert bool(reported(mesh, codes.POLICY_PERMISSIVE)) == (policy == "permissive" and able)


@pytest.mark.parametrize(("policy", "mtls"), list(itertools.product(POLICIES, MODES)))
def test_splits_and_services_do_not_depend_on_policies(policy: str, mtls: str) -> None:
    namespace = mk_namespace(traffic_policy=policy, mtls=mtls)
    mesh = mk_mesh(SERVICE, mk_service("v1"), mk_workload("server"), namespace, mk_split("server", {"v1": 1}))
    assert shares_of(mesh.frontends[key("server", HTTP)]) == [{"v1": 1}]
    assert [end.in_mesh for end in mesh.endpoints[key("server", HTTP)].endpoints] == [True]
    assert not [found for found in mesh.diagnostics if found.object and found.object.kind == "Namespace"]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_policy_of_one_namespace_is_none_of_anothers(policy: str) -> None:
    mesh = mk_mesh(
        mk_namespace("ns", traffic_policy=policy),
        mk_workload("server"),
        mk_workload("server", namespace="other"),
    )
    assert all(access.everyone == (policy == "permissive") for access in class_of(mesh, "server").access)
    assert not any(access.everyone for access in class_of(mesh, "server", "other").access), "the default of the mesh"
