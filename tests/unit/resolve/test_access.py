"""TrafficTargets -> grants: additive, never leaking into each other, never widened by what is missing."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from smi.index import Upsert
from smi.model import MeshSnapshot
from smi.objects import AccessRule, Allowance, MeshObject, TrafficTarget, UDPRoute
from smi.protocol import Protocol
from smi.resolve import codes
from smi.resolve.mesh import MeshModel
from tests.unit.resolve.conftest import (
    access_of,
    http_rule,
    identity,
    mk_config,
    mk_match,
    mk_mesh,
    mk_meta,
    mk_port,
    mk_routes,
    mk_service,
    mk_target,
    mk_tcp_route,
    mk_workload,
    reported,
    tcp_rule,
)

API, METRICS = mk_match("api"), mk_match("metrics", "/metrics", "GET")
ROUTES = mk_routes("routes", API, METRICS)
ANY = "any bytes"
HTTP, TCP, OTHER = 8080, 5432, None
"""The server's target ports: HTTP behind service port 80, TCP behind 5000, and those that no Service names."""

Grants = dict[str, tuple[str, ...]]


def server(*objects: MeshObject) -> MeshSnapshot:
    """A server with an HTTP port and a TCP port, a group of two routes, and `objects`."""
    ports = (mk_port(80, HTTP), mk_port(5000, TCP, name="tcp"))
    return mk_mesh(mk_service("server", *ports), mk_workload("server"), ROUTES, *objects)


def grants(mesh: MeshSnapshot, port: int | None) -> Grants:
    """What each TrafficTarget allows on a port: names of matches, port numbers, or any bytes."""
    found: Grants = {}
    for grant in access_of(mesh, "server", port).grants:
        if grant.http is not None:
            found[grant.name] = tuple(match.name for match in grant.http)
        elif grant.ports is not None:
            found[grant.name] = tuple(map(str, grant.ports))
        else:
            found[grant.name] = (ANY,)
    return found


def everything(mesh: MeshSnapshot) -> dict[int | None, Grants]:
    return {port: grants(mesh, port) for port in (HTTP, TCP, OTHER)}


NOTHING: dict[int | None, Grants] = {HTTP: {}, TCP: {}, OTHER: {}}


def test_without_a_target_nothing_is_allowed() -> None:
    mesh = server()
    assert everything(mesh) == NOTHING
    assert not any(access_of(mesh, "server", port).everyone for port in (HTTP, TCP, OTHER))


def test_http_rules_open_http_ports_only() -> None:
    mesh = server(mk_target("t", (http_rule("routes", "api"),)))
    assert everything(mesh) == {HTTP: {"ns/t": ("api",)}, TCP: {}, OTHER: {}}


def test_omitted_matches_are_all_matches() -> None:
    assert grants(server(mk_target("t", (http_rule("routes"),))), HTTP) == {"ns/t": ("api", "metrics")}


def test_an_unknown_match_is_skipped_and_the_others_count() -> None:
    mesh = server(mk_target("t", (http_rule("routes", "gone", "metrics"),)))
    assert grants(mesh, HTTP) == {"ns/t": ("metrics",)}
    assert reported(mesh, codes.MATCH_MISSING)


def test_only_unknown_matches_grant_nothing() -> None:
    assert everything(server(mk_target("t", (http_rule("routes", "gone"),)))) == NOTHING


def test_a_group_without_matches_grants_nothing() -> None:
    assert everything(server(mk_routes("empty"), mk_target("t", (http_rule("empty"),)))) == NOTHING


def test_rules_of_one_kind_add_up() -> None:
    mesh = server(
        mk_routes("more", mk_match("health")), mk_target("t", (http_rule("routes", "api"), http_rule("more")))
    )
    assert grants(mesh, HTTP) == {"ns/t": ("api", "health")}


def test_a_tcp_route_alone_opens_every_port_and_http_too() -> None:
    mesh = server(mk_tcp_route("all"), mk_target("t", (tcp_rule("all"),)))
    assert everything(mesh) == {port: {"ns/t": (ANY,)} for port in (HTTP, TCP, OTHER)}


@pytest.mark.parametrize("number", [80, 8080])
def test_ports_of_a_tcp_route_are_service_ports_or_target_ports(number: int) -> None:
    mesh = server(mk_tcp_route("some", number), mk_target("t", (tcp_rule("some"),)))
    assert grants(mesh, HTTP) == {"ns/t": (ANY,)}
    assert grants(mesh, TCP) == {}


