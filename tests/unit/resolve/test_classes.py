"""Which workloads share an inbound side, and that its name outlives what changes around them."""

from __future__ import annotations

import dataclasses

import pytest

from smi.model import MeshSnapshot, WorkloadKey
from smi.objects import MeshObject, Workload, WorkloadPort
from tests.unit.resolve.conftest import (
    class_of,
    http_rule,
    mk_match,
    mk_mesh,
    mk_namespace,
    mk_port,
    mk_routes,
    mk_service,
    mk_target,
    mk_workload,
)

WEB = {"app": "web"}
PORT = WorkloadPort("http", 8080)


def names(*workloads: Workload, others: tuple[MeshObject, ...] = ()) -> list[str]:
    mesh = mk_mesh(*workloads, *others)
    return [mesh.proxies[WorkloadKey(one.meta.namespace, one.meta.name)].class_name for one in workloads]


def web(name: str, **given: object) -> Workload:
    settings: dict[str, object] = {"labels": WEB, "account": "web", **given}
    return mk_workload(name, PORT, **settings)  # type: ignore[arg-type]


def test_replicas_share_a_class_wherever_they_are() -> None:
    first, second = names(web("a", address="10.0.0.1"), web("b", address="10.0.0.2"))
    assert first == second


def test_labels_that_controllers_put_on_pods_do_not_tell_classes_apart() -> None:
    first, second = names(
        web("a", labels={**WEB, "pod-template-hash": "1", "statefulset.kubernetes.io/pod-name": "a"}),
        web("b", labels={**WEB, "pod-template-hash": "2", "statefulset.kubernetes.io/pod-name": "b"}),
    )
    assert first == second


def test_unless_a_service_selects_on_them() -> None:
    first, second = names(
        web("a", labels={**WEB, "statefulset.kubernetes.io/pod-name": "a"}),
        web("b", labels={**WEB, "statefulset.kubernetes.io/pod-name": "b"}),
        others=(mk_service("only-a", selector={"statefulset.kubernetes.io/pod-name": "a"}),),
    )
    assert first != second


@pytest.mark.parametrize(
    "other",
    [
        web("b", labels={**WEB, "version": "v2"}),
        web("b", account="other"),
        web("b", namespace="other"),
        web("b", traffic_policy="permissive"),
        web("b", mtls="permissive"),
        web("b", explicit=True),
        mk_workload("b", WorkloadPort("http", 9090), labels=WEB, account="web"),
    ],
    ids=["labels", "account", "namespace", "policy", "mtls", "mode", "ports"],
)
def test_what_may_make_inbound_sides_differ_makes_classes_differ(other: Workload) -> None:
    first, second = names(web("a"), other)
    assert first != second


def test_explicit_workloads_listen_at_their_own_address() -> None:
    first, second = names(web("a", explicit=True), web("b", explicit=True, address="10.0.0.2"))
    assert first != second


@pytest.mark.parametrize(
    "around",
    [
        (),
        (mk_service("web", mk_port(80, 8080)),),
        (mk_service("web", mk_port(80, 8080, name="tcp")), mk_service("also", mk_port(81, 8081), selector=WEB)),
        (mk_namespace(traffic_policy="permissive", mtls="permissive"),),
        (mk_routes("routes", mk_match("api")), mk_target("t", (http_rule("routes"),), to="web")),
    ],
    ids=["nothing", "service", "services", "modes", "target"],
)
def test_names_outlive_services_policies_and_modes(around: tuple[MeshObject, ...]) -> None:
    assert names(web("a"), others=around) == names(web("a"))


def test_the_order_in_which_ports_and_labels_were_written_does_not_matter() -> None:
    one = mk_workload("a", PORT, WorkloadPort("admin", 9090), labels={"app": "web", "version": "v1"}, account="web")
    other = mk_workload("b", WorkloadPort("admin", 9090), PORT, labels={"version": "v1", "app": "web"}, account="web")
    first, second = names(one, other)
    assert first == second


def test_a_class_is_the_same_whichever_member_it_was_made_from() -> None:
    service = mk_service("web", mk_port(80, "http"))

    def inbound(mesh: MeshSnapshot, name: str) -> object:
        return dataclasses.asdict(class_of(mesh, name))

    assert inbound(mk_mesh(service, web("a")), "a") == inbound(mk_mesh(service, web("z", address="10.9.9.9")), "z")


def test_a_workload_without_sidecar_has_no_class() -> None:
    assert mk_mesh(web("a", sidecar=False)).classes == {}
