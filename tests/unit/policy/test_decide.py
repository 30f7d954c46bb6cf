"""What is decided about calls of one service: which part of a rule lets them in, and which keeps them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from smi.diagnostics import Location
from smi.policy import Outcome
from tests.unit.policy.meshes import BUYER, NAMESPACE, SHOP, STRANGER, call, is_allowed, policy_of, target, told


@pytest.mark.parametrize(
    ("asked", "allowed", "says"),
    [
        (call("/books"), True, 'HTTPRouteGroup shop/routes match "books"'),
        (call("/books/7?page=2"), True, 'match "books"'),
        (call("/old/../books"), True, 'match "books"'),
        (call("/%62ooks"), True, 'match "books"'),
        (call("//books"), True, 'match "books"'),
        (call("/"), False, 'path "/" does not begin with what "/books" matches'),
        (call("/x?/books"), False, 'path "/x" does not begin with'),
        (call("/books/../staff"), False, "there is no header x-role"),
        (call("/books%2f..%2fstaff"), False, "there is no header x-role"),
        (call("/books", "POST"), False, "method POST is not GET"),
        (call("/books", "get"), False, "method get is not GET"),
        (call("/books/..%252fstaff"), False, "may be another path to an application"),
        (call("/books/%2e%2e%3b/staff"), False, "may be another path to an application"),
        (call("/books%00"), False, "with 400: it holds a byte 0"),
        (call("/books#top"), False, "the client's sidecar refuses path"),
        (call("/bücher"), False, "the client's sidecar refuses path"),
        (call("/staff", x_role="chef"), True, 'match "staff"'),
        (call("/staff", x_role="cook"), False, 'header x-role is "cook", in which "^chef$" matches nothing'),
        (call("/staff"), False, "there is no header x-role"),
        (call("/books", source=STRANGER), False, "people/stranger is not in its sources (people/buyer)"),
        (call(port=5432), False, "the port is not HTTP: a TCPRoute can allow it"),
    ],
)
def test_one_rule(tmp_path: Path, asked: object, allowed: bool, says: str) -> None:
    decision = policy_of(tmp_path, SHOP).decide(asked)  # type: ignore[arg-type]
    assert is_allowed(decision) is allowed
    assert says in told(decision)


def test_lines_of_a_header_are_one_text_to_the_server(tmp_path: Path) -> None:
    asked = call("/staff")
    twice = type(asked)(BUYER, asked.to, "GET", "/staff", (("x-role", "chef"), ("X-Role", "chef")))
    decision = policy_of(tmp_path, SHOP).decide(twice)
    assert 'header x-role is "chef,chef"' in told(decision)


def test_a_header_spelt_alike_is_refused(tmp_path: Path) -> None:
    asked = call("/staff", x_role="chef")
    both = type(asked)(BUYER, asked.to, "GET", "/staff", (*asked.headers, ("x_role", "cook")))
    decision = policy_of(tmp_path, SHOP).decide(both)
    assert not is_allowed(decision)
    assert "header x_role may be taken for x-role" in told(decision)


def test_reasons_name_the_place(tmp_path: Path) -> None:
    decision = policy_of(tmp_path, SHOP).decide(call())
    places = [each.location for each in decision.servers[0].reasons[0].cited]
    assert places == [Location("0.yaml", 28), Location("0.yaml", 20)]


HOST = """
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: routes, namespace: shop}
spec: {matches: [{name: hosted, headers: {host: "^web[.]shop$"}}]}
"""


@pytest.mark.parametrize(
    ("headers", "allowed"), [({}, True), ({"host": "web.shop"}, True), ({"Host": "evil"}, False), ({"x": "y"}, True)]
)
def test_the_host_is_that_of_the_service(tmp_path: Path, headers: dict[str, str], allowed: bool) -> None:
    shop = SHOP.replace(SHOP[SHOP.index("apiVersion: specs") : SHOP.index("---\napiVersion: access")], HOST)
    assert is_allowed(policy_of(tmp_path, shop).decide(call("/", **headers))) is allowed


GROUP = "{kind: HTTPRouteGroup, name: routes}"


@pytest.mark.parametrize(
    ("more", "asked", "allowed", "says"),
    [
        (target("{kind: TCPRoute, name: db}"), call(port=5432), True, "TCPRoute shop/db"),
        (target("{kind: TCPRoute, name: db}"), call("/x"), False, "port 80 or 8080 is not in its TCPRoutes (db: 5432)"),
        (target("{kind: TCPRoute, name: any}"), call("/x", "POST"), True, "TCPRoute shop/any"),
        (target("{kind: TCPRoute, name: gone}"), call("/x"), False, "its TCPRoutes are not there"),
        (target("{kind: UDPRoute, name: udp}"), call(port=5432), False, "UDPRoute rules only"),
        (target(f"{{kind: TCPRoute, name: db}}, {GROUP}"), call(port=5432), True, "TCPRoute shop/db"),
        (target("{kind: TCPRoute, name: any}", port="5432"), call("/x"), False, "its destination.port is 5432, not 80"),
        (target("{kind: TCPRoute, name: any}", port="8080"), call("/x"), True, "TrafficTarget shop/more"),
        (target(""), call("/x"), False, "it has no rules, which allows nothing unless emptyRules"),
    ],
)
def test_another_target(tmp_path: Path, more: str, asked: object, allowed: bool, says: str) -> None:
    decision = policy_of(tmp_path, SHOP, more).decide(asked)  # type: ignore[arg-type]
    assert is_allowed(decision) is allowed
    assert says in told(decision)


def test_a_target_without_rules_where_they_are_allowed(tmp_path: Path) -> None:
    config = """
