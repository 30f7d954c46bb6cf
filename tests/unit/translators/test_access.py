"""Who is let in: from TrafficTargets to the decisions of Envoy's RBAC filters."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from protos.envoy.config.core.v3_pb2 import HeaderValueOption
from protos.envoy.config.rbac.v3_pb2 import RBAC
from protos.envoy.extensions.filters.http.header_mutation import v3_pb2 as header_mutation
from protos.envoy.extensions.filters.http.rbac import v3_pb2 as http_rbac
from protos.envoy.extensions.filters.network.rbac import v3_pb2 as network_rbac
from smi.model import MeshSnapshot
from smi.objects import HTTPMatch, MeshObject
from smi.paths import is_disguised
from tests.simulator.asked import Asked
from tests.simulator.rbac import allows
from tests.unit.resolve.conftest import (
    class_of,
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
    tcp_rule,
)
from tests.unit.translators.conftest import Sent, manager_of, parts, sent, unpacked
from translators.access import HTTP_RBAC
from translators.disguises import DISGUISES, disguise_filter
from translators.headers import HEADERS
from xds.resource import TypeUrl

HTTP, TCP = 8080, 5432
CLIENT, OTHER = str(identity("client")), str(identity("other"))
PUBLIC = mk_match("public", "/public", "GET")
ADMIN = mk_match("admin", "/admin")
TEAM = mk_match("team", "/team", x_team="^blue$")
ROUTES = mk_routes("routes", PUBLIC, ADMIN, TEAM)


def server(*objects: MeshObject, policy: str = "smi", mtls: str = "strict") -> MeshSnapshot:
    ports = (mk_port(80, HTTP), mk_port(5000, TCP, name="tcp"))
    workload = mk_workload("server", traffic_policy=policy, mtls=mtls)
    return mk_mesh(mk_service("server", *ports), workload, ROUTES, *objects)


def http_rules(mesh: MeshSnapshot) -> RBAC:
    """The rules that the routes of the HTTP port carry."""
    made = sent(mesh, "server")
    routes = made.routes(f"inbound/{class_of(mesh, 'server').name}/{HTTP}")
    per_route = unpacked(routes.typed_per_filter_config[HTTP_RBAC], http_rbac.RBACPerRoute)
    assert per_route.rbac.HasField("rules"), "rules that are not there would let everything in"
    return per_route.rbac.rules


def connection_rules(mesh: MeshSnapshot, port: int | str) -> RBAC:
    """The rules for connections of opaque bytes to a port; `other` for those that no Service names."""
    found = sent(mesh, "server").extension(f"inbound/{class_of(mesh, 'server').name}/{port}")
    configured = unpacked(found.typed_config, network_rbac.RBAC)
    assert configured.HasField("rules"), "rules that are not there would let everything in"
    return configured.rules


def may_call(
    mesh: MeshSnapshot,
    path: str,
    *,
    caller: str | None = CLIENT,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> bool:
    found = "denied" if is_disguised(path) else "allowed"
    return allows(http_rules(mesh), Asked(caller, path, {":method": method, **(headers or {})}, shadowed=found))


def may_connect(mesh: MeshSnapshot, port: int | str, *, caller: str | None = CLIENT, to: int = 0) -> bool:
    return allows(connection_rules(mesh, port), Asked(caller, port=to))


def test_without_a_target_nobody_gets_in() -> None:
    mesh = server()
    assert not may_call(mesh, "/public")
    assert not any(may_connect(mesh, port) for port in (HTTP, TCP, "other"))


@pytest.mark.parametrize(
    ("caller", "path", "method", "expected"),
    [
        (CLIENT, "/public", "GET", True),
        (CLIENT, "/public/x?a=b", "GET", True),
        (CLIENT, "/public", "POST", False),
        (CLIENT, "/private", "GET", False),
        (CLIENT, "/x?/public", "GET", False),
        (CLIENT, "/admin", "GET", False),
        (OTHER, "/public", "GET", False),
        (None, "/public", "GET", False),
        (CLIENT + "x", "/public", "GET", False),
    ],
)
def test_a_target_lets_its_sources_use_its_matches(caller: str | None, path: str, method: str, expected: bool) -> None:
    mesh = server(mk_target("t", (http_rule("routes", "public"),)))
    assert may_call(mesh, path, caller=caller, method=method) is expected


def test_sources_of_one_target_do_not_get_the_rules_of_another() -> None:
    mesh = server(
        mk_target("a", (http_rule("routes", "public"),), sources=("client",)),
        mk_target("b", (http_rule("routes", "admin"),), sources=("other",)),
    )
    got = {
        (caller, path): may_call(mesh, path, caller=caller)
        for caller in (CLIENT, OTHER)
        for path in ("/public", "/admin")
    }
    assert got == {
        (CLIENT, "/public"): True,
        (CLIENT, "/admin"): False,
        (OTHER, "/public"): False,
        (OTHER, "/admin"): True,
    }


def test_every_source_of_a_target_gets_in() -> None:
    mesh = server(mk_target("t", (http_rule("routes", "admin"),), sources=("client", "other")))
    assert may_call(mesh, "/admin", caller=CLIENT)
    assert may_call(mesh, "/admin", caller=OTHER)


def test_a_tcp_permission_and_another_targets_http_permission_do_not_mix() -> None:
    mesh = server(
        mk_tcp_route("db", TCP),
        mk_target("a", (tcp_rule("db"),), sources=("client",)),
        mk_target("b", (http_rule("routes", "admin"),), sources=("other",)),
    )
    assert may_connect(mesh, TCP, caller=CLIENT)
    assert not may_connect(mesh, TCP, caller=OTHER)
    assert not may_call(mesh, "/admin", caller=CLIENT)


def test_the_grant_of_requests_is_none_of_bytes() -> None:
    """An application's own TLS hides the requests in it, so even the grant of every request does not open it."""
    every = mk_routes("every", HTTPMatch("request"))
    mesh = server(every, mk_target("t", (http_rule("routes"), http_rule("every"))), mtls="permissive")
    assert may_call(mesh, "/anything")
    assert not may_connect(mesh, HTTP)


