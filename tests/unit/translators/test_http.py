"""HTTP through sidecars: what a mesh must not change, and what a server's side must."""

from __future__ import annotations

import pytest

from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpConnectionManager
from protos.envoy.extensions.retry.host.previous_hosts.v3_pb2 import PreviousHostsPredicate
from protos.envoy.extensions.upstreams.http.v3_pb2 import HttpProtocolOptions
from smi.model import MeshSnapshot
from smi.objects import Upstream
from tests.unit.resolve.conftest import class_of, mk_mesh, mk_port, mk_service, mk_split, mk_workload
from tests.unit.translators.conftest import Sent, manager_of, sent, unpacked
from translators.http import UPSTREAM_OPTIONS
from xds.resource import TypeUrl

CLIENT = mk_workload("client")
FORWARDING = HttpConnectionManager.ForwardClientCertDetails


@pytest.fixture
def mesh() -> MeshSnapshot:
    """A client that reaches an HTTP, an HTTP/2 and a headless service, and serves one itself."""
    return mk_mesh(
        mk_service("web", ips=("10.96.0.1",)),
        mk_service("api", mk_port(90, name="grpc"), ips=("10.96.0.2",)),
        mk_service("pods", mk_port(70), headless=True),
        *(mk_workload(name, address=f"10.0.0.{n}", mtls="permissive") for n, name in enumerate(("web", "api", "pods"))),
        mk_workload("explicit", upstreams=(Upstream("ns", "web", 80, 31001),), explicit=True, address="10.0.0.9"),
    )


@pytest.fixture
def made(mesh: MeshSnapshot) -> Sent:
    return sent(mesh, "web")


def is_zero(duration: object) -> bool:
    return getattr(duration, "seconds", None) == 0 and getattr(duration, "nanos", None) == 0


def test_no_limit_that_nobody_asked_for(made: Sent) -> None:
    assert made.managers()
    for manager in made.managers():
        assert manager.HasField("stream_idle_timeout")
        assert is_zero(manager.stream_idle_timeout)
        assert is_zero(manager.request_timeout)
        assert not manager.common_http_protocol_options.HasField("max_stream_duration")


def test_an_answer_may_take_as_long_as_it_takes(made: Sent) -> None:
    routes = [made.routes(name) for name in made.names(TypeUrl.ROUTE)]
    routes += [manager.route_config for manager in made.managers() if manager.HasField("route_config")]
    actions = [one.route for each in routes for one in each.virtual_hosts[0].routes]
    assert len(actions) >= 4
    for action in actions:
        assert action.HasField("timeout"), "Envoy would answer 504 after 15 s"
        assert is_zero(action.timeout)
        assert not action.HasField("idle_timeout")


def test_old_and_new_forms_of_http_are_let_through(made: Sent) -> None:
    for manager in made.managers():
        assert manager.codec_type == HttpConnectionManager.CodecType.AUTO
        assert manager.http_protocol_options.accept_http_10
        assert manager.http_protocol_options.default_host_for_http_10
        assert manager.http_protocol_options.enable_trailers
        assert [upgrade.upgrade_type for upgrade in manager.upgrade_configs] == ["websocket"]


def test_the_proxies_do_not_show_themselves(made: Sent) -> None:
    for manager in made.managers():
        assert manager.server_header_transformation == HttpConnectionManager.ServerHeaderTransformation.PASS_THROUGH
        assert manager.skip_xff_append
        assert manager.via == ""


def test_a_safe_retry_on_another_endpoint(made: Sent) -> None:
    (route,) = made.routes("outbound/ns/web/80").virtual_hosts[0].routes
    retry = route.route.retry_policy
    assert set(retry.retry_on.split(",")) == {"refused-stream", "reset-before-request"}
    assert retry.num_retries.value == 2
    (another_host,) = retry.retry_host_predicate
    assert another_host.typed_config.Is(PreviousHostsPredicate.DESCRIPTOR)


def test_any_host_is_taken_since_the_address_decides(made: Sent) -> None:
    for name in made.names(TypeUrl.ROUTE):
        assert [list(host.domains) for host in made.routes(name).virtual_hosts] == [["*"]]


def test_http2_upstream_only_where_it_was_declared(made: Sent) -> None:
    def options(cluster: str) -> HttpProtocolOptions:
        return unpacked(made.cluster(cluster).typed_extension_protocol_options[UPSTREAM_OPTIONS], HttpProtocolOptions)

    assert options("outbound/ns/api/90").WhichOneof("upstream_protocol_options") == "explicit_http_config"
    assert options("outbound/ns/web/80").WhichOneof("upstream_protocol_options") == "use_downstream_protocol_config"


def test_paths_are_made_plain_before_any_rule_sees_them(mesh: MeshSnapshot, made: Sent) -> None:
    inbound = made.listener(f"inbound/{class_of(mesh, 'web').name}")
    managers = [manager for chain in inbound.filter_chains if (manager := manager_of(chain))]
    assert len(managers) == 2
    for manager in managers:
        assert manager.normalize_path.value
        assert manager.merge_slashes
        assert (
            manager.path_with_escaped_slashes_action
            == HttpConnectionManager.PathWithEscapedSlashesAction.UNESCAPE_AND_FORWARD
        )


def test_outbound_paths_are_left_as_they_are(made: Sent) -> None:
    manager = manager_of(made.listener("outbound/ns/web/80").filter_chains[0])
    assert manager is not None
    assert not manager.normalize_path.value
    assert not manager.merge_slashes


def test_a_server_learns_the_proved_identity_and_no_other(mesh: MeshSnapshot, made: Sent) -> None:
    inbound = made.listener(f"inbound/{class_of(mesh, 'web').name}")
    ways = {
        chain.name.rpartition("/80/")[2]: manager_of(chain) for chain in inbound.filter_chains if "/80/" in chain.name
    }
    mesh_way, plain_way = ways["mesh"], ways["plain"]
    assert ways["tls"] is None
    assert plain_way is not None
    assert plain_way.forward_client_cert_details == FORWARDING.SANITIZE
    assert mesh_way is not None
    assert mesh_way.forward_client_cert_details == FORWARDING.SANITIZE_SET
    assert mesh_way.set_current_client_cert_details.uri


def test_explicit_listeners_lead_to_the_shared_routes(mesh: MeshSnapshot) -> None:
    made = sent(mesh, "explicit")
    listener = made.listener("local/127.0.0.1:31001")
    assert not listener.HasField("bind_to_port"), "it is bound, as listeners are by default"
    manager = manager_of(listener.filter_chains[0])
    assert manager is not None
    assert manager.rds.route_config_name == "outbound/ns/web/80"


def test_a_split_is_weighted_clusters_and_no_backend_is_503() -> None:
    split = sent(mk_mesh(mk_service("web"), mk_service("v1"), mk_split("web", {"web": 90, "v1": 10}), CLIENT), "client")
    (route,) = split.routes("outbound/ns/web/80").virtual_hosts[0].routes
    shares = {each.name: each.weight.value for each in route.route.weighted_clusters.clusters}
    assert shares == {"outbound/ns/web/80": 90, "outbound/ns/v1/80": 10}
    nothing = sent(mk_mesh(mk_service("web"), mk_split("web", {"web": 0}), CLIENT), "client")
    (route,) = nothing.routes("outbound/ns/web/80").virtual_hosts[0].routes
    assert route.direct_response.status == 503
