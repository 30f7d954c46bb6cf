"""Where connections go that no HTTP route steers: TCP services, headless endpoints, and what is not in the mesh."""

from __future__ import annotations

import pytest

from protos.envoy.config.cluster.v3_pb2 import Cluster
from protos.envoy.config.listener.v3_pb2 import FilterChain
from protos.envoy.extensions.filters.network.tcp_proxy.v3_pb2 import TcpProxy
from smi.model import MeshSnapshot
from smi.objects import Allowance, MeshObject, Upstream, WorkloadPort
from tests.unit.resolve.conftest import class_of, mk_config, mk_mesh, mk_port, mk_service, mk_split, mk_workload
from tests.unit.translators.conftest import Sent, filter_of, manager_of, sent, unpacked
from translators.outbound import TCP_PROXY_FILTER
from xds.resource import TypeUrl

TCP = mk_port(5432, name="tcp")
CLIENT = mk_workload("client", address="10.0.0.9")


def tcp(*objects: MeshObject) -> Sent:
    services = (mk_service(name, TCP, ips=(f"10.96.0.{n}",)) for n, name in enumerate(("db", "v1", "v2")))
    return sent(mk_mesh(*services, CLIENT, *objects), "client")


def proxy_of(chain: FilterChain) -> TcpProxy:
    return unpacked(filter_of(chain, TCP_PROXY_FILTER).typed_config, TcpProxy)


def routing(made: Sent) -> TcpProxy:
    return unpacked(made.extension("outbound/ns/db/5432").typed_config, TcpProxy)