def test_a_tcp_route_alone_lets_any_request_in() -> None:
    mesh = server(mk_tcp_route("all"), mk_target("t", (tcp_rule("all"),)))
    assert may_call(mesh, "/anything", method="DELETE")
    assert not may_call(mesh, "/anything", caller=OTHER)
    assert may_connect(mesh, HTTP)
    assert may_connect(mesh, TCP)


def test_ports_that_no_service_names_are_told_by_their_number() -> None:
    mesh = server(mk_tcp_route("some", 7000), mk_target("t", (tcp_rule("some"),)))
    assert may_connect(mesh, "other", to=7000)
    assert not may_connect(mesh, "other", to=7001)
    assert not may_connect(mesh, "other", to=7000, caller=None)


def test_headers_are_searched_and_all_must_match() -> None:
    mesh = server(mk_target("t", (http_rule("routes", "team"),)))
    assert may_call(mesh, "/team", headers={"x-team": "blue"})
    assert not may_call(mesh, "/team", headers={"x-team": "red"})
    assert not may_call(mesh, "/team")
    assert not may_call(mesh, "/other", headers={"x-team": "blue"})


def test_a_header_in_another_spelling_is_refused() -> None:
    mesh = server(mk_target("t", (http_rule("routes", "team"),)))
    assert not may_call(mesh, "/team", headers={"x-team": "blue", "x_team": "red"})


def joined(mesh: MeshSnapshot) -> dict[str, str]:
    """What is put in place of headers before any rule sees them: name -> Envoy's format."""
    routes = sent(mesh, "server").routes(f"inbound/{class_of(mesh, 'server').name}/{HTTP}")
    if HEADERS not in routes.typed_per_filter_config:
        return {}
    made = unpacked(routes.typed_per_filter_config[HEADERS], header_mutation.HeaderMutationPerRoute)
    options = [each.append for each in made.mutations.request_mutations]
    assert all(each.append_action == HeaderValueOption.OVERWRITE_IF_EXISTS for each in options), "never made up"
    return {each.header.key: each.header.value for each in options}


def test_the_lines_of_headers_that_rules_name_are_joined() -> None:
    """RBAC is content when one of several lines matches."""
    host = HTTPMatch("n", headers=((":authority", "here"), ("x-a", "c")))
    both = mk_routes("both", mk_match("m", x_b="b", x_a="a"), host)
    mesh = server(both, mk_target("t", (http_rule("routes", "team"),)), mk_target("u", (http_rule("both"),)))
    assert joined(mesh) == {name: f'%CEL(request.headers["{name}"])%' for name in ("x-a", "x-b", "x-team")}


