"""Certificates of a minute are renewed before they expire, and no request notices."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from tests.envoy.applications.raw_http import RawHttpServer
from tests.envoy.explicit_mesh import ExplicitMesh, explicit_mesh

pytestmark = [pytest.mark.envoy, pytest.mark.slow, pytest.mark.timeout(240)]

OBJECTS = """
apiVersion: tulle.dev/v1alpha1
kind: MeshConfig
metadata: {name: default}
spec:
  trafficPolicy: permissive
  certificates: {lifetime: 60s}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: web}
spec:
  selector: {app: server}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: server-0, namespace: web, labels: {app: server}}
spec:
  serviceAccountName: server
  address: 127.0.0.1
  ports: [{name: http, port: $http, appPort: $http_app}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: client-0, namespace: web}
spec:
  serviceAccountName: client
  address: 127.0.0.1
  upstreams: [{service: server, port: 80, localPort: $to_http}]
"""
WORKLOADS = ["web/server-0", "web/client-0"]


async def expiry_of(running: ExplicitMesh, workload: str) -> datetime:
    """When the certificate that Envoy holds expires."""
    held = json.loads(await running.mesh.admin(workload, "/certs"))["certificates"]
    leaves = [chain["cert_chain"][0] for chain in held if chain.get("cert_chain")]
    [own] = {leaf["expiration_time"] for leaf in leaves if "/ns/" in leaf["subject_alt_names"][0]["uri"]}
    return datetime.fromisoformat(own)


async def ask_until(stop: asyncio.Event, url: str, *, keep_alive: bool) -> list[int | str]:
    """The outcomes of about twenty requests a second, over one connection or over a new one each."""
    outcomes: list[int | str] = []
    connector = aiohttp.TCPConnector(force_close=not keep_alive)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=5)) as session:
        while not stop.is_set():
            try:
                async with session.get(url) as answer:
                    outcomes.append(answer.status)
            except (aiohttp.ClientError, TimeoutError) as error:
                outcomes.append(repr(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.05)
    return outcomes


async def test_renewal_under_load(tmp_path: Path) -> None:
    async with (
        explicit_mesh(tmp_path, OBJECTS, WORKLOADS) as running,
        RawHttpServer().serving(running.ports["http_app"]),
    ):
        stop = asyncio.Event()
        load = [asyncio.create_task(ask_until(stop, running.url("to_http"), keep_alive=kept)) for kept in (True, False)]
        first = {workload: await expiry_of(running, workload) for workload in WORKLOADS}
        last = max(first.values())
        replaced_in_time: set[str] = set()
        # Past the first certificates' expiry, so that the renewed ones are what serves.
        while datetime.now(UTC) < last or len(replaced_in_time) < len(WORKLOADS):
            for workload in WORKLOADS:
                now = datetime.now(UTC)
                expiry = await expiry_of(running, workload)
                assert expiry > now, f"{workload} holds an expired certificate"
                if expiry != first[workload] and now < first[workload]:
                    replaced_in_time.add(workload)
            assert datetime.now(UTC).timestamp() < last.timestamp() + 30, "a certificate was not renewed in time"
            await asyncio.sleep(0.5)
        # New connections of the sidecars, which many requests at once need: handshakes with the new certificates.
        handshakes = "^cluster.web/server/80.ssl.handshake$"
        before = await running.stats("web/client-0", handshakes)
        assert {status for status, _ in await asyncio.gather(*(running.get("to_http") for _ in range(30)))} == {200}
        after = await running.stats("web/client-0", handshakes)
        assert sum(after.values()) > sum(before.values())
        stop.set()
        outcomes = [outcome for outcomes in await asyncio.gather(*load) for outcome in outcomes]
        assert len(outcomes) > 500
        assert {outcome for outcome in outcomes if outcome != 200} == set()
        await running.assert_nothing_rejected()