def test_ports_that_no_service_names_are_opened_by_number() -> None:
    mesh = server(mk_tcp_route("some", 7001, 7000), mk_target("t", (tcp_rule("some"),)))
    assert everything(mesh) == {HTTP: {}, TCP: {}, OTHER: {"ns/t": ("7000", "7001")}}


def test_both_kinds_limit_each_other() -> None:
    """smi-spec's L7 example: TCPRoute 8080 and HTTPRouteGroup metrics together mean GET /metrics on 8080."""
    both = (http_rule("routes", "metrics"), tcp_rule("some"))
    assert everything(server(mk_tcp_route("some", HTTP), mk_target("t", both))) == {
        HTTP: {"ns/t": ("metrics",)},
        TCP: {},
        OTHER: {"ns/t": (str(HTTP),)},
    }
    assert grants(server(mk_tcp_route("some", TCP), mk_target("t", both)), HTTP) == {}
    assert grants(server(mk_tcp_route("some", TCP), mk_target("t", both)), TCP) == {"ns/t": (ANY,)}


def test_ports_of_several_tcp_routes_add_up() -> None:
    mesh = server(mk_tcp_route("a", 80), mk_tcp_route("b", 5000), mk_target("t", (tcp_rule("a"), tcp_rule("b"))))
    assert grants(mesh, HTTP) == grants(mesh, TCP) == {"ns/t": (ANY,)}


@pytest.mark.parametrize(
    "rules",
    [
        (http_rule("missing"),),
        (tcp_rule("missing"),),
        (http_rule("missing"), tcp_rule("missing")),
        (http_rule("routes"), tcp_rule("missing")),
    ],
)
def test_a_missing_route_never_widens(rules: tuple[AccessRule, ...]) -> None:
    mesh = server(mk_target("t", rules))
    assert everything(mesh) == NOTHING
    assert reported(mesh, codes.ROUTE_MISSING)


def test_a_missing_group_beside_a_tcp_route_opens_no_http() -> None:
    mesh = server(mk_tcp_route("all"), mk_target("t", (http_rule("missing"), tcp_rule("all"))))
    assert everything(mesh) == {HTTP: {}, TCP: {"ns/t": (ANY,)}, OTHER: {"ns/t": (ANY,)}}


def test_a_missing_tcp_route_beside_another_adds_nothing() -> None:
    mesh = server(mk_tcp_route("one", 80), mk_target("t", (tcp_rule("one"), tcp_rule("missing"))))
    assert everything(mesh) == {HTTP: {"ns/t": (ANY,)}, TCP: {}, OTHER: {"ns/t": ("80",)}}


@pytest.mark.parametrize("target", [mk_target("t", ()), mk_target("t", (http_rule("routes"),), sources=())])
def test_without_rules_or_sources_nothing_is_granted(target: MeshObject) -> None:
    assert everything(server(target)) == NOTHING


UDP = UDPRoute(meta=mk_meta("udp"), ports=(HTTP, TCP))
UDP_RULE = AccessRule("UDPRoute", "udp")


@pytest.mark.parametrize(
    "others", [(), (http_rule("routes", "api"),), (tcp_rule("some"),), (http_rule("routes", "api"), tcp_rule("some"))]
)
def test_a_udp_route_neither_grants_nor_limits_anything(others: tuple[AccessRule, ...]) -> None:
    some = mk_tcp_route("some", 80, 7000)
    with_udp = server(UDP, some, mk_target("t", (UDP_RULE, *others)))
    assert everything(with_udp) == (everything(server(some, mk_target("t", others))) if others else NOTHING)
    assert not reported(with_udp, codes.ROUTE_MISSING)


def test_a_missing_udp_route_is_reported_and_changes_nothing_else() -> None:
    mesh = server(mk_target("t", (UDP_RULE, http_rule("routes", "api"))))
    assert everything(mesh) == {HTTP: {"ns/t": ("api",)}, TCP: {}, OTHER: {}}
    assert [finding.message for finding in reported(mesh, codes.ROUTE_MISSING)] == [
        "rule names UDPRoute udp, which is not there"
    ]
    assert not reported(server(UDP, mk_target("t", (UDP_RULE,))), codes.ROUTE_MISSING)


def limited(target: TrafficTarget, port: int) -> TrafficTarget:
    """The target with a `destination.port`."""
    return dataclasses.replace(target, port=port)


