"""`tulle ca rotate` with real sidecars: it ends, nobody trusts the old root any more, and crashes only delay it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ca.authority import create_root
from ca.identity import TrustDomain
from ca.rotation import Step
from ca.state import load_or_create
from deploy.demo.local_mesh import TULLE
from deploy.demo.waiting import eventually
from tests.envoy.applications.raw_http import RawHttpServer
from tests.envoy.explicit_mesh import ExplicitMesh, explicit_mesh

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command"),
]

OBJECTS = """
apiVersion: tulle.dev/v1alpha1
kind: MeshConfig
metadata: {name: default}
spec: {trafficPolicy: permissive}
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
---
# It serves nothing and calls nobody, so that its Envoy asks for no certificate.
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: idle-0, namespace: web}
spec: {serviceAccountName: idle, address: 127.0.0.1, capture: explicit}
"""
SERVER, CLIENT, IDLE = WORKLOADS = ["web/server-0", "web/client-0", "web/idle-0"]
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[ExplicitMesh]:
    async with (
        explicit_mesh(tmp_path, OBJECTS, WORKLOADS) as mesh,
        RawHttpServer().serving(mesh.ports["http_app"]),
    ):
        yield mesh


async def tulle(*arguments: str | Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *TULLE, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


async def printed(running: ExplicitMesh, *command: str) -> str:
    """What `tulle ca` prints; it must succeed."""
    process = await tulle("ca", *command, "--state", running.mesh.state)
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


async def status(running: ExplicitMesh) -> dict[str, Any]:
    return dict(json.loads(await printed(running, "status", "-o", "json")))


def presented_chain(port: int) -> list[bytes]:
    """The chain that a sidecar presents, leaf first, as PEM: as openssl sees it."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-alpn", "tulle", "-showcerts"]
    shown = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False).stdout
    chain = _CERTIFICATE.findall(shown)
    assert len(chain) >= 2, shown.decode(errors="replace")
    return chain


def verifies(folder: Path, chain: list[bytes], roots: bytes) -> bool:
    """Whether `openssl verify` accepts a chain below `roots`."""
    for name, content in (("leaf", chain[0]), ("intermediates", b"".join(chain[1:])), ("roots", roots)):
        (folder / f"{name}.pem").write_bytes(content)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-no-CApath", "-no-CAstore"]
    command += ["-CAfile", "roots.pem", "-untrusted", "intermediates.pem", "leaf.pem"]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=20, check=False).returncode == 0


async def trusted_roots(running: ExplicitMesh, workload: str) -> set[bytes] | None:
    """The roots in the trust secret that an Envoy holds; None when it holds none."""
    dump = json.loads(await running.mesh.admin(workload, "/config_dump?resource=dynamic_active_secrets"))
    for each in dump.get("configs", []):
        if each["name"] == "trust":
            validator = each["secret"]["validation_context"]["custom_validator_config"]["typed_config"]
            bundles = [domain["trust_bundle"]["inline_bytes"] for domain in validator["trust_domains"]]
            return {root for bundle in bundles for root in _CERTIFICATE.findall(base64.b64decode(bundle))}
    return None


async def test_rotate_and_watch(running: ExplicitMesh, tmp_path: Path) -> None:
    """The whole of it, as a person does it."""
    old_root = (await printed(running, "inspect", "-o", "pem")).encode()
    old_chain = presented_chain(running.ports["http"])
    assert verifies(tmp_path, old_chain, old_root)
    assert await trusted_roots(running, SERVER) == {old_root}

    watching = await tulle("ca", "rotate", "--watch", "--state", running.mesh.state)
    output = (await asyncio.wait_for(watching.communicate(), 60))[0].decode()
    assert watching.returncode == 0, output
    assert "is gone" in output.splitlines()[-1]

    new_root = (await printed(running, "inspect", "-o", "pem")).encode()
    assert new_root != old_root
    new_chain = presented_chain(running.ports["http"])
    assert verifies(tmp_path, new_chain, new_root)
    assert not verifies(tmp_path, new_chain, old_root)
    assert not verifies(tmp_path, old_chain, new_root)
    await running.synced()
    for workload in WORKLOADS:
        assert await trusted_roots(running, workload) in ({new_root}, None), workload
    assert await trusted_roots(running, CLIENT) == {new_root}
    assert await trusted_roots(running, IDLE) is None, "it was to show that such a proxy holds up nothing"
    assert (await running.get("to_http"))[0] == 200
    assert {path.read_bytes() for path in running.mesh.state.glob("join/*/*/bundle.pem")} == {new_root}
    await running.assert_nothing_rejected()
    # Sidecars reach the control plane by its new certificate, with new ones of their own.
    await running.mesh.restart_control_plane()
    await eventually(running.mesh.all_synced, "all sidecars to be back", within=30)

    async def all_counted() -> bool:
        return bool((await status(running))["proxies"]["connected"] == len(WORKLOADS))

    await eventually(all_counted, "tulle ca status to count them")


