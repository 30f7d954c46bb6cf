"""Where connections of opaque bytes are sent before RBAC has seen a byte of them."""

from __future__ import annotations

import pytest

from protos.envoy.extensions.filters.network.set_filter_state.v3_pb2 import Config
from smi.model import MeshSnapshot
from smi.objects import MeshObject, WorkloadPort
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
from tests.unit.translators.conftest import filter_of, sent, unpacked
from translators.gate import DEAD_END
from translators.outbound import TCP_PROXY_FILTER
from xds.resource import TypeUrl

TCP = 5432
CLIENT = str(identity("client"))


def server(*objects: MeshObject, policy: str = "smi", explicit: bool = False) -> MeshSnapshot:
    ports = (mk_port(80, 8080), mk_port(5000, TCP, name="tcp"))
    declared = (WorkloadPort("http", 8080, 14001), WorkloadPort("tcp", TCP, 14002)) if explicit else ()
    workload = mk_workload("server", *declared, traffic_policy=policy, mtls="permissive", explicit=explicit)
    return mk_mesh(mk_service("server", *ports), workload, mk_routes("routes", mk_match("all")), *objects)


def addresses(mesh: MeshSnapshot, port: int | str) -> list[str]:
    """What the gate of a port sets, in order: the last that can be computed counts."""
    found = sent(mesh, "server").extension(f"inbound/{class_of(mesh, 'server').name}/{port}/gate")
    config = unpacked(found.typed_config, Config)
    assert {value.object_key for value in config.on_downstream_tls_handshake} == {
        "envoy.network.transport_socket.original_dst_address"
    }
    return [value.format_string.text_format_source.inline_string for value in config.on_downstream_tls_handshake]


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("rule", [None, http_rule("routes")])
def test_who_has_no_grant_of_bytes_meets_a_dead_end(explicit: bool, rule: object) -> None:
    edits = () if rule is None else (mk_target("t", (http_rule("routes"),)),)
    assert addresses(server(*edits, explicit=explicit), TCP) == [DEAD_END]


def test_a_grant_names_the_clients() -> None:
    mesh = server(mk_tcp_route("all"), mk_target("t", (tcp_rule("all"),)))
    condition = f'(connection.mtls && connection.uri_san_peer_certificate in ["{CLIENT}"])'
    expected = [DEAD_END, f'%CEL({condition} ? destination.address : "{DEAD_END}")%']
    assert addresses(mesh, TCP) == expected
    assert addresses(mesh, "other") == expected


def test_a_grant_of_some_ports_opens_no_other_port_that_no_service_names() -> None:
    mesh = server(mk_tcp_route("some", TCP, 7000), mk_target("t", (tcp_rule("some"),)))
    assert "destination.port in [5432, 7000]" in addresses(mesh, "other")[-1]


def test_grants_are_alternatives() -> None:
    targets = (mk_target(name, (tcp_rule("all"),), sources=(name,)) for name in ("a", "b"))
    [_, last] = addresses(server(mk_tcp_route("all"), *targets), TCP)
    assert last.count("(connection.mtls && ") == 2
    assert ") || (" in last


@pytest.mark.parametrize(("explicit", "inside"), [(False, "destination.address"), (True, '"127.0.0.1:14002"')])
def test_permissive_policy_is_for_everyone(explicit: bool, inside: str) -> None:
    assert addresses(server(policy="permissive", explicit=explicit), TCP) == [DEAD_END, f"%CEL({inside})%"]


@pytest.mark.parametrize("explicit", [False, True])
def test_the_gate_stands_first_in_every_way_into_an_opaque_port_and_in_none_of_another(explicit: bool) -> None:
    mesh = server(explicit=explicit)
    made, name = sent(mesh, "server"), f"inbound/{class_of(mesh, 'server').name}"
    chains = [
        chain
        for each in made.names(TypeUrl.LISTENER)
        if each.startswith(name)
        for chain in made.listener(each).filter_chains
    ]
    gated = {chain.name for chain in chains if chain.filters[0].name.endswith("/gate")}
    opaque = ("5432",) if explicit else ("5432", "other")
    assert gated == {f"{name}/{port}/{way}" for port in opaque for way in ("mesh", "tls", "plain")}
    for chain in (chain for chain in chains if chain.name in gated):
        assert filter_of(chain, TCP_PROXY_FILTER)
        assert made.cluster(chain.name.rpartition("/")[0]).lb_policy == made.cluster("passthrough").lb_policy
