"""The mesh for tests of splits: a client, and two versions of a store with HTTP and TCP, each with a sidecar."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.envoy.http_wire import HttpConnection, ask
from tests.envoy.running_mesh import RunningMesh, running_mesh

CLIENT, V1, V2 = "shopper/client-0", "store/v1-0", "store/v2-0"

_SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: store, namespace: store}
spec:
  selector: {app: store, version: v1}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: tcp-orders, port: 7000, targetPort: orders}
---
apiVersion: v1
kind: Service
metadata: {name: store-v1, namespace: store}
spec:
  selector: {app: store, version: v1}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: tcp-orders, port: 7000, targetPort: orders}
---
apiVersion: v1
kind: Service
metadata: {name: store-v2, namespace: store}
spec:
  selector: {app: store, version: v2}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: tcp-orders, port: 7000, targetPort: orders}
"""

_WORKLOADS = """
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: v1-0, namespace: store, labels: {app: store, version: v1}}
spec:
  serviceAccountName: store-v1
  address: 127.0.0.1
  ports:
    - {name: http, port: $v1_http, appPort: $v1_http_app}
    - {name: orders, port: $v1_orders, appPort: $v1_orders_app}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: v2-0, namespace: store, labels: {app: store, version: v2}}
spec:
  serviceAccountName: store-v2
  address: 127.0.0.1
  ports:
    - {name: http, port: $v2_http, appPort: $v2_http_app}
    - {name: orders, port: $v2_orders, appPort: $v2_orders_app}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: client-0, namespace: shopper}
spec:
  serviceAccountName: shopper
  address: 127.0.0.1
  upstreams:
    - {service: store.store, port: 80, localPort: $store}
    - {service: store.store, port: 7000, localPort: $orders}
"""

_ROUTES = """
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: all, namespace: store}
spec:
  matches:
    - {name: everything}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: all, namespace: store}
spec: {matches: {ports: []}}
"""

_SPLIT = """
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {{name: store, namespace: store}}
spec:
  service: store
  backends:
    - {{service: store-v1, weight: {v1}}}
    - {{service: store-v2, weight: {v2}}}
"""


def split(v1: int, v2: int) -> str:
    """The TrafficSplit of the store with these weights."""
    return _SPLIT.format(v1=v1, v2=v2)


def access(name: str, *sources: str) -> str:
    """TrafficTargets called `name` that let the service accounts `sources` of the client's namespace do anything."""
    listed = ", ".join(f"{{kind: ServiceAccount, name: {source}, namespace: shopper}}" for source in sources)
    return "\n---\n".join(
        f"""
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {{name: {name}-{version}, namespace: store}}
spec:
  destination: {{kind: ServiceAccount, name: store-{version}, namespace: store}}
  rules:
    - {{kind: HTTPRouteGroup, name: all}}
    - {{kind: TCPRoute, name: all}}
  sources: [{listed}]
"""
        for version in ("v1", "v2")
    )


@asynccontextmanager
async def store_mesh(work_dir: Path, *, envoy: Path | None = None) -> AsyncIterator[RunningMesh]:
    """The store, running, with a split of 50/50 (`split.yaml`); the client may use it (`access.yaml`)."""
    objects = {
        "services.yaml": _SERVICES,
        "workloads.yaml": _WORKLOADS,
        "routes.yaml": _ROUTES,
        "access.yaml": access("client", "shopper"),
        "split.yaml": split(50, 50),
    }
    applications = [
        (workload, f"{application}_echo ${version}_{port}_app --version {version}")
        for workload, version in ((V1, "v1"), (V2, "v2"))
        for application, port in (("http", "http"), ("tcp", "orders"))
    ]
    async with running_mesh(work_dir, objects, applications, [CLIENT, V1, V2], envoy=envoy) as mesh:
        yield mesh


async def http_versions(
    mesh: RunningMesh, count: int, target: str = "/", headers: dict[str, str] | None = None
) -> Counter[str | None]:
    """How many of `count` requests, over eight connections, were answered by which version; all must be a 200."""
    found: Counter[str | None] = Counter()

    async def some(number: int) -> None:
        async with await HttpConnection.open(mesh.port["store"]) as connection:
            for _ in range(number):
                answer = await connection.request(target, headers=headers)
                assert answer.status == 200, answer
                found[answer.version] += 1

    await asyncio.gather(*(some(count // 8 + (each < count % 8)) for each in range(8)))
    return found


async def tcp_version(mesh: RunningMesh) -> str:
    """Which version answers a new TCP connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.port["orders"])
    try:
        writer.write(b"order\n")
        async with asyncio.timeout(10):
            version, said = (await reader.readline()).decode().split()
    finally:
        writer.transport.abort()
    assert said == "order"
    return version


async def tcp_versions(mesh: RunningMesh, count: int) -> Counter[str | None]:
    """How many of `count` TCP connections, up to eight at once, were answered by which version."""
    found: Counter[str | None] = Counter()

    async def some(number: int) -> None:
        for _ in range(number):
            found[await tcp_version(mesh)] += 1

    await asyncio.gather(*(some(count // 8 + (each < count % 8)) for each in range(8)))
    return found


async def only(mesh: RunningMesh, version: str) -> bool:
    """Whether HTTP and TCP go to `version` alone, as far as eight connections of each can tell."""
    http = {answer.version for answer in await asyncio.gather(*(ask(mesh.port["store"]) for _ in range(8)))}
    tcp = set(await asyncio.gather(*(tcp_version(mesh) for _ in range(8))))
    return http == tcp == {version}