@pytest.mark.timeout(240)
async def test_the_control_plane_dies_in_each_phase(running: ExplicitMesh) -> None:
    """An absent sidecar, whose certificate is still good, holds the rotation in each phase for as long as we need."""
    mesh = running.mesh
    old_root = (await printed(running, "inspect", "-o", "pem")).encode()
    await mesh.stop_sidecar(CLIENT)
    watching = await tulle("ca", "rotate", "--watch", "--state", mesh.state)

    async def waits_for_the_absent(phase: str, count: str) -> None:
        async def waiting() -> bool:
            seen = await status(running)
            waits = [(each["reason"], each["proxies"]) for each in seen["waits"]]
            present = seen["phase"] == phase and (seen["proxies"] or {}).get(count) == 2
            return present and waits == [("absent", [CLIENT])]

        await eventually(waiting, f"the phase {phase} to wait for {CLIENT} alone", within=40)

    await waits_for_the_absent("prepared", "trusting")
    both = await trusted_roots(running, SERVER)
    assert both is not None
    assert len(both) == 2
    assert old_root in both

    # Dead in the phase, and back: who has acknowledged is found out anew.
    await mesh.kill_control_plane()
    assert (await status(running))["control_plane"] == "not running"
    await mesh.start_control_plane()
    await waits_for_the_absent("prepared", "trusting")

    # Dead just after the step is committed, before anybody has heard of it.
    await mesh.kill_control_plane()
    advance(mesh.state, Step.ACTIVATE)
    await mesh.start_control_plane()
    await waits_for_the_absent("activated", "moved")
    await mesh.kill_control_plane()
    await mesh.start_control_plane()
    await waits_for_the_absent("activated", "moved")
    assert watching.returncode is None

    await mesh.start_sidecar(CLIENT)
    output = (await asyncio.wait_for(watching.communicate(), 60))[0].decode()
    assert watching.returncode == 0, output
    assert "waiting for a control plane" in output
    assert (await status(running))["phase"] == "stable"
    await mesh.kill_control_plane()
    await mesh.start_control_plane()
    await eventually(mesh.all_synced, "all sidecars to be back", within=30)
    new_root = (await printed(running, "inspect", "-o", "pem")).encode()
    assert await trusted_roots(running, SERVER) == await trusted_roots(running, CLIENT) == {new_root}
    assert (await running.get("to_http"))[0] == 200

    # And once more, from a start that finds both roots and nobody who knows of the new one.
    await mesh.kill_control_plane()
    advance(mesh.state, Step.BEGIN)
    await mesh.start_control_plane()
    watching = await tulle("ca", "rotate", "--watch", "--state", mesh.state)
    assert b"under way already" in (await asyncio.wait_for(watching.communicate(), 60))[0]
    assert watching.returncode == 0
    assert await trusted_roots(running, SERVER) == {(await printed(running, "inspect", "-o", "pem")).encode()}
    assert (await running.get("to_http"))[0] == 200
    await running.assert_nothing_rejected()


async def test_a_foreign_root_is_believed_for_its_own_domain_only(running: ExplicitMesh) -> None:
    """And nothing else is sent for it: certificates stay as they are."""
    chain = presented_chain(running.ports["http"])
    foreign = create_root(TrustDomain("west.example"), datetime.now(UTC)).certificate_pem.decode()
    entry = f"{{trustDomain: west.example, roots: {json.dumps(foreign)}}}"
    spec = f"spec: {{trafficPolicy: permissive, federation: [{entry}]}}"
    running.mesh.apply("objects.yaml", OBJECTS.replace("spec: {trafficPolicy: permissive}", spec))

    async def domains(workload: str) -> dict[str, bytes]:
        dump = json.loads(await running.mesh.admin(workload, "/config_dump?resource=dynamic_active_secrets"))
        [trust] = [each["secret"] for each in dump["configs"] if each["name"] == "trust"]
        found = trust["validation_context"]["custom_validator_config"]["typed_config"]["trust_domains"]
        return {each["name"]: base64.b64decode(each["trust_bundle"]["inline_bytes"]) for each in found}

    async def believed() -> bool:
        return {"west.example", "cluster.local"} == set(await domains(SERVER)) == set(await domains(CLIENT))

    await eventually(believed, "the foreign root to be believed")
    assert (await domains(SERVER))["west.example"] == foreign.encode()
    assert foreign.encode() not in (await domains(SERVER))["cluster.local"]
    assert presented_chain(running.ports["http"]) == chain
    await running.assert_nothing_rejected()
    running.mesh.apply("objects.yaml", OBJECTS)

    async def believed_no_more() -> bool:
        return set(await domains(SERVER)) == {"cluster.local"}

    await eventually(believed_no_more, "the foreign root to go")
    assert (await running.get("to_http"))[0] == 200


def advance(state_dir: Path, step: Step) -> None:
    """Commit a step, as a control plane that dies at once."""
    with load_or_create(state_dir, TrustDomain("cluster.local"), datetime.now(UTC)) as state:
        state.advance(step, datetime.now(UTC))
