"""Mutual TLS: who is believed on either end, and which connections it is demanded of."""

from __future__ import annotations

import pytest

from protos.envoy.config.core.v3_pb2 import TransportSocket
from protos.envoy.config.listener.v3_pb2 import FilterChain
from protos.envoy.extensions.transport_sockets.raw_buffer.v3_pb2 import RawBuffer
from protos.envoy.extensions.transport_sockets.tls.v3_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
    SubjectAltNameMatcher,
    TlsParameters,
    UpstreamTlsContext,
)
from smi.model import MeshSnapshot
from smi.objects import WorkloadPort
from tests.unit.resolve.conftest import class_of, identity, mk_mesh, mk_port, mk_service, mk_workload
from tests.unit.translators.conftest import manager_of, sent, unpacked

WEB = {"app": "web"}


def client_context(mesh: MeshSnapshot, cluster: str = "outbound/ns/web/80") -> UpstreamTlsContext:
    socket = sent(mesh, mesh_client(mesh)).cluster(cluster).transport_socket
    return unpacked(socket.typed_config, UpstreamTlsContext)


def mesh_client(mesh: MeshSnapshot) -> str:
    return next(iter(mesh.proxies)).name


def chains(mesh: MeshSnapshot, workload: str = "web") -> dict[str, FilterChain]:
    listener = sent(mesh, workload).listener(f"inbound/{class_of(mesh, workload).name}")
    return {"/".join(chain.name.split("/")[-2:]): chain for chain in listener.filter_chains}


def server_context(socket: TransportSocket) -> DownstreamTlsContext:
    return unpacked(socket.typed_config, DownstreamTlsContext)


def believed(context: UpstreamTlsContext) -> list[str]:
    validation = context.common_tls_context.combined_validation_context.default_validation_context
    assert all(name.san_type == SubjectAltNameMatcher.SanType.URI for name in validation.match_typed_subject_alt_names)
    return [name.matcher.exact for name in validation.match_typed_subject_alt_names]


def test_a_client_believes_the_identities_behind_the_service_and_no_other() -> None:
    mesh = mk_mesh(
        mk_service("web"),
        mk_workload("a", labels=WEB, account="blue"),
        mk_workload("b", labels=WEB, account="green", address="10.0.0.2"),
        mk_workload("c", labels=WEB, account="plain", address="10.0.0.3", sidecar=False),
        mk_workload("d", address="10.0.0.4"),
    )
    assert believed(client_context(mesh)) == [str(identity("blue")), str(identity("green"))]


def test_without_identities_nobody_is_believed() -> None:
    """An empty list of names would mean anyone of the trust domain."""
    mesh = mk_mesh(mk_service("web"), mk_workload("client"))
    assert believed(client_context(mesh)) == ["spiffe://cluster.local/tulle/nobody"]


def check_common(context: CommonTlsContext) -> None:
    assert context.tls_params.tls_minimum_protocol_version == TlsParameters.TlsProtocol.TLSv1_3
    (certificate,) = context.tls_certificate_sds_secret_configs
    assert certificate.name == "identity"
    assert certificate.sds_config.HasField("ads")


def test_a_client_shows_its_own_identity_and_checks_the_servers() -> None:
    mesh = mk_mesh(mk_service("web"), mk_workload("web"))
    context = client_context(mesh).common_tls_context
    check_common(context)
    assert context.combined_validation_context.validation_context_sds_secret_config.name == "trust"
    assert list(context.alpn_protocols) == ["tulle"]


def test_a_server_demands_a_certificate_and_lists_no_alpn() -> None:
    """A server that listed the mesh's ALPN would break HTTP/2."""
    mesh = mk_mesh(mk_service("web"), mk_workload("web"))
    context = server_context(chains(mesh)["80/mesh"].transport_socket)
    check_common(context.common_tls_context)
    assert context.require_client_certificate.value
    assert context.common_tls_context.validation_context_sds_secret_config.name == "trust"
    assert not context.common_tls_context.alpn_protocols
    assert context.disable_stateless_session_resumption
    assert context.disable_stateful_session_resumption


