"""The simulator notices what is wrong in resources, as an Envoy would, and tells exactly what becomes of calls."""

from __future__ import annotations

from fractions import Fraction

import pytest

from deploy.directory import Reading
from protos.envoy.config.cluster.v3_pb2 import Cluster
from protos.envoy.config.listener.v3_pb2 import Listener
from protos.envoy.config.route.v3_pb2 import RouteConfiguration
from protos.envoy.extensions.filters.http.rbac.v3_pb2 import RBACPerRoute
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpConnectionManager
from protos.envoy.extensions.transport_sockets.tls.v3_pb2 import UpstreamTlsContext
from smi.model import PortKey, WorkloadKey
from tests.scenarios.scenario import load
from tests.simulator import Call, Connection, Kind, Outcome, World
from tests.simulator.asked import headers_of
from tests.simulator.sabotage import change, of_managers
from xds.resource import TypeUrl

ALICE = WorkloadKey("shop", "alice")
ALLOWED = Call(source=ALICE, service="shop/api", port=8080, path="/public")
DENIED = Call(source=ALICE, service="shop/api", port=8080, path="/orders")


@pytest.fixture
def reading() -> Reading:
    return load("targets-do-not-leak").reading


def outcome(reading: Reading, call: Connection) -> Outcome:
    world = World.of(reading.configuration, reading.mesh)
    return world.call(call) if isinstance(call, Call) else world.connect(call)


def test_an_outcome_tells_who_gets_which_part_and_where_it_arrives() -> None:
    reading = load("split-backend-without-pods").reading
    found = outcome(reading, Call(source=WorkloadKey("shop", "buyer"), service="shop/store"))
    v1, v2 = PortKey("shop", "store-v1", 80), PortKey("shop", "store-v2", 80)
    assert found.weights == {v1: Fraction(9, 10), v2: Fraction(1, 10)}
    assert found.shares == {Kind.ALLOWED: Fraction(9, 10), Kind.NO_BACKEND: Fraction(1, 10)}
    assert found.kind is None
    assert found.statuses == {200, 503}
    assert found.applications == {"10.99.1.1:8080"}
    assert [(each.cluster, each.workload, each.address, each.port) for each in found.reached] == [
        (v1, WorkloadKey("shop", "store-v1"), "10.99.1.1", 8080),
        (v2, None, "", 0),
    ]


def test_a_caller_that_is_not_declared_is_a_mistake_of_the_test(reading: Reading) -> None:
    with pytest.raises(KeyError):
        outcome(reading, Call(source=WorkloadKey("shop", "stranger"), service="shop/api"))


def test_the_objects_will_do_in_place_of_the_model(reading: Reading) -> None:
    objects = reading.mesh.objects
    for given in (objects, objects.snapshot()):
        assert World.of(reading.configuration, given).call(ALLOWED).kind is Kind.ALLOWED


def test_rules_under_another_name_than_their_filter_leave_the_base_in_force(reading: Reading) -> None:
    def renamed(routes: RouteConfiguration) -> None:
        [(name, rules)] = routes.typed_per_filter_config.items()
        routes.typed_per_filter_config["another"].CopyFrom(rules)
        del routes.typed_per_filter_config[name]

    change(reading.configuration, TypeUrl.ROUTE, renamed, start="inbound/shop/api")
    assert outcome(reading, ALLOWED).statuses == {403}


def test_rules_that_are_not_there_let_everything_in(reading: Reading) -> None:
    def emptied(routes: RouteConfiguration) -> None:
        for packed in routes.typed_per_filter_config.values():
            rules = RBACPerRoute()
            rules.rbac.SetInParent()
            packed.Pack(rules)

    assert outcome(reading, DENIED).kind is Kind.DENIED
    change(reading.configuration, TypeUrl.ROUTE, emptied, start="inbound/shop/api")
    assert outcome(reading, DENIED).kind is Kind.ALLOWED


def test_paths_are_taken_as_they_come_unless_the_manager_makes_them_plain(reading: Reading) -> None:
    def lax(manager: HttpConnectionManager) -> None:
        manager.normalize_path.value = manager.merge_slashes = False
        manager.ClearField("path_with_escaped_slashes_action")

    hidden = Call(source=ALICE, service="shop/api", port=8080, path="/orders/../public")
    assert outcome(reading, hidden).kind is Kind.ALLOWED
    change(reading.configuration, TypeUrl.LISTENER, of_managers(lax), start="inbound/shop/api")
    assert outcome(reading, hidden).kind is Kind.DENIED


def test_a_server_with_another_identity_is_not_believed(reading: Reading) -> None:
    def doubted(cluster: Cluster) -> None:
        context = UpstreamTlsContext()
        cluster.transport_socket.typed_config.Unpack(context)
        validation = context.common_tls_context.combined_validation_context.default_validation_context
        validation.match_typed_subject_alt_names[0].matcher.exact = "spiffe://cluster.local/ns/shop/sa/other"
        cluster.transport_socket.typed_config.Pack(context)

    change(reading.configuration, TypeUrl.CLUSTER, doubted, "outbound/shop/api/8080")
    found = outcome(reading, ALLOWED)
    assert (found.kind, found.statuses) == (Kind.NO_BACKEND, {503})


def test_without_mesh_tls_on_the_clients_side_a_strict_server_refuses(reading: Reading) -> None:
    change(reading.configuration, TypeUrl.CLUSTER, lambda made: made.ClearField("transport_socket"), "shop/api/8080")
    found = outcome(reading, ALLOWED)
    assert (found.kind, found.statuses) == (Kind.DENIED, {503})


def test_a_listener_that_does_not_look_for_tls_finds_none(reading: Reading) -> None:
    def blind(listener: Listener) -> None:
        del listener.listener_filters[1:]

    change(reading.configuration, TypeUrl.LISTENER, blind, start="inbound/shop/api")
    assert outcome(reading, ALLOWED).kind is Kind.DENIED


def test_a_port_with_chains_of_its_own_never_uses_those_of_all_ports() -> None:
    reading = load("mtls-permissive").reading
    call = Connection(source=None, address="10.99.1.2", port=8080, own_tls=True)
    assert outcome(reading, call).kind is Kind.ALLOWED

    def closed(listener: Listener) -> None:
        kept = [each for each in listener.filter_chains if not each.name.endswith("/8080/tls")]
        del listener.filter_chains[:]
        listener.filter_chains.extend(kept)

    change(reading.configuration, TypeUrl.LISTENER, closed, start="inbound/open")
    assert outcome(reading, call).kind is Kind.DENIED


@pytest.mark.parametrize("port", [15001, 15006])
def test_calls_of_the_capture_ports_go_nowhere(port: int) -> None:
    reading = load("egress").reading
    call = Connection(source=WorkloadKey("shop", "buyer"), address="203.0.113.7", port=port)
    assert outcome(reading, call).kind is Kind.NO_BACKEND


def test_headers_are_one_value_each_as_envoy_joins_them() -> None:
    headers = (("X-A", "1"), ("x-a", "2"), ("Host", "b"))
    assert headers_of("GET", "a", headers) == {":method": "GET", ":authority": "b", "x-a": "1,2"}
