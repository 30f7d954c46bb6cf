"""Which endpoints a service port has, who may answer there, and at which addresses it is called."""

from __future__ import annotations

import dataclasses

from smi.objects import Allowance, ServicePort, WorkloadPort
from smi.protocol import Protocol
from smi.resolve import codes
from tests.unit.resolve.conftest import (
    addresses_of,
    class_of,
    identity,
    key,
    mk_config,
    mk_mesh,
    mk_port,
    mk_service,
    mk_workload,
    reported,
)

WEB = {"app": "web"}


def test_every_label_of_the_selector_must_be_there() -> None:
    mesh = mk_mesh(
        mk_service("web", selector={"app": "web", "track": "stable"}),
        mk_workload("both", address="10.0.0.1", labels={"app": "web", "track": "stable", "more": "x"}),
        mk_workload("one", address="10.0.0.2", labels=WEB),
        mk_workload("other", address="10.0.0.3", labels={"app": "web", "track": "canary"}),
    )
    assert addresses_of(mesh, "web") == [("10.0.0.1", 80, True)]


def test_a_service_selects_in_its_own_namespace_only() -> None:
    mesh = mk_mesh(mk_service("web"), mk_workload("web", namespace="other"))
    assert addresses_of(mesh, "web") == []
    assert reported(mesh, codes.SERVICE_WITHOUT_WORKLOADS)


def test_no_selector_selects_nothing() -> None:
    mesh = mk_mesh(mk_service("web", selector={}), mk_workload("web"))
    assert addresses_of(mesh, "web") == []


def test_a_named_target_port_is_looked_up_in_each_workload() -> None:
    mesh = mk_mesh(
        mk_service("web", mk_port(80, "api")),
        mk_workload("a", WorkloadPort("api", 8080), labels=WEB, address="10.0.0.1"),
        mk_workload("b", WorkloadPort("api", 9090), labels=WEB, address="10.0.0.2"),
        mk_workload("c", WorkloadPort("web", 7070), labels=WEB, address="10.0.0.3"),
    )
    assert addresses_of(mesh, "web") == [("10.0.0.1", 8080, True), ("10.0.0.2", 9090, True)]
    assert [found.message for found in reported(mesh, codes.TARGET_PORT_MISSING)] == [
        "port 80 targets 'api', which Workload ns/c does not have"
    ]


def test_a_numbered_target_port_need_not_be_declared_behind_a_redirect() -> None:
    mesh = mk_mesh(mk_service("web", mk_port(80, 8080)), mk_workload("web"))
    assert addresses_of(mesh, "web") == [("10.0.0.1", 8080, True)]


def test_in_explicit_mode_only_declared_ports_exist() -> None:
    mesh = mk_mesh(
        mk_service("web", mk_port(80, 8080), mk_port(81, 8081, name="http-b")),
        mk_workload("web", WorkloadPort("http", 8080, 14001), explicit=True),
    )
    assert addresses_of(mesh, "web") == [("10.0.0.1", 8080, True)]
    assert addresses_of(mesh, "web", 81) == []
    assert reported(mesh, codes.TARGET_PORT_MISSING)


def test_without_a_sidecar_an_endpoint_is_plain_and_names_no_identity() -> None:
    mesh = mk_mesh(
        mk_service("web"),
        mk_workload("a", labels=WEB, address="10.0.0.1"),
        mk_workload("b", labels=WEB, address="10.0.0.2", sidecar=False),
    )
    assert addresses_of(mesh, "web") == [("10.0.0.1", 80, True), ("10.0.0.2", 80, False)]
    assert mesh.backends[key("web")].identities == (identity("a"),)
    assert reported(mesh, codes.PLAINTEXT_ENDPOINT)
    assert [str(proxy) for proxy in mesh.proxies] == ["ns/a"]


def test_plaintext_endpoints_are_left_out_where_the_mesh_denies_them() -> None:
    mesh = mk_mesh(
        mk_service("web"),
        mk_workload("a", labels=WEB, address="10.0.0.1"),
        mk_workload("b", labels=WEB, address="10.0.0.2", sidecar=False),
        mk_config(plaintext_upstreams=Allowance.DENY),
    )
    assert addresses_of(mesh, "web") == [("10.0.0.1", 80, True)]
    assert reported(mesh, codes.PLAINTEXT_ENDPOINT_DENIED)
    assert not reported(mesh, codes.PLAINTEXT_ENDPOINT)


def test_all_accounts_behind_a_service_may_answer() -> None:
    mesh = mk_mesh(
        mk_service("web"),
        mk_workload("a", labels=WEB, account="blue"),
        mk_workload("b", labels=WEB, account="green"),
        mk_workload("c", labels=WEB, account="blue"),
    )
    assert mesh.backends[key("web")].identities == (identity("blue"), identity("green"))


def test_one_listener_address_for_each_family() -> None:
    mesh = mk_mesh(mk_service("web", ips=("10.96.0.1", "fd00::1")))
    assert mesh.addresses[key("web")].addresses == ("10.96.0.1", "fd00::1")


def test_of_two_services_on_one_address_the_older_has_it() -> None:
    mesh = mk_mesh(
        mk_service("a", mk_port(80), mk_port(81, name="http-b"), ips=("10.96.0.1",), created="2024-01-02T00:00:00Z"),
        mk_service("z", ips=("10.96.0.1",), created="2024-01-01T00:00:00Z"),
    )
    assert key("z") in mesh.addresses
    assert key("a") not in mesh.addresses
    assert key("a", 81) in mesh.addresses, "only the contested port is lost"
    assert [found.object and found.object.name for found in reported(mesh, codes.ADDRESS_CONFLICT)] == ["a"]


