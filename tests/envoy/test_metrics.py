"""The metrics that each sidecar serves: who called what, how it ended, how long it took; few series, and nothing else
on that port.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from deploy.demo.waiting import eventually
from tests.envoy.applications.raw_http import RawHttpServer
from tests.envoy.applications.server_first import GREETING, greeting_server
from tests.envoy.explicit_mesh import ExplicitMesh, explicit_mesh
from tests.envoy.http1 import exchange

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: catalog, namespace: shop}
spec:
  selector: {app: catalog}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: catalog-v1, namespace: shop}
spec:
  selector: {app: catalog, version: v1}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: tcp, port: 25, targetPort: tcp}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: catalog, namespace: shop}
spec:
  service: catalog
  backends: [{service: catalog-v1, weight: 1}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: catalog-v1-0, namespace: shop, labels: {app: catalog, version: v1}}
spec:
  serviceAccountName: catalog
  address: 127.0.0.1
  ports:
    - {name: http, port: $http, appPort: $http_app}
    - {name: tcp, port: $tcp, appPort: $tcp_app}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: buyer-0, namespace: town}
spec:
  serviceAccountName: buyer
  address: 127.0.0.1
  upstreams:
    - {service: catalog.shop, port: 80, localPort: $to_catalog}
    - {service: catalog-v1.shop, port: 25, localPort: $to_tcp}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: all-but-the-till, namespace: shop}
spec:
  matches: [{name: all, pathRegex: /(teapot|books), methods: ["*"]}]
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: tcp, namespace: shop}
spec: {}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: buyer-to-catalog, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: catalog, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: all-but-the-till}, {kind: TCPRoute, name: tcp}]
  sources: [{kind: ServiceAccount, name: buyer, namespace: town}]
"""
_log = logging.getLogger(__name__)
BUYER, CATALOG = "town/buyer-0", "shop/catalog-v1-0"
SENT = {"200": 5, "418": 3, "403": 2}
CLIENT_SIDE = {
    "direction": "outbound",
    "source_namespace": "town",
    "source_workload": "buyer-0",
    "destination_namespace": "shop",
}
SERVER_SIDE = {
    "direction": "inbound",
    "source": "spiffe://cluster.local/ns/town/sa/buyer",
    "destination_namespace": "shop",
    "destination_workload": "catalog-v1-0",
}
V1 = "shop/catalog-v1"
MEASURED = {"direction": "outbound", "destination_service": "catalog", "backend": f"{V1}/80"}
"""What latency is told apart by: namespace and port are those of the backend, and the source is who is scraped."""
TO_CATALOG = {**CLIENT_SIDE, **MEASURED, "destination_port": "80"}
TO_TCP = {**CLIENT_SIDE, "destination_service": "catalog-v1", "destination_port": "25", "backend": f"{V1}/25"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ExplicitMesh]:
    async with (
        explicit_mesh(tmp_path_factory.mktemp("metrics"), OBJECTS, [CATALOG, BUYER]) as running,
        RawHttpServer().serving(running.ports["http_app"]),
        greeting_server(running.ports["tcp_app"]),
    ):
        for path, status in (("/books", "200"), ("/teapot", "418"), ("/till", "403")):
            for _ in range(SENT[status]):
                assert (await running.get("to_catalog", path))[0] == int(status)
        reader, writer = await asyncio.open_connection("127.0.0.1", running.ports["to_tcp"])
        writer.write(b"x" * 1000)
        await reader.readexactly(len(GREETING) + 1000)
        writer.close()
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_rejected(running: ExplicitMesh) -> AsyncIterator[None]:
    yield
    await running.assert_nothing_rejected()


@dataclass(frozen=True)
class Page:
    """What a sidecar's metrics port serves."""

    samples: list[Sample]

    def values(self, name: str, labels: dict[str, str], by: str) -> dict[str, float]:
        """The values of the series of `name` that have all of `labels`, by one more label."""
        found = [each for each in self.samples if each.name == name and labels.items() <= each.labels.items()]
        return {each.labels[by]: each.value for each in found}

    def value(self, name: str, labels: dict[str, str]) -> float | None:
        """The value of the one series of `name` that has all of `labels`; None where there is none yet."""
        found = self.values(name, labels, "direction")
        return next(iter(found.values()), None)

    def series(self) -> set[tuple[object, ...]]:
        """Every series but those of histograms, which appear with Envoy's next flush."""
        kept = (each for each in self.samples if "_milliseconds_" not in each.name)
        return {(each.name, *each.labels.items()) for each in kept}