def test_a_tcp_listener_takes_its_routing_from_elsewhere() -> None:
    listener = tcp().listener("outbound/ns/db/5432")
    (found,) = listener.filter_chains[0].filters
    assert found.name == "outbound/ns/db/5432"
    assert found.config_discovery.config_source.HasField("ads")
    assert found.config_discovery.type_urls == [
        "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    ]


def test_tcp_splits() -> None:
    assert routing(tcp()).cluster == "outbound/ns/db/5432"
    assert routing(tcp(mk_split("db", {"v1": 1, "v2": 0}))).cluster == "outbound/ns/v1/5432"
    both = routing(tcp(mk_split("db", {"v1": 90, "v2": 10}))).weighted_clusters.clusters
    assert {each.name: each.weight for each in both} == {"outbound/ns/v1/5432": 90, "outbound/ns/v2/5432": 10}
    assert routing(tcp(mk_split("db", {"v1": 0}))).cluster == "blackhole"


def test_idle_connections_are_none_of_the_meshs_business() -> None:
    idle = routing(tcp()).idle_timeout
    assert routing(tcp()).HasField("idle_timeout")
    assert (idle.seconds, idle.nanos) == (0, 0)


def test_a_service_listens_at_its_addresses_without_binding_them() -> None:
    made = sent(mk_mesh(mk_service("web", ips=("10.96.0.1", "fd00::1")), CLIENT), "client")
    listener = made.listener("outbound/ns/web/80")
    assert listener.HasField("bind_to_port")
    assert not listener.bind_to_port.value
    assert listener.address.socket_address.address == "10.96.0.1"
    assert [each.address.socket_address.address for each in listener.additional_addresses] == ["fd00::1"]


@pytest.mark.parametrize(("egress", "cluster"), [(Allowance.ALLOW, "passthrough"), (Allowance.DENY, "blackhole")])
def test_unknown_destinations(egress: Allowance, cluster: str) -> None:
    made = sent(mk_mesh(CLIENT, mk_config(egress=egress)), "client")
    listener = made.listener("virtual-outbound")
    assert listener.use_original_dst.value
    assert proxy_of(listener.default_filter_chain).cluster == cluster
    assert {"passthrough", "blackhole"} <= made.names(TypeUrl.CLUSTER)
    assert made.cluster("passthrough").type == Cluster.DiscoveryType.ORIGINAL_DST


def test_nothing_is_sent_back_into_a_capture_port() -> None:
    mesh = mk_mesh(mk_service("client"), CLIENT)
    made = sent(mesh, "client")
    for name, port in (("virtual-outbound", 15001), (f"inbound/{class_of(mesh, 'client').name}", 15006)):
        guard = made.listener(name).filter_chains[0]
        assert guard.filter_chain_match.destination_port.value == port
        assert proxy_of(guard).cluster == "blackhole"


def headless(*objects: MeshObject, name: str = "http") -> Sent:
    return sent(mk_mesh(mk_service("db", mk_port(80, 8080, name=name), headless=True), CLIENT, *objects), "client")


DB = {"app": "db"}
IN_MESH = mk_workload("db", address="10.0.0.1")
PLAIN = mk_workload("old", address="10.0.0.2", labels=DB, sidecar=False)


def test_each_endpoint_of_a_headless_service_has_a_listener() -> None:
    made = headless(IN_MESH, PLAIN)
    found = {name for name in made.names(TypeUrl.LISTENER) if name.startswith("outbound/")}
    assert found == {"outbound/ns/db/80/10.0.0.1:8080", "outbound/ns/db/80/10.0.0.2:8080"}


def test_endpoints_of_one_host_are_told_apart() -> None:
    here = [mk_workload(f"db-{n}", WorkloadPort("http", 8080 + n), labels=DB, address="10.0.0.1") for n in (1, 2)]
    made = sent(mk_mesh(mk_service("db", mk_port(80, "http"), headless=True), CLIENT, *here), "client")
    listeners = [made.listener(name) for name in sorted(made.names(TypeUrl.LISTENER)) if name.startswith("outbound/")]
    assert [each.address.socket_address.port_value for each in listeners] == [8081, 8082]


def test_an_endpoint_in_the_mesh_is_reached_over_mtls_and_by_its_own_address() -> None:
    made = headless(IN_MESH)
    manager = manager_of(made.listener("outbound/ns/db/80/10.0.0.1:8080").filter_chains[0])
    assert manager is not None
    (route,) = manager.route_config.virtual_hosts[0].routes
    assert route.route.cluster == "outbound/ns/db/80/direct"
    assert not manager.route_config.validate_clusters.value
    direct = made.cluster("outbound/ns/db/80/direct")
    assert direct.type == Cluster.DiscoveryType.ORIGINAL_DST
    assert direct.transport_socket.name == "tls"


def test_tcp_to_an_endpoint_in_the_mesh() -> None:
    chain = headless(IN_MESH, name="tcp").listener("outbound/ns/db/80/10.0.0.1:8080").filter_chains[0]
    assert proxy_of(chain).cluster == "outbound/ns/db/80/direct"


def test_an_endpoint_without_sidecar_is_called_as_it_is() -> None:
    chain = headless(PLAIN).listener("outbound/ns/db/80/10.0.0.2:8080").filter_chains[0]
    assert proxy_of(chain).cluster == "passthrough"


def test_explicit_mode_forwards_to_the_application_on_loopback() -> None:
    mesh: MeshSnapshot = mk_mesh(
        mk_service("web", mk_port(80, 8080)),
        mk_workload(
            "web", WorkloadPort("http", 8080, 14001), upstreams=(Upstream("ns", "web", 80, 31001),), explicit=True
        ),
    )
    made = sent(mesh, "web")
    name = f"inbound/{class_of(mesh, 'web').name}/8080"
    bound = made.listener(name).address.socket_address
    assert (bound.address, bound.port_value) == ("10.0.0.1", 8080)
    endpoint = made.cluster(name).load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (endpoint.address, endpoint.port_value) == ("127.0.0.1", 14001)
    assert made.names(TypeUrl.LISTENER) == {name, "local/127.0.0.1:31001"}, "no listener behind a redirect"


def test_behind_a_redirect_the_application_is_called_where_the_client_called_it() -> None:
    mesh = mk_mesh(mk_service("web", mk_port(80, 8080)), mk_workload("web"))
    cluster = sent(mesh, "web").cluster(f"inbound/{class_of(mesh, 'web').name}/8080")
    assert cluster.type == Cluster.DiscoveryType.ORIGINAL_DST
    assert cluster.upstream_bind_config.source_address.address == "127.0.0.6"


def test_no_connection_limits_that_nobody_asked_for() -> None:
    made = tcp()
    for name in made.names(TypeUrl.CLUSTER):
        (limits,) = made.cluster(name).circuit_breakers.thresholds
        assert min(limits.max_connections.value, limits.max_requests.value) > 2_000_000