def test_a_headless_service_is_called_at_its_endpoints() -> None:
    mesh = mk_mesh(
        mk_service("db", mk_port(5432, 6000, name="tcp"), headless=True),
        mk_workload("a", labels={"app": "db"}, address="10.0.0.1"),
        mk_workload("b", labels={"app": "db"}, address="10.0.0.2", sidecar=False),
    )
    assert key("db", 5432) not in mesh.addresses
    found = [(one.endpoint.address, one.endpoint.port, one.endpoint.in_mesh) for one in mesh.headless[key("db", 5432)]]
    assert found == [("10.0.0.1", 6000, True), ("10.0.0.2", 6000, False)]


def test_one_endpoint_of_two_headless_services_has_one_listener() -> None:
    mesh = mk_mesh(
        mk_service("a", headless=True, selector=WEB), mk_service("b", headless=True, selector=WEB), mk_workload("web")
    )
    assert [len(mesh.headless[key(name)]) for name in ("a", "b")] == [1, 0]
    assert not reported(mesh, codes.ADDRESS_CONFLICT), "both lead to the same place"


def test_an_external_name_is_left_to_dns() -> None:
    mesh = mk_mesh(mk_service("out", external_name="example.com"), mk_workload("out"))
    assert not mesh.backends
    assert not mesh.frontends
    assert not mesh.diagnostics


def test_ports_other_than_tcp_are_left_alone_and_told() -> None:
    mesh = mk_mesh(mk_service("dns", ServicePort("dns", 53, 53, "UDP"), mk_port(53, name="tcp-dns")))
    assert list(mesh.frontends) == [key("dns", 53)]
    assert mesh.frontends[key("dns", 53)].protocol is Protocol.TCP
    assert reported(mesh, codes.PORT_NOT_TCP)


def test_several_services_on_one_workload() -> None:
    mesh = mk_mesh(
        mk_service("web", mk_port(80, 8080), selector=WEB),
        mk_service("also", mk_port(90, 8080), selector=WEB),
        mk_service("admin", mk_port(80, 9090, name="tcp"), selector=WEB),
        mk_workload("web"),
    )
    ports = [(port.port, port.protocol) for port in class_of(mesh, "web").listener.ports]
    assert ports == [(8080, Protocol.HTTP), (9090, Protocol.TCP)]
    assert not reported(mesh, codes.PROTOCOL_CONFLICT)


def test_of_two_protocols_for_one_target_port_the_oldest_wins() -> None:
    young = mk_service("a", mk_port(80, 8080, name="tcp"), selector=WEB, created="2024-01-02T00:00:00Z")
    old = mk_service("b", mk_port(80, 8080), selector=WEB, created="2024-01-01T00:00:00Z")
    mesh = mk_mesh(young, old, mk_workload("web"))
    assert [port.protocol for port in class_of(mesh, "web").listener.ports] == [Protocol.HTTP]
    assert [found.object for found in reported(mesh, codes.PROTOCOL_CONFLICT)] == [young.ref]


def test_without_age_the_first_name_wins() -> None:
    mesh = mk_mesh(
        mk_service("b", mk_port(80, 8080), selector=WEB),
        mk_service("a", mk_port(80, 8080, name="tcp"), selector=WEB),
        mk_workload("web"),
    )
    assert [port.protocol for port in class_of(mesh, "web").listener.ports] == [Protocol.TCP]


def test_an_explicit_port_needs_an_application_port() -> None:
    mesh = mk_mesh(
        mk_workload("web", WorkloadPort("http", 8080, 14001), WorkloadPort("admin", 8081), explicit=True),
        mk_service("web", mk_port(80, 8080)),
    )
    listener = class_of(mesh, "web").listener
    assert [(port.port, port.app_port, port.protocol) for port in listener.ports] == [(8080, 14001, Protocol.HTTP)]
    assert listener.address == "10.0.0.1"
    assert reported(mesh, codes.APP_PORT_MISSING)


def test_an_explicit_port_without_service_carries_bytes() -> None:
    mesh = mk_mesh(mk_workload("web", WorkloadPort("raw", 7000, 17000), explicit=True))
    assert [(port.port, port.protocol) for port in class_of(mesh, "web").listener.ports] == [(7000, Protocol.TCP)]


def test_two_explicit_workloads_of_one_host_that_want_one_port() -> None:
    port = WorkloadPort("http", 8080, 14001)
    mesh = mk_mesh(
        mk_workload("a", port, explicit=True),
        mk_workload("b", port, explicit=True),
        mk_workload("c", port, explicit=True, address="10.0.0.9"),
    )
    assert [found.object and found.object.name for found in reported(mesh, codes.ADDRESS_CONFLICT)] == ["b"]
    listening = {name: [port.port for port in class_of(mesh, name).listener.ports] for name in "abc"}
    assert listening == {"a": [8080], "b": [], "c": [8080]}, "both sidecars would listen, and each get a part"


def test_what_can_have_no_identity_is_nowhere_in_the_mesh() -> None:
    broken = dataclasses.replace(mk_workload("web"), service_account="not/possible")
    mesh = mk_mesh(mk_service("web"), broken, mk_workload("fine", labels=WEB, address="10.0.0.2"))
    assert addresses_of(mesh, "web") == [("10.0.0.2", 80, True)]
    assert [str(proxy) for proxy in mesh.proxies] == ["ns/fine"]
    assert reported(mesh, codes.IDENTITY_INVALID)