async def page(running: ExplicitMesh, workload: str) -> Page:
    text = await running.mesh.metrics(workload)
    return Page([sample for family in text_string_to_metric_families(text) for sample in family.samples])


@pytest.mark.parametrize(("workload", "labels"), [(BUYER, TO_CATALOG), (CATALOG, SERVER_SIDE)])
async def test_requests_by_who_where_and_how(running: ExplicitMesh, workload: str, labels: dict[str, str]) -> None:
    counted = (await page(running, workload)).values("envoy_tulle_requests_total", labels, "response_code")
    assert counted == SENT


@pytest.mark.parametrize(("workload", "labels"), [(BUYER, MEASURED), (CATALOG, SERVER_SIDE)])
async def test_latency(running: ExplicitMesh, workload: str, labels: dict[str, str]) -> None:
    """Envoy shows histograms as of its last flush, which is up to 5 s ago."""
    name = "envoy_tulle_request_duration_milliseconds"

    async def counted() -> bool:
        return (await page(running, workload)).value(f"{name}_count", labels) == sum(SENT.values())

    await eventually(counted, "all requests to be in the histogram", within=12)
    buckets = (await page(running, workload)).values(f"{name}_bucket", labels, "le")
    assert buckets["+Inf"] == sum(SENT.values())
    assert buckets["10000"] == sum(SENT.values())
    assert len(buckets) < 20


@pytest.mark.parametrize(("workload", "labels"), [(BUYER, TO_TCP), (CATALOG, SERVER_SIDE)])
async def test_tcp_connections_and_their_bytes(running: ExplicitMesh, workload: str, labels: dict[str, str]) -> None:
    async def counted() -> bool:
        return (await page(running, workload)).value("envoy_tulle_connections_total", labels) == 1

    await eventually(counted, "the connection to be counted when it has ended")
    now = await page(running, workload)
    assert now.value("envoy_tulle_received_bytes_total", labels) == 1000
    assert now.value("envoy_tulle_sent_bytes_total", labels) == 1000 + len(GREETING)


async def test_clients_cannot_make_series(running: ExplicitMesh) -> None:
    """Paths, hosts, headers and methods are no labels; the number of series depends on the mesh, not on its traffic."""
    before = {workload: await page(running, workload) for workload in (BUYER, CATALOG)}
    for number in range(30):
        headers = {"host": f"host-{number}.example", "user-agent": f"agent-{number}", "x-request-id": str(number)}
        await running.get("to_catalog", f"/books-{number}?q={number}", headers=headers)
    for workload, earlier in before.items():
        now = await page(running, workload)
        traffic = [each for each in now.samples if each.name.startswith("envoy_tulle_")]
        _log.info("%s serves %d series, %d of them of its traffic", workload, len(now.samples), len(traffic))
        assert now.series() == earlier.series()
        assert len(traffic) < 30
        assert len(now.samples) < 250


async def test_a_service_costs_few_series(running: ExplicitMesh) -> None:
    now = await page(running, BUYER)
    about = [each for each in now.samples if each.labels.get("envoy_cluster_name") == "shop/catalog/80"]
    assert 0 < len(about) <= 20


@pytest.mark.parametrize(
    "request_line",
    [
        "GET / ",
        "GET /config_dump ",
        "GET /certs ",
        "GET /clusters ",
        "GET /stats ",
        "GET /metrics/ ",
        "GET /metrics/../config_dump ",
        "GET /metrics/%2e%2e/config_dump ",
        "GET /ready/..%2Fconfig_dump ",
        "GET //config_dump ",
        "POST /metrics ",
        "POST /quitquitquit ",
        "POST /healthcheck/fail ",
        "POST /ready ",
    ],
)
async def test_nothing_else_of_the_admin_interface_is_there(running: ExplicitMesh, request_line: str) -> None:
    port = running.mesh.sidecars[CATALOG].metrics_port
    head = f"{request_line}HTTP/1.1\r\nhost: metrics\r\ncontent-length: 0\r\n\r\n"
    answer = await exchange(port, head.encode())
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize(
    ("path", "holds"),
    [("/metrics", b"envoy_tulle_requests_total{"), ("/stats/prometheus", b"# TYPE "), ("/ready", b"LIVE")],
)
async def test_what_the_metrics_port_serves(running: ExplicitMesh, path: str, holds: bytes) -> None:
    port = running.mesh.sidecars[CATALOG].metrics_port
    answer = await exchange(port, f"GET {path} HTTP/1.1\r\nhost: metrics\r\n\r\n".encode())
    assert answer.status == 200
    assert holds in answer.body
