"""TrafficTargets -> grants: additive, never leaking into each other, never widened by what is missing."""

from __future__ import annotations

import itertools

import pytest

from smi.model import MeshSnapshot
from smi.objects import AccessRule, MeshObject
from smi.protocol import Protocol
from smi.resolve import codes
from tests.unit.resolve.conftest import (
    access_of,
    http_rule,
    identity,
    mk_match,
    mk_mesh,
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


def test_rules_of_a_kind_unknown_here_grant_nothing() -> None:
    assert everything(server(mk_target("t", (AccessRule("UDPRoute", "udp"),)))) == NOTHING


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


def test_a_port_that_means_two_things_is_reported() -> None:
    mesh = mk_mesh(
        mk_service("server", mk_port(8080, 9090), mk_port(80, 8080)),
        mk_workload("server"),
        mk_tcp_route("tcp", 8080),
        mk_target("t", (tcp_rule("tcp"),)),
    )
    assert [bool(access_of(mesh, "server", port).grants) for port in (8080, 9090)] == [True, True]
    assert reported(mesh, codes.PORT_AMBIGUOUS)