@pytest.mark.parametrize("port", [80, HTTP])
def test_a_port_of_the_destination_is_a_service_port_or_a_target_port(port: int) -> None:
    mesh = server(limited(mk_target("t", (http_rule("routes", "api"),)), port))
    assert everything(mesh) == {HTTP: {"ns/t": ("api",)}, TCP: {}, OTHER: {}}


@pytest.mark.parametrize("port", [81, 5000, TCP, 7000])
def test_http_requests_are_allowed_on_the_port_of_the_destination_only(port: int) -> None:
    assert everything(server(limited(mk_target("t", (http_rule("routes", "api"),)), port))) == NOTHING


def test_a_port_of_the_destination_limits_a_tcp_route_for_all_ports() -> None:
    def granted(port: int) -> dict[int | None, Grants]:
        return everything(server(mk_tcp_route("all"), limited(mk_target("t", (tcp_rule("all"),)), port)))

    assert granted(80) == {HTTP: {"ns/t": (ANY,)}, TCP: {}, OTHER: {"ns/t": ("80",)}}
    assert granted(TCP) == {HTTP: {}, TCP: {"ns/t": (ANY,)}, OTHER: {"ns/t": (str(TCP),)}}
    assert granted(7000) == {HTTP: {}, TCP: {}, OTHER: {"ns/t": ("7000",)}}


def test_a_port_of_the_destination_and_ports_of_a_tcp_route_are_intersected() -> None:
    def granted(port: int, *rules: AccessRule) -> dict[int | None, Grants]:
        target = limited(mk_target("t", (tcp_rule("some"), *rules)), port)
        return everything(server(mk_tcp_route("some", HTTP, 7000), target))

    assert granted(HTTP) == {HTTP: {"ns/t": (ANY,)}, TCP: {}, OTHER: {"ns/t": (str(HTTP),)}}
    assert granted(80) == {HTTP: {"ns/t": (ANY,)}, TCP: {}, OTHER: {}}  # the Service port that leads to HTTP
    assert granted(7000) == {HTTP: {}, TCP: {}, OTHER: {"ns/t": ("7000",)}}
    assert granted(TCP) == granted(7001) == NOTHING
    assert granted(80, http_rule("routes", "api")) == {HTTP: {"ns/t": ("api",)}, TCP: {}, OTHER: {}}


def test_a_port_of_the_destination_never_adds_to_another_target() -> None:
    mesh = server(
        limited(mk_target("a", (http_rule("routes", "api"),)), 81), mk_target("b", (http_rule("routes", "metrics"),))
    )
    assert everything(mesh) == {HTTP: {"ns/b": ("metrics",)}, TCP: {}, OTHER: {}}


RULELESS = dataclasses.replace(mk_target("t", ()), ruleless=True)
ALLOWING = mk_config(empty_rules=Allowance.ALLOW)


def test_a_target_without_rules_grants_nothing_unless_that_is_wanted() -> None:
    assert everything(server(RULELESS)) == NOTHING
    assert everything(server(RULELESS, mk_config(empty_rules=Allowance.DENY))) == NOTHING
    assert everything(server(RULELESS, ALLOWING)) == {port: {"ns/t": (ANY,)} for port in (HTTP, TCP, OTHER)}


def test_a_target_without_rules_is_limited_to_its_port_and_its_sources() -> None:
    on_80 = everything(server(limited(RULELESS, 80), ALLOWING))
    assert on_80 == {HTTP: {"ns/t": (ANY,)}, TCP: {}, OTHER: {"ns/t": ("80",)}}
    assert everything(server(dataclasses.replace(RULELESS, sources=()), ALLOWING)) == NOTHING
    (grant,) = access_of(server(RULELESS, ALLOWING), "server", TCP).grants
    assert grant.principals == (identity("client"),)


@pytest.mark.parametrize("rules", [(), (UDP_RULE,), (http_rule("missing"),), (tcp_rule("missing"),)])
def test_what_has_no_usable_rule_is_not_without_rules(rules: tuple[AccessRule, ...]) -> None:
    """`rules: []` of v1alpha3, and rules that lead nowhere, never become the permission of everything."""
    assert everything(server(UDP, mk_target("t", rules), ALLOWING)) == NOTHING