apiVersion: tulle.dev/v1alpha1
kind: MeshConfig
metadata: {name: default}
spec: {emptyRules: allow}
"""
    decision = policy_of(tmp_path, SHOP, target(""), config).decide(call("/x"))
    assert is_allowed(decision)
    assert "TrafficTarget shop/more" in told(decision)


def test_the_closest_is_told_first(tmp_path: Path) -> None:
    decision = policy_of(tmp_path, SHOP, target("{kind: TCPRoute, name: db}")).decide(call("/books", "POST"))
    assert decision.servers[0].reasons[0].text == "method POST is not GET"


def test_many_targets_are_summed_up(tmp_path: Path) -> None:
    others = "---".join(target("{kind: TCPRoute, name: db}").split("---")[0].replace("more", f"t{n}") for n in range(9))
    reasons = policy_of(tmp_path, SHOP, others).decide(call("/x")).servers[0].reasons
    assert len(reasons) == 4
    assert reasons[-1].text.startswith("and ")


def test_no_target_at_all(tmp_path: Path) -> None:
    without = SHOP[: SHOP.index("---\napiVersion: access")]
    decision = policy_of(tmp_path, without).decide(call())
    assert told(decision).endswith("no TrafficTarget has the destination shop/web")
    typo = SHOP.replace(
        "destination: {kind: ServiceAccount, name: web,", "destination: {kind: ServiceAccount, name: webb,"
    )
    decision = policy_of(tmp_path, typo).decide(call())
    assert "this one is for shop/webb:\nTrafficTarget shop/buyers at 0.yaml:28" in told(decision)


def test_a_permissive_namespace_lets_anyone_in_and_is_named(tmp_path: Path) -> None:
    decision = policy_of(tmp_path, SHOP, NAMESPACE).decide(call("/x", source=STRANGER))
    assert is_allowed(decision)
    assert "permissive: anyone may call\nNamespace shop at 1.yaml:2" in told(decision)


def test_a_workload_may_be_stricter_than_its_namespace(tmp_path: Path) -> None:
    strict = SHOP.replace("labels: {app: web}}", "labels: {app: web}, annotations: {tulle.dev/traffic-policy: smi}}", 1)
    assert not is_allowed(policy_of(tmp_path, strict, NAMESPACE).decide(call("/x")))


def test_without_a_sidecar_nothing_is_enforced(tmp_path: Path) -> None:
    plain = SHOP.replace("address: 10.0.0.1}", "address: 10.0.0.1, sidecar: false}")
    decision = policy_of(tmp_path, plain).decide(call("/x", source=STRANGER))
    assert is_allowed(decision)
    assert not decision.servers[0].enforced
    assert "nothing is enforced there" in told(decision)


def test_a_service_that_nobody_serves_fails(tmp_path: Path) -> None:
    decision = policy_of(tmp_path, SHOP.replace("labels: {app: web}", "labels: {app: other}")).decide(call())
    assert decision.share_of(Outcome.FAILED) == 1
    assert not decision.allowed


@pytest.mark.parametrize(("method", "path"), [("CONNECT", "/"), ("OPTIONS", "*")])
def test_what_has_no_route(tmp_path: Path, method: str, path: str) -> None:
    assert policy_of(tmp_path, SHOP).decide(call(path, method)).unrouted is Outcome.FAILED


def test_a_port_that_is_not_in_the_mesh(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        policy_of(tmp_path, SHOP).decide(call(port=81))
