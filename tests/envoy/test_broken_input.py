"""What people get wrong in their files, live: a diagnostic says what and where, what was good keeps serving, and nobody
else notices.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner

from deploy.cli import tulle
from deploy.demo.waiting import eventually
from tests.envoy.applications.raw_http import RawHttpServer
from tests.envoy.certificates import certificate_of, spiffe_id
from tests.envoy.explicit_mesh import ExplicitMesh, explicit_mesh

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: market}
spec:
  clusterIP: 10.96.7.1
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: shop-v1, namespace: market}
spec:
  selector: {app: shop, version: v1}
  ports: [{name: http, port: 80, targetPort: http}]
---
# Nobody is behind it: a request that is sent here fails.
apiVersion: v1
kind: Service
metadata: {name: shop-v2, namespace: market}
spec:
  selector: {app: shop, version: v2}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: cafe, namespace: street}
spec:
  selector: {app: cafe}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: shop-v1-0, namespace: market, labels: {app: shop, version: v1}}
spec:
  serviceAccountName: shop
  address: 127.0.0.1
  ports: [{name: http, port: $shop, appPort: $shop_app}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: cafe-0, namespace: street, labels: {app: cafe}, annotations: {tulle.dev/traffic-policy: permissive}}
spec:
  serviceAccountName: cafe
  address: 127.0.0.1
  ports: [{name: http, port: $cafe, appPort: $cafe_app}]
"""
BUYER = """
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: buyer-0, namespace: street}
spec:
  serviceAccountName: buyer
  address: 127.0.0.1
  upstreams:
    - {service: shop.market, port: 80, localPort: $to_shop}
    - {service: cafe, port: 80, localPort: $to_cafe}
"""
SPLIT = """
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: shop, namespace: market}
spec:
  service: shop
  backends:
    - {service: shop-v1, weight: 1}
    - {service: shop-v2, weight: 0}
"""
ACCESS = """
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: books, namespace: market}
spec:
  matches:
    - name: books
      pathRegex: /books
      methods: [GET]
      headers: {x-reader: "[a-z]+"}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: buyer-to-shop, namespace: market}
spec:
  destination: {kind: ServiceAccount, name: shop, namespace: market}
  rules: [{kind: HTTPRouteGroup, name: books}]
  sources: [{kind: ServiceAccount, name: buyer, namespace: street}]
"""
FILES = {"services.yaml": SERVICES, "buyer.yaml": BUYER, "split.yaml": SPLIT, "access.yaml": ACCESS}
WORKLOADS = ["market/shop-v1-0", "street/cafe-0", "street/buyer-0"]
HERE = "# <- here"
"""Marks the line that a diagnostic must name. Without it that is the first line of the object: what is wrong between
objects is reported there."""


@dataclass(frozen=True)
class Mistake:
    """An edit of one file: `new` in place of `old`; a whole file, without `old`. `code`: the diagnostic it gets.

    `later`: by how many lines after the mark it can be noticed first.
    """

    file: str
    code: str
    new: str
    old: str = ""
    later: int = 0

    def text(self) -> str:
        before = FILES.get(self.file, "")
        assert self.old in before
        return before.replace(self.old, self.new) if self.old else self.new

    def place(self) -> tuple[str, int]:
        lines = self.text().splitlines()
        mark = HERE if HERE in self.text() else "apiVersion"
        return self.file, next(number for number, line in enumerate(lines, 1) if mark in line) + self.later


MISTAKES = {
    "half-written file": Mistake(
        "split.yaml",
        "TL1003",
        f"\n    - {{service: shop-v2, weight: 9 {HERE}\n",
        "\n    - {service: shop-v2, weight: 0}\n",
        later=1,
    ),
    "bad YAML": Mistake(
        "access.yaml",
        "TL1003",
        f"  sources:\n\t- {HERE}\n",
        "  sources: [{kind: ServiceAccount, name: buyer, namespace: street}]\n",
    ),
    "unknown kind": Mistake(
        "strange.yaml",
        "TL1020",
        f"apiVersion: v1\nkind: Sevrice {HERE}\nmetadata: {{name: shop, namespace: market}}\n",
    ),
    "known object turned into an unknown kind": Mistake(
        "split.yaml", "TL1020", f"kind: TraficSplit {HERE}", "kind: TrafficSplit"
    ),
    "negative weight": Mistake(
        "split.yaml", "TL1201", f"{{service: shop-v2, weight: -1}} {HERE}", "{service: shop-v2, weight: 0}"
    ),
    "path regex with look-ahead": Mistake(
        "access.yaml", "TL1202", f"pathRegex: /(?=books) {HERE}", "pathRegex: /books"
    ),
    "header regex with back reference": Mistake(
        "access.yaml", "TL1202", f'headers: {{x-reader: "([a-z])\\\\1"}} {HERE}', 'headers: {x-reader: "[a-z]+"}'
    ),
    "missing backend": Mistake(
        "split.yaml", "TL2103", "{service: shop-v9, weight: 1}", "{service: shop-v2, weight: 0}"
    ),
    "missing upstream": Mistake(
        "buyer.yaml",
        "TL2204",
        "  upstreams:\n    - {service: nowhere, port: 80, localPort: $to_nowhere}\n",
        "  upstreams:\n",
    ),
    "two services on one address": Mistake(
        "twin.yaml",
        "TL2006",
        f"# A copy of the shop, forgotten here.\napiVersion: v1 {HERE}\nkind: Service\n"
        "metadata: {name: twin, namespace: market}\nspec:\n  clusterIP: 10.96.7.1\n  selector: {app: cafe}\n"
        "  ports: [{name: http, port: 80}]\n",
    ),
}