def test_a_change_of_the_setting_a_port_or_a_udp_route_is_followed() -> None:
    mesh = MeshModel()
    service = mk_service("server", mk_port(80, HTTP), mk_port(5000, TCP, name="tcp"))
    mesh.apply(map(Upsert, (service, mk_workload("server"), RULELESS)))
    assert everything(mesh.snapshot()) == NOTHING
    mesh.apply([Upsert(ALLOWING)])
    assert grants(mesh.snapshot(), TCP) == {"ns/t": (ANY,)}
    mesh.apply([Upsert(limited(RULELESS, 80))])
    assert everything(mesh.snapshot()) == {HTTP: {"ns/t": (ANY,)}, TCP: {}, OTHER: {"ns/t": ("80",)}}
    mesh.apply([Upsert(mk_target("t", (UDP_RULE,)))])
    assert everything(mesh.snapshot()) == NOTHING
    assert reported(mesh.snapshot(), codes.ROUTE_MISSING)
    mesh.apply([Upsert(UDP)])
    assert not reported(mesh.snapshot(), codes.ROUTE_MISSING)


def test_a_target_concerns_its_destination_only() -> None:
    assert everything(server(mk_target("t", (http_rule("routes"),), to="somebody-else"))) == NOTHING


def test_targets_add_up_and_keep_their_own_sources() -> None:
    mesh = server(
        mk_target("a", (http_rule("routes", "api"),), sources=("website", "payments")),
        mk_target("b", (http_rule("routes", "metrics"),), sources=("prometheus",)),
    )
    found = {grant.name: (grant.principals, grant.http) for grant in access_of(mesh, "server", HTTP).grants}
    assert found == {
        "ns/a": ((identity("payments"), identity("website")), (API,)),
        "ns/b": ((identity("prometheus"),), (METRICS,)),
    }


def test_the_order_of_targets_rules_and_sources_does_not_matter() -> None:
    first = mk_target("a", (http_rule("routes", "api"),), sources=("x", "y"))
    again = mk_target("a", (http_rule("routes", "api"),), sources=("y", "x"))
    second = mk_target("b", (tcp_rule("all"),))
    objects = [mk_tcp_route("all"), first, second]
    found = [server(*order).classes for order in itertools.permutations(objects)]
    assert all(each == found[0] for each in found)
    assert server(mk_tcp_route("all"), again, second).classes == found[0]


def test_sources_are_of_the_meshs_own_trust_domain() -> None:
    mesh = server(mk_target("t", (http_rule("routes"),)))
    (grant,) = access_of(mesh, "server", HTTP).grants
    assert [str(principal) for principal in grant.principals] == ["spiffe://cluster.local/ns/ns/sa/client"]


def test_an_explicit_port_of_two_services_is_named_by_either() -> None:
    mesh = mk_mesh(
        mk_service("a", mk_port(80, HTTP), selector={"app": "server"}),
        mk_service("b", mk_port(90, HTTP), selector={"app": "server"}),
        mk_workload("server"),
        mk_tcp_route("some", 90),
        mk_target("t", (tcp_rule("some"),)),
    )
    assert grants(mesh, HTTP) == {"ns/t": (ANY,)}
    assert access_of(mesh, "server", HTTP).protocol is Protocol.HTTP


def test_a_header_with_too_many_spellings_grants_nothing() -> None:
    routes = mk_routes("routes", mk_match("m", a_b_c_d_e_f_g_h="x"))
    mesh = server(mk_target("t", (http_rule("routes"),)), routes)
    assert grants(mesh, HTTP) == {}
    assert reported(mesh, codes.HEADER_AMBIGUOUS)


@pytest.mark.parametrize(
    "target", [mk_target("t", (tcp_rule("tcp"),)), limited(mk_target("t", (tcp_rule("all"),)), 8080)]
)
def test_a_port_that_means_two_things_is_reported(target: MeshObject) -> None:
    mesh = mk_mesh(
        mk_service("server", mk_port(8080, 9090), mk_port(80, 8080)),
        mk_workload("server"),
        mk_tcp_route("tcp", 8080),
        mk_tcp_route("all"),
        target,
    )
    assert [bool(access_of(mesh, "server", port).grants) for port in (8080, 9090)] == [True, True]
    assert reported(mesh, codes.PORT_AMBIGUOUS)


def test_a_port_that_only_one_limit_lets_mean_two_things_is_not_reported() -> None:
    mesh = mk_mesh(
        mk_service("server", mk_port(8080, 9090), mk_port(80, 8080)),
        mk_workload("server"),
        mk_tcp_route("tcp", 8080),
        limited(mk_target("t", (tcp_rule("tcp"),)), 80),
    )
    assert [bool(access_of(mesh, "server", port).grants) for port in (8080, 9090)] == [True, False]
    assert not reported(mesh, codes.PORT_AMBIGUOUS)
