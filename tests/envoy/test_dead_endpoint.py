"""An endpoint that is gone before anybody said so: what cannot connect there is answered by another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.applications.raw_http import RawHttpServer
from tests.envoy.explicit_mesh import ExplicitMesh, explicit_mesh

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  annotations: {tulle.dev/traffic-policy: permissive}
---
apiVersion: v1
kind: Service
metadata: {name: half-meshed, namespace: shop}
spec:
  selector: {meshed: served}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: half-plain, namespace: shop}
spec:
  selector: {plain: served}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: alive, namespace: shop, labels: {meshed: served, plain: served}}
spec:
  serviceAccountName: server
  address: 127.0.0.1
  ports:
    - {name: http, port: $alive, appPort: $alive_app}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: dead-meshed, namespace: shop, labels: {meshed: served}}
spec:
  serviceAccountName: server
  address: 127.0.0.1
  ports:
    - {name: http, port: $nobody, appPort: $nobody_app}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: dead-plain, namespace: shop, labels: {plain: served}}
spec:
  sidecar: false
  address: 127.0.0.1
  ports:
    - {name: http, port: $nobody_else}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: client, namespace: shop}
spec:
  serviceAccountName: client
  address: 127.0.0.1
  upstreams:
    - {service: half-meshed, port: 80, localPort: $to_half_meshed}
    - {service: half-plain, port: 80, localPort: $to_half_plain}
"""
ALIVE, CLIENT = "shop/alive", "shop/client"
REQUESTS = 300


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ExplicitMesh]:
    async with (
        explicit_mesh(tmp_path_factory.mktemp("dead"), OBJECTS, [ALIVE, CLIENT]) as running,
        RawHttpServer().serving(running.ports["alive_app"]),
    ):
        yield running


@pytest.mark.parametrize("service", ["half-meshed", "half-plain"])
async def test_every_request_is_answered(running: ExplicitMesh, service: str) -> None:
    port = f"to_{service.replace('-', '_')}"
    answers = Counter([(await running.get(port))[0] for _ in range(REQUESTS)])
    assert answers == {200: REQUESTS}
    found = await running.stats(CLIENT, rf"^cluster\.shop/{service}/80\.(membership_total|upstream_cx_connect_fail)$")
    assert found[f"cluster.shop/{service}/80.membership_total"] == 2
    assert found[f"cluster.shop/{service}/80.upstream_cx_connect_fail"] > REQUESTS / 10, "the dead one was hardly tried"