@pytest.mark.parametrize(("rule", "policy"), [("public", "smi"), ("team", "permissive")])
def test_headers_that_decide_nothing_are_left_alone(rule: str, policy: str) -> None:
    assert joined(server(mk_target("t", (http_rule("routes", rule),)), policy=policy)) == {}


@pytest.mark.parametrize("path", ["/public/..;/admin", "/public/%252e%252e/admin", "/public/..%5cadmin"])
def test_a_path_in_disguise_passes_no_rule_for_paths(path: str) -> None:
    assert not may_call(server(mk_target("t", (http_rule("routes", "public"),))), path)


def test_rules_without_a_path_do_not_look_at_it() -> None:
    mesh = server(mk_routes("methods", HTTPMatch("read", methods=("GET",))), mk_target("t", (http_rule("methods"),)))
    assert may_call(mesh, "/any/..;/path")
    assert not may_call(mesh, "/any", method="POST")


def test_a_match_of_nothing_in_particular_allows_every_request() -> None:
    mesh = server(mk_routes("all", HTTPMatch("all")), mk_target("t", (http_rule("all"),)))
    assert may_call(mesh, "/x", method="PATCH")
    assert not may_call(mesh, "/x", caller=OTHER)


@pytest.mark.parametrize("caller", [CLIENT, None])
def test_a_permissive_policy_lets_everyone_in(caller: str | None) -> None:
    mesh = server(policy="permissive", mtls="permissive")
    assert may_call(mesh, "/x", caller=caller)
    assert all(may_connect(mesh, port, caller=caller) for port in (HTTP, TCP, "other"))


def test_plaintext_has_no_identity_and_matches_no_target() -> None:
    mesh = server(mk_target("t", (http_rule("routes"),)), mtls="permissive")
    assert may_call(mesh, "/admin", caller=CLIENT)
    assert not may_call(mesh, "/admin", caller=None)


def base_filters(made: Sent) -> list[http_rbac.RBAC]:
    filters = [each for manager in made.managers() for each in manager.http_filters if each.name == HTTP_RBAC]
    return [unpacked(each.typed_config, http_rbac.RBAC) for each in filters]


@pytest.mark.parametrize("policy", ["smi", "permissive"])
@pytest.mark.parametrize("mtls", ["strict", "permissive"])
def test_the_filters_in_the_listener_deny_all_by_themselves(policy: str, mtls: str) -> None:
    """An RBAC filter without rules would let everything in, also when the routes' own rules fail to arrive."""
    mesh = server(mk_target("t", (http_rule("routes"),)), policy=policy, mtls=mtls)
    filters = base_filters(sent(mesh, "server"))
    assert len(filters) == (1 if mtls == "strict" else 2)
    for each in filters:
        assert each.HasField("rules")
        assert not allows(each.rules, Asked(CLIENT, "/", {":method": "GET"}))


@pytest.mark.parametrize("mtls", ["strict", "permissive"])
def test_every_way_in_passes_access_control(mtls: str) -> None:
    mesh = server(mtls=mtls)
    listener = sent(mesh, "server").listener(f"inbound/{class_of(mesh, 'server').name}")
    for chain in listener.filter_chains:
        manager = manager_of(chain)
        if manager is not None:
            assert [each.name for each in manager.http_filters] == [HEADERS, DISGUISES, HTTP_RBAC, "router"]
        elif chain.name != "loop-guard":
            *gate, rules, _ = chain.filters
            assert rules.config_discovery.type_urls[0].endswith("network.rbac.v3.RBAC")
            assert not rules.config_discovery.HasField("default_config"), "before the rules come: closed"
            assert not any(each.config_discovery.HasField("default_config") for each in gate)


_FINDER = unpacked(disguise_filter().typed_config, http_rbac.RBAC)


@pytest.mark.parametrize("policy", ["smi", "permissive"])
def test_no_message_of_rules_is_missing_anywhere(policy: str) -> None:
    made = sent(server(policy=policy, mtls="permissive"), "server")
    found = [part for root in made.messages.values() for part in parts(root)]
    holders = [part for part in found if isinstance(part, (http_rbac.RBAC, network_rbac.RBAC))]
    assert holders
    assert all(holder.HasField("rules") or holder == _FINDER for holder in holders), (
        "but for the one that only finds out"
    )
    assert made.names(TypeUrl.EXTENSION)