SQUATTER = f"""
apiVersion: tulle.dev/v1alpha1 {HERE}
kind: Workload
metadata: {{name: squatter-0, namespace: street, labels: {{app: squatter}}}}
spec:
  serviceAccountName: squatter
  address: 127.0.0.1
  ports:
    - {{name: http, port: $shop, appPort: $squatter_app}}
    - {{name: own, port: $squatter, appPort: $squatter_app}}
  upstreams:
    - {{service: cafe, port: 80, localPort: $to_shop}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ExplicitMesh]:
    async with (
        explicit_mesh(tmp_path_factory.mktemp("broken"), FILES, WORKLOADS) as running,
        RawHttpServer("shop").serving(running.ports["shop_app"]),
        RawHttpServer("cafe").serving(running.ports["cafe_app"]),
    ):
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_rejected(running: ExplicitMesh) -> AsyncIterator[None]:
    yield
    await running.assert_nothing_rejected()


async def assert_serves_as_before(running: ExplicitMesh) -> None:
    reader = {"x-reader": "ada"}
    for _ in range(5):
        assert (await running.seen("to_shop", "/books", headers=reader))["name"] == "shop"
    assert (await running.get("to_shop", "/books"))[0] == 403
    assert (await running.get("to_shop", "/till", headers=reader))[0] == 403
    assert (await running.seen("to_cafe"))["name"] == "cafe"


async def holdings(running: ExplicitMesh, workload: str) -> dict[str, Any]:
    """What a sidecar holds, and how often it has been sent something."""
    proxy = await running.mesh.debug(f"/debug/proxies/{workload}")
    return {"resources": proxy["resources"], "acks": {name: kind["acks"] for name, kind in proxy["types"].items()}}


def linted(running: ExplicitMesh) -> tuple[int, list[dict[str, Any]]]:
    done = CliRunner().invoke(tulle, ["lint", str(running.mesh.directory), "--strict", "--output", "json"])
    return done.exit_code, json.loads(done.stdout)


def places(found: list[dict[str, Any]], code: str) -> set[tuple[str, int]]:
    return {(each["location"]["file"], each["location"]["line"]) for each in found if each["code"] == code}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
async def test_a_mistake_is_explained_and_hurts_nobody(running: ExplicitMesh, mistake: Mistake) -> None:
    mesh = running.mesh
    unrelated = await holdings(running, "street/cafe-0")
    mesh.apply(mistake.file, mistake.text())
    try:

        async def explained() -> bool:
            return bool(await running.diagnostics(mistake.code))

        await eventually(explained, f"the diagnostic {mistake.code}", within=5)
        found = places(await running.diagnostics(mistake.code), mistake.code)
        exit_code, lint = linted(running)
        assert found == places(lint, mistake.code) == {mistake.place()}
        assert exit_code == (1 if {each["severity"] for each in lint} <= {"warning", "info"} else 2)
        await assert_serves_as_before(running)
        await running.synced()
        assert await holdings(running, "street/cafe-0") == unrelated
    finally:
        if mistake.file in FILES:
            mesh.apply(mistake.file, FILES[mistake.file])
        else:
            mesh.withdraw(mistake.file)

    async def repaired() -> bool:
        found = (await mesh.debug("/debug/mesh"))["diagnostics"]
        return not [each for each in found if each["severity"] != "info"]

    await eventually(repaired, "the diagnostics to be gone", within=5)
    await assert_serves_as_before(running)
    assert await holdings(running, "street/cafe-0") == unrelated


async def test_two_workloads_on_one_port(running: ExplicitMesh) -> None:
    """The first has it. The kernel would let both sidecars listen, and give each a part of the connections."""
    mesh, squatter = running.mesh, Mistake("squatter.yaml", "TL2006", SQUATTER)
    unrelated = await holdings(running, "street/cafe-0")
    mesh.apply(squatter.file, squatter.new)
    try:
        await mesh.start_sidecar("street/squatter-0")
        await running.synced()
        assert places(await running.diagnostics("TL2006"), "TL2006") == {squatter.place()}
        assert places(linted(running)[1], "TL2006") == {squatter.place()}
        identities = {spiffe_id(await certificate_of(running.ports["shop"])) for _ in range(30)}
        assert identities == {"spiffe://cluster.local/ns/market/sa/shop"}
        for _ in range(20):
            # Connections of their own: each could reach another sidecar.
            reader = {"x-reader": "ada", "connection": "close"}
            assert (await running.seen("to_shop", "/books", headers=reader))["name"] == "shop"
        assert spiffe_id(await certificate_of(running.ports["squatter"])).endswith("/squatter")
        await running.assert_nothing_rejected()
        assert await holdings(running, "street/cafe-0") == unrelated
    finally:
        await mesh.stop_sidecar("street/squatter-0")
        mesh.withdraw(squatter.file)
