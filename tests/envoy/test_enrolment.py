"""Sidecars in a running mesh get their certificates: once by token, then by certificate, and no request notices."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ca.csr import signing_request
from ca.identity import CONTROL_PLANE_NAME
from deploy.demo.waiting import eventually
from deploy.enrolment_messages import ENROL, encode_request
from deploy.sidecar.join import read_client_file
from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest
from tests.envoy.running_mesh import APPLICATIONS, RunningMesh
from tests.envoy.steady_load import steady_load
from tests.envoy.store_mesh import CLIENT, V1, V2, http_versions, store_mesh
from xds.server import ADS

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(240)]

OTHER_CLIENT = """
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: client-0, namespace: shopper}
spec:
  serviceAccountName: renamed
  address: 127.0.0.1
  upstreams:
    - {service: store.store, port: 80, localPort: $store}
    - {service: store.store, port: 7000, localPort: $orders}
"""


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[RunningMesh]:
    async with store_mesh(tmp_path) as running:
        yield running


async def exchanges(mesh: RunningMesh, proof: str, outcome: str) -> int:
    """How many enrolments the control plane has counted."""
    async with mesh._http.get(f"http://{mesh.debug_address}/metrics") as answer:
        text = await answer.text()
    [found] = re.findall(rf'^tulle_enrolments_total{{outcome="{outcome}",proof="{proof}"}} (\S+)$', text, re.MULTILINE)
    return int(float(found))


def runtime(mesh: RunningMesh, workload: str) -> Path:
    """The private directory of a sidecar."""
    for directory in (mesh.work_dir / "tmp").glob("tulle-sidecar-*"):
        if json.loads((directory / "bootstrap.json").read_text())["node"]["id"] == workload:
            return directory
    raise AssertionError(f"{workload} has no runtime directory")


def held(mesh: RunningMesh, workload: str) -> tuple[bytes, bytes]:
    """The client certificate and key of a sidecar."""
    found = read_client_file(runtime(mesh, workload))
    assert found is not None
    return found


def token(mesh: RunningMesh, workload: str) -> str:
    return (mesh.state / "join" / workload / "token").read_text()


async def call(
    mesh: RunningMesh, *, bearer: str | None = None, client: tuple[bytes, bytes] | None = None, stream: str = ""
) -> str:
    """The refusal of an enrolment, or of a stream for the proxy `stream`; empty when there is none."""
    roots = (mesh.state / "join" / CLIENT / "bundle.pem").read_bytes()
    chain, key = client or (None, None)
    tls = grpc.ssl_channel_credentials(roots, key, chain)
    options = [("grpc.ssl_target_name_override", CONTROL_PLANE_NAME), ("grpc.use_local_subchannel_pool", 1)]
    metadata = () if bearer is None else (("authorization", f"Bearer {bearer}"),)
    address = mesh._xds_mtls_address if client else mesh.xds_address
    async with grpc.aio.secure_channel(address, tls, options=options) as channel:
        try:
            if not stream:
                request = encode_request(signing_request(ec.generate_private_key(ec.SECP256R1())))
                await channel.unary_unary(ENROL)(request, metadata=metadata, timeout=10)
                return ""
            ads: Any = channel.stream_stream(f"{ADS}DeltaAggregatedResources")(metadata=metadata, timeout=10)
            first = DeltaDiscoveryRequest(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")
            first.node.id = stream
            await ads.write(first.SerializeToString())
            assert await ads.read() is not grpc.aio.EOF
            ads.cancel()
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        return ""


async def connected(mesh: RunningMesh, workload: str) -> datetime | None:
    proxies = await mesh.debug("/debug/proxies")
    found = [each["connected"] for each in proxies if each["proxy"] == workload and each["connected"]]
    return datetime.fromisoformat(found[0]) if found else None


async def test_a_token_is_good_once_and_then_the_certificate_counts(mesh: RunningMesh) -> None:
    assert await exchanges(mesh, "token", "issued") == 3
    first = token(mesh, CLIENT)
    assert await call(mesh, bearer=first) == ""  # a thief, say, or a second launcher
    assert "has been used already" in await call(mesh, bearer=first)
    second = token(mesh, CLIENT)
    assert second != first
    assert "meant for another use" in await call(mesh, bearer=second, stream=CLIENT)
    assert await call(mesh, client=held(mesh, CLIENT), stream=CLIENT) == ""
    assert f"is not '{CLIENT}'" in await call(mesh, client=held(mesh, CLIENT), stream=V1)

    # The state of the control plane is on the disk: nothing is forgotten when it is killed.
    await mesh.kill_control_plane()
    await mesh.start_control_plane()
    assert "has been used already" in await call(mesh, bearer=first)
    assert token(mesh, CLIENT) == second
    await eventually(mesh.all_synced, "all sidecars to be back, with the certificates they had", within=30)
    assert await exchanges(mesh, "token", "issued") == 0

    # A sidecar that starts again finds a token that nobody has used.
    await mesh.stop_sidecar(CLIENT)
    await mesh.start_sidecar(CLIENT)
    assert await exchanges(mesh, "token", "issued") == 1
    assert sum((await http_versions(mesh, 20)).values()) == 20


async def test_no_secret_is_seen_by_others(mesh: RunningMesh) -> None:
    secret = held(mesh, CLIENT)[1].decode().splitlines()[1]
    tokens = {token(mesh, CLIENT), (mesh.state / "join" / CLIENT / "stream-token").read_text()}
    logs = list((mesh.work_dir / "logs").iterdir())
    assert len(logs) > 3
    for log in logs:
        assert not any(each in log.read_text() for each in (secret, *tokens, "PRIVATE KEY"))
    directory = runtime(mesh, CLIENT)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o600}


async def test_another_service_account_needs_another_certificate(mesh: RunningMesh) -> None:
    before = held(mesh, CLIENT)
    mesh.withdraw("access.yaml")
    text = (mesh.directory / "workloads.yaml").read_text()
    kept = [part for part in text.split("---") if "client-0" not in part]
    since = await connected(mesh, CLIENT)
    mesh.apply("workloads.yaml", "---".join([*kept, OTHER_CLIENT]))

    async def another_stream() -> bool:
        return await connected(mesh, CLIENT) not in {since, None}

    async def anew() -> bool:
        return held(mesh, CLIENT) != before

    await eventually(anew, "a certificate for the other service account", within=20)
    await eventually(another_stream, "the old stream to end, and one with the new certificate", within=20)
    assert "the credential is for" in await call(mesh, client=before, stream=CLIENT)
    assert "the credential is for" in await call(mesh, client=before)
    assert await call(mesh, client=held(mesh, CLIENT), stream=CLIENT) == ""
    await mesh.restart_control_plane()
    await eventually(mesh.all_synced, "the sidecars to be back", within=30)


class BriefMesh(RunningMesh):
    serve = (sys.executable, APPLICATIONS / "brief_serve.py", "12")


@pytest.mark.slow
async def test_renewal_every_few_seconds_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams end with the certificate that opened them, and come back with the next one."""
    monkeypatch.setattr("tests.envoy.running_mesh.RunningMesh", BriefMesh)
    async with store_mesh(tmp_path) as mesh, steady_load(mesh.port["store"]):
        assert isinstance(mesh, BriefMesh)
        seen: dict[str, set[datetime]] = {workload: set() for workload in (CLIENT, V1, V2)}

        async def three_streams_each() -> bool:
            for workload, times in seen.items():
                if (since := await connected(mesh, workload)) is not None:
                    times.add(since)
            return all(len(times) >= 3 for times in seen.values())

        await eventually(three_streams_each, "three streams of each sidecar", within=90)
        assert await exchanges(mesh, "token", "issued") == 3
        assert await exchanges(mesh, "certificate", "issued") >= 6
        assert await exchanges(mesh, "certificate", "refused") == 0
        await eventually(mesh.all_synced, "all sidecars to be in sync", within=30)