def test_an_endpoint_says_by_itself_whether_it_speaks_mtls() -> None:
    mesh = mk_mesh(
        mk_service("web"),
        mk_workload("a", labels=WEB),
        mk_workload("b", labels=WEB, address="10.0.0.2", sidecar=False),
    )
    cluster = sent(mesh, "a").cluster("outbound/ns/web/80")
    assert cluster.transport_socket.typed_config.Is(UpstreamTlsContext.DESCRIPTOR), "whatever says nothing"
    (plain,) = cluster.transport_socket_matches
    assert plain.transport_socket.typed_config.Is(RawBuffer.DESCRIPTOR)
    (locality,) = sent(mesh, "a").endpoints("outbound/ns/web/80").endpoints
    said = {
        each.endpoint.address.socket_address.address: dict(each.metadata.filter_metadata)
        for each in locality.lb_endpoints
    }
    assert said == {"10.0.0.1": {}, "10.0.0.2": {"envoy.transport_socket_match": plain.match}}


def test_a_cluster_without_plain_endpoints_has_no_way_to_send_plaintext() -> None:
    meshed = mk_mesh(mk_service("web"), mk_workload("a", labels=WEB))
    cluster = sent(meshed, "a").cluster("outbound/ns/web/80")
    assert not cluster.transport_socket_matches
    assert cluster.transport_socket.typed_config.Is(UpstreamTlsContext.DESCRIPTOR)


def test_strict_mode_has_one_way_in() -> None:
    mesh = mk_mesh(mk_service("web"), mk_workload("web"))
    assert set(chains(mesh)) == {"loop-guard", "80/mesh", "other/mesh"}
    for name, chain in chains(mesh).items():
        if name != "loop-guard":
            assert chain.HasField("transport_socket")
            assert list(chain.filter_chain_match.application_protocols) == ["tulle"]


def test_permissive_mode_has_three_ways_in() -> None:
    mesh = mk_mesh(mk_service("web", mk_port(80), mk_port(81, name="tcp")), mk_workload("web", mtls="permissive"))
    found = chains(mesh)
    ways = {f"{port}/{way}" for port in ("80", "81", "other") for way in ("mesh", "tls", "plain")}
    assert set(found) == ways | {"loop-guard"}
    for port in ("80", "81", "other"):
        match = {way: found[f"{port}/{way}"].filter_chain_match for way in ("mesh", "tls", "plain")}
        assert [match[way].transport_protocol for way in match] == ["tls", "tls", "raw_buffer"]
        assert [list(match[way].application_protocols) for way in match] == [["tulle"], [], []]
        assert not found[f"{port}/tls"].HasField("transport_socket"), "an application's own TLS stays its own"
        assert manager_of(found[f"{port}/tls"]) is None
    assert manager_of(found["80/plain"]) is not None
    assert manager_of(found["81/plain"]) is None


@pytest.mark.parametrize("explicit", [False, True])
def test_only_where_a_server_may_speak_first_is_the_wait_short(explicit: bool) -> None:
    """In strict mode the client always speaks first: a lost packet must not end its connection."""

    def wait(mtls: str) -> tuple[bool, int]:
        port = WorkloadPort("http", 80, 14001)
        mesh = mk_mesh(mk_service("web"), mk_workload("web", port, explicit=explicit, mtls=mtls))
        name = f"inbound/{class_of(mesh, 'web').name}" + ("/80" if explicit else "")
        listener = sent(mesh, "web").listener(name)
        timeout = listener.listener_filters_timeout
        return listener.continue_on_listener_filters_timeout, timeout.ToMilliseconds()

    assert wait("permissive") == (True, 200)
    assert wait("strict") == (False, 0)
