"""What the simulator does not understand fails, and is never passed over."""

from __future__ import annotations

import pytest

from deploy.directory import Reading
from protos.envoy.config.cluster.v3_pb2 import Cluster
from protos.envoy.config.core.v3_pb2 import TypedExtensionConfig
from protos.envoy.config.endpoint.v3_pb2 import ClusterLoadAssignment
from protos.envoy.config.listener.v3_pb2 import Listener
from protos.envoy.config.rbac.v3_pb2 import RBAC
from protos.envoy.config.route.v3_pb2 import RouteConfiguration
from protos.envoy.extensions.filters.network.set_filter_state.v3_pb2 import Config
from protos.envoy.extensions.filters.network.tcp_proxy.v3_pb2 import TcpProxy
from smi.model import WorkloadKey
from tests.scenarios.scenario import load
from tests.simulator import BrokenError, Call, Connection, Kind, NotUnderstoodError, World
from tests.simulator.gate import compiled as gate
from tests.simulator.rbac import compiled as rules
from tests.simulator.sabotage import change, found, of_managers
from xds.resource import TypeUrl

BUYER = WorkloadKey("shop", "alice")
BYTES = WorkloadKey("shop", "bob")
HTTP_CALL = Call(source=BUYER, service="shop/api", port=8080, path="/public")
DB_CALL = Connection(source=BYTES, service="shop/api", port=5432)


@pytest.fixture
def reading() -> Reading:
    return load("targets-do-not-leak").reading


def mirrored(routes: RouteConfiguration) -> None:
    routes.virtual_hosts[0].routes[0].route.request_mirror_policies.add(cluster="elsewhere")


def with_query(routes: RouteConfiguration) -> None:
    routes.virtual_hosts[0].routes[0].match.query_parameters.add(name="a", present_match=True)


def opaque_upgrade(listener: Listener) -> None:
    of_managers(lambda made: made.upgrade_configs.add(upgrade_type="CONNECT"))(listener)


def another_filter(listener: Listener) -> None:
    of_managers(lambda made: made.http_filters.insert(0, made.http_filters[-1]))(listener)


def by_source(listener: Listener) -> None:
    for chain in listener.filter_chains:
        chain.filter_chain_match.source_ports.append(5)


def subsets(cluster: Cluster) -> None:
    cluster.lb_subset_config.fallback_policy = Cluster.LbSubsetConfig.ANY_ENDPOINT


def weighted(endpoints: ClusterLoadAssignment) -> None:
    endpoints.endpoints[0].lb_endpoints[0].load_balancing_weight.value = 3


@pytest.mark.parametrize(
    ("kind", "ending", "edit"),
    [
        (TypeUrl.ROUTE, "shop/api/8080", mirrored),
        (TypeUrl.ROUTE, "shop/api/8080", with_query),
        (TypeUrl.LISTENER, "outbound/shop/api/8080", opaque_upgrade),
        (TypeUrl.LISTENER, "", another_filter),
        (TypeUrl.LISTENER, "outbound/shop/api/8080", by_source),
        (TypeUrl.CLUSTER, "outbound/shop/api/8080", subsets),
        (TypeUrl.ENDPOINT, "outbound/shop/api/8080", weighted),
    ],
)
def test_what_is_new_to_it_is_refused(reading: Reading, kind: TypeUrl, ending: str, edit: object) -> None:
    assert World.of(reading.configuration, reading.mesh).call(HTTP_CALL).kind is Kind.ALLOWED
    change(reading.configuration, kind, edit, ending)
    with pytest.raises(NotUnderstoodError):
        World.of(reading.configuration, reading.mesh).call(HTTP_CALL)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (TypeUrl.ROUTE, "outbound/shop/api/8080"),
        (TypeUrl.CLUSTER, "outbound/shop/api/8080"),
        (TypeUrl.ENDPOINT, "outbound/shop/api/8080"),
    ],
)
def test_a_name_of_nothing_is_broken(reading: Reading, kind: TypeUrl, name: str) -> None:
    for scope, each in found(reading.configuration, kind, name):
        del scope[each.type_url, each.name]
    with pytest.raises(BrokenError, match="is not sent"):
        World.of(reading.configuration, reading.mesh).call(HTTP_CALL)


def test_two_listeners_at_one_place_are_broken(reading: Reading) -> None:
    def moved(listener: Listener) -> None:
        listener.address.socket_address.port_value = 5432

    change(reading.configuration, TypeUrl.LISTENER, moved, "outbound/shop/api/8080")
    with pytest.raises(BrokenError, match="both listen"):
        World.of(reading.configuration, reading.mesh).call(HTTP_CALL)


def test_a_gate_and_rules_that_disagree_are_broken(reading: Reading) -> None:
    def opened(extension: TypedExtensionConfig) -> None:
        made = Config()
        extension.typed_config.Unpack(made)
        made.on_downstream_tls_handshake[
            -1
        ].format_string.text_format_source.inline_string = "%CEL(destination.address)%"
        extension.typed_config.Pack(made)

    change(reading.configuration, TypeUrl.EXTENSION, opened, "/5432/gate")
    world = World.of(reading.configuration, reading.mesh)
    assert world.connect(DB_CALL).kind is Kind.ALLOWED
    with pytest.raises(BrokenError, match="disagree"):
        world.connect(Connection(source=BUYER, service="shop/api", port=5432))


def test_a_tcp_proxy_that_does_not_wait_for_its_gate_is_broken(reading: Reading) -> None:
    def hasty(listener: Listener) -> None:
        for one in (one for chain in listener.filter_chains for one in chain.filters):
            made = TcpProxy()
            if one.typed_config.Unpack(made):
                made.ClearField("upstream_connect_mode")
                one.typed_config.Pack(made)

    change(reading.configuration, TypeUrl.LISTENER, hasty, start="inbound/shop/api")
    with pytest.raises(BrokenError, match="does not wait"):
        World.of(reading.configuration, reading.mesh).connect(DB_CALL)


@pytest.mark.parametrize(
    "text",
    [
        '%CEL(connection.mtls ? destination.address : "127.0.0.1:0")%',
        "%CEL(destination.port)%",
        "%DOWNSTREAM_LOCAL_ADDRESS%",
        '%CEL((connection.mtls && source.port in [1]) ? destination.address : "127.0.0.1:0")%',
    ],
)
def test_other_expressions_in_a_gate_are_refused(text: str) -> None:
    config = Config()
    value = config.on_downstream_tls_handshake.add(object_key="envoy.network.transport_socket.original_dst_address")
    value.format_string.text_format_source.inline_string = text
    with pytest.raises(NotUnderstoodError):
        gate(config)


def test_rules_of_other_kinds_are_refused() -> None:
    with pytest.raises(NotUnderstoodError):
        rules(RBAC(action=RBAC.DENY))
    for name in ("metadata", "remote_ip", "or_ids"):
        denied = RBAC()
        policy = denied.policies["p"]
        policy.permissions.add(any=True)
        getattr(policy.principals.add(), name).SetInParent()
        with pytest.raises(NotUnderstoodError):
            rules(denied)
