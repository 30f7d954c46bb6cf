"""Parts of resources are built once and copied. Whoever changed one in place would change all later resources."""

from __future__ import annotations

from smi.model import MeshSnapshot
from smi.objects import MeshObject
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
from tests.unit.translators.conftest import sent

PROXIES = ("web", "api", "db")


def mesh(*more: MeshObject) -> MeshSnapshot:
    tcp = mk_port(5432, name="tcp")
    return mk_mesh(
        *(mk_service(name, mk_port(80), tcp, ips=(f"10.96.0.{n}",)) for n, name in enumerate(("web", "api"))),
        mk_service("db", mk_port(80), tcp, headless=True),
        *(mk_workload(name, address=f"10.0.0.{n}", mtls="permissive") for n, name in enumerate(PROXIES)),
        *more,
    )


def bodies(made: MeshSnapshot) -> dict[str, bytes]:
    return {
        f"{proxy} {key}": message.SerializeToString(deterministic=True)
        for proxy in PROXIES
        for key, message in sent(made, proxy).messages.items()
    }


def test_no_mesh_leaves_anything_behind_in_the_next_one() -> None:
    plain, rich = (
        mesh(),
        mesh(
            mk_namespace(traffic_policy="permissive"),
            mk_routes("routes", mk_match("api"), mk_match("admin", x_role="admin")),
            mk_tcp_route("all"),
            mk_target("t", (http_rule("routes"), tcp_rule("all")), to="web"),
            mk_split("web", {"api": 1, "db": 1}, matches=("routes",)),
            mk_workload("old", address="10.0.0.9", labels={"app": "web"}, sidecar=False),
        ),
    )
    before = bodies(plain), bodies(rich)
    assert before[0] != before[1]
    assert (bodies(plain), bodies(rich)) == before
