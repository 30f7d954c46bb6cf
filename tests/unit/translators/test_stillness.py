"""What changes no listener: a new listener means a drain, which cuts connections and lets old rules live on."""

from __future__ import annotations

import pytest

from smi.model import MeshSnapshot
from smi.objects import MeshObject, Upstream, WorkloadPort
from tests.unit.resolve.conftest import (
    http_rule,
    mk_match,
    mk_mesh,
    mk_namespace,
    mk_port,
    mk_routes,
    mk_service,
    mk_split,
    mk_target,
    mk_tcp_route,
    mk_workload,
    tcp_rule,
)
from tests.unit.translators.conftest import Sent, sent
from xds.resource import TypeUrl

TCP = mk_port(5432, name="tcp")
UPSTREAMS = (Upstream("ns", "web", 80, 31001), Upstream("ns", "web", 5432, 31002))
MESH: tuple[MeshObject, ...] = (
    *(mk_service(name, mk_port(80), TCP, ips=(f"10.96.0.{n}",)) for n, name in enumerate(("web", "v1", "v2"))),
    mk_workload("web", WorkloadPort("http", 80, 14001), WorkloadPort("tcp", 5432, 14002), explicit=True),
    mk_workload("v1", address="10.0.0.2"),
    mk_workload("v2", address="10.0.0.3", mtls="permissive"),
    mk_workload("caller", address="10.0.0.4", upstreams=UPSTREAMS, explicit=True),
    mk_routes("routes", mk_match("api"), mk_match("admin", x_role="admin")),
    mk_tcp_route("all"),
    mk_tcp_route("some", 5432, 7000),
)
EDITS: list[tuple[MeshObject, ...]] = [
    (mk_target("t", (http_rule("routes"),), to="v2"),),
    (mk_target("t", (http_rule("routes", "api"),), to="v2", sources=("a", "b")),),
    (mk_target("t", (tcp_rule("all"),), to="v1"),),
    (mk_target("t", (tcp_rule("some"), http_rule("routes")), to="web"),),
    (mk_split("web", {"v1": 90, "v2": 10}),),
    (mk_split("web", {"v1": 0, "v2": 0}),),
    (mk_split("web", {"web": 1, "v2": 1}), mk_split("v1", {"v2": 1}, name="more")),
    (mk_split("web", {"v1": 1}, matches=("routes",)),),
    (mk_routes("routes", mk_match("else")), mk_target("t", (http_rule("routes"),), to="v1")),
]
PROXIES = ("web", "v1", "v2", "caller")


def listeners(mesh: MeshSnapshot, proxy: str) -> dict[str, bytes]:
    made: Sent = sent(mesh, proxy)
    return {name: made.listener(name).SerializeToString(deterministic=True) for name in made.names(TypeUrl.LISTENER)}


@pytest.mark.parametrize("edit", EDITS, ids=range(len(EDITS)))
@pytest.mark.parametrize("proxy", PROXIES)
def test_no_target_and_no_split_changes_a_listener(edit: tuple[MeshObject, ...], proxy: str) -> None:
    before = listeners(mk_mesh(*MESH), proxy)
    assert before
    assert listeners(mk_mesh(*MESH, *edit), proxy) == before


def test_the_policy_of_a_namespace_changes_no_listener() -> None:
    before = listeners(mk_mesh(*MESH), "v1")
    assert listeners(mk_mesh(*MESH, mk_namespace(traffic_policy="permissive")), "v1") == before


def test_endpoints_change_no_cluster_and_no_listener() -> None:
    before = sent(mk_mesh(*MESH), "v1")
    after = sent(mk_mesh(*MESH, mk_workload("v1-b", account="v1", address="10.0.0.9", labels={"app": "v1"})), "v1")
    changed = {key for key, message in after.messages.items() if before.messages.get(key) != message}
    assert changed == {(TypeUrl.ENDPOINT, "outbound/ns/v1/80"), (TypeUrl.ENDPOINT, "outbound/ns/v1/5432")}


def test_a_weight_changes_one_resource_per_port() -> None:
    before = sent(mk_mesh(*MESH, mk_split("web", {"v1": 90, "v2": 10})), "v1")
    after = sent(mk_mesh(*MESH, mk_split("web", {"v1": 80, "v2": 20})), "v1")
    changed = {key for key, message in after.messages.items() if before.messages.get(key) != message}
    assert changed == {(TypeUrl.ROUTE, "outbound/ns/web/80"), (TypeUrl.EXTENSION, "outbound/ns/web/5432")}
