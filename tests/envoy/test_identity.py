"""Identities in a running mesh: each end checks the other's SPIFFE ID, each proxy has a key of its own that nobody
else sees, and a proxy is only what it can prove to be.
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.demo.local_mesh import TULLE
from deploy.demo.waiting import eventually
from deploy.sidecar.envoy import find_envoy
from tests.envoy.applications.raw_http import RawHttpServer
from tests.envoy.certificates import MESH_ALPN, certificate_of, nameless_client, own_certificate, spiffe_id
from tests.envoy.explicit_mesh import ExplicitMesh, explicit_mesh
from tests.envoy.http1 import Message, read_head

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

OBJECTS = """
apiVersion: tulle.dev/v1alpha1
kind: MeshConfig
metadata: {name: default}
spec:
  trafficPolicy: permissive
---
apiVersion: v1
kind: Service
metadata: {name: bank, namespace: town}
spec:
  selector: {app: bank}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: vault, namespace: town}
spec:
  selector: {app: vault}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: bank-0, namespace: town, labels: {app: bank}}
spec:
  serviceAccountName: bank
  address: 127.0.0.1
  ports: [{name: http, port: $bank_0, appPort: $application}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: bank-1, namespace: town, labels: {app: bank}}
spec:
  serviceAccountName: bank
  address: 127.0.0.1
  ports: [{name: http, port: $bank_1, appPort: $application}]
---
# Its sidecar is never started: tests put somebody else in its place.
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: vault-0, namespace: town, labels: {app: vault}}
spec:
  serviceAccountName: vault
  address: 127.0.0.1
  ports: [{name: http, port: $vault, appPort: $application}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: client-0, namespace: town}
spec:
  serviceAccountName: client
  address: 127.0.0.1
  upstreams:
    - {service: bank, port: 80, localPort: $to_bank}
    - {service: vault, port: 80, localPort: $to_vault}
---
# For the Envoy that is started from a printed bootstrap.
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: bare-0, namespace: town}
spec:
  serviceAccountName: client
  address: 127.0.0.1
  upstreams:
    - {service: bank, port: 80, localPort: $bare_to_bank}
"""
BANKS, CLIENT = ["town/bank-0", "town/bank-1"], "town/client-0"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ExplicitMesh]:
    async with (
        explicit_mesh(tmp_path_factory.mktemp("identity"), OBJECTS, [*BANKS, CLIENT]) as running,
        RawHttpServer().serving(running.ports["application"]),
    ):
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_rejected(running: ExplicitMesh) -> AsyncIterator[None]:
    yield
    await running.assert_nothing_rejected()


async def test_a_leaf_certificate(running: ExplicitMesh) -> None:
    """SPIFFE X509-SVID, sections 2 and 4: one URI SAN, no CA, a critical keyUsage that signs nothing but handshakes."""
    leaf = await certificate_of(running.ports["bank_0"])
    assert spiffe_id(leaf) == "spiffe://cluster.local/ns/town/sa/bank"
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not usage.value.crl_sign
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    now = datetime.now(UTC)
    assert leaf.not_valid_before_utc < now < leaf.not_valid_after_utc < now + timedelta(hours=25)


async def test_each_proxy_has_a_key_of_its_own(running: ExplicitMesh) -> None:
    """Two replicas of one identity share everything but that."""
    leaves = [await certificate_of(running.ports[name]) for name in ("bank_0", "bank_1")]
    keys = {
        leaf.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        for leaf in leaves
    }
    assert len(keys) == 2
    assert len({leaf.serial_number for leaf in leaves}) == 2
    workloads = (await running.mesh.debug("/debug/mesh"))["workloads"]
    assert len({workloads[bank]["identity"] for bank in BANKS}) == 1


@pytest.mark.parametrize(("workload", "account"), [(CLIENT, "client"), (BANKS[0], "bank")])
async def test_envoy_holds_the_certificate_and_the_root(running: ExplicitMesh, workload: str, account: str) -> None:
    held = json.loads(await running.mesh.admin(workload, "/certs"))["certificates"]
    own = [chain["cert_chain"][0] for chain in held if chain.get("cert_chain")]
    # One for the mesh, one for the control plane.
    assert {name["uri"] for each in own for name in each["subject_alt_names"]} == {
        f"spiffe://cluster.local/ns/town/sa/{account}",
        f"spiffe://cluster.local/tulle/proxy/{workload}/sa/{account}",
    }
    for each in own:
        expiry = datetime.fromisoformat(each["expiration_time"])
        assert timedelta(hours=20) < expiry - datetime.now(UTC) <= timedelta(hours=24)


@asynccontextmanager
async def in_the_place_of_the_vault(running: ExplicitMesh, port: int) -> AsyncIterator[None]:
    """Leads connections to the vault's address to another port: as if somebody had taken over its address."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, other_writer), copy(other_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", running.ports["vault"])
    try:
        yield
    finally:
        server.close()


async def test_a_server_with_another_spiffe_id_is_refused(running: ExplicitMesh) -> None:
    """Its certificate is good, and even the mesh's: but it is the bank's, and the vault was called."""
    counter = "cluster.town/vault/80.ssl.fail_verify_san"
    before = (await running.stats(CLIENT, f"^{counter}$"))[counter]
    async with in_the_place_of_the_vault(running, running.ports["bank_0"]):
        assert (await running.get("to_vault"))[0] == 503
    assert (await running.stats(CLIENT, f"^{counter}$"))[counter] > before
    assert (await running.get("to_bank"))[0] == 200


async def test_a_server_with_a_certificate_of_its_own_making_is_refused(running: ExplicitMesh, tmp_path: Path) -> None:
    """It says the right SPIFFE ID, but nobody of the mesh says so."""
    impostor = own_certificate(tmp_path, "spiffe://cluster.local/ns/town/sa/vault").server([MESH_ALPN])
    server = RawHttpServer("impostor")
    counter = "cluster.town/vault/80.ssl.fail_verify_error"
    before = (await running.stats(CLIENT, f"^{counter}$"))[counter]
    async with server.serving(running.ports["vault"], tls=impostor):
        assert (await running.get("to_vault"))[0] == 503
    assert server.saw == []
    assert (await running.stats(CLIENT, f"^{counter}$"))[counter] > before


@pytest.mark.parametrize("uri", ["", "spiffe://cluster.local/ns/town/sa/client"])
async def test_a_client_without_a_certificate_of_the_mesh_is_refused(
    running: ExplicitMesh, tmp_path: Path, uri: str
) -> None:
    certificate = own_certificate(tmp_path, uri) if uri else None
    context = nameless_client(alpn=MESH_ALPN, certificate=certificate)
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        # In TLS 1.3 a client learns only from its first read that the server does not take its certificate.
        await request_over_tls(running.ports["bank_0"], context)


async def request_over_tls(port: int, context: ssl.SSLContext) -> Message:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: bank\r\n\r\n")
        return await asyncio.wait_for(read_head(reader), 10)
    finally:
        writer.transport.abort()


async def test_a_sidecar_cannot_be_another_workload(running: ExplicitMesh) -> None:
    """With the join directory of one workload, it asks to be another: it is told, and nobody else notices."""
    mesh = running.mesh
    join = mesh.state / "join" / CLIENT
    command: list[str | Path] = [*TULLE, "sidecar", BANKS[0], "--join", join, "--xds-address", mesh.xds_address]
    impostor = await mesh.processes.start("impostor", command, stop_with=signal.SIGINT)

    async def ended() -> bool:
        return not impostor.running

    await eventually(ended, "the impostor to give up", within=30)
    assert f"Error: the join directory {join} is that of {CLIENT}, not of {BANKS[0]}" in impostor.log.read_text()
    assert await mesh.processes.stop(impostor) == 1
    await assert_unharmed(running)


async def test_an_envoy_cannot_be_another_workload(running: ExplicitMesh, tmp_path: Path) -> None:
    """The same without a launcher that would say so: refused, and both sides say why."""
    mesh = running.mesh
    admin, metrics = mesh.ports.take(), mesh.ports.take()
    join = mesh.state / "join" / CLIENT
    command: list[str | Path] = [*TULLE, "bootstrap", BANKS[0], "--join", join, "--out", tmp_path / "sds"]
    command += ["--xds-address", mesh.xds_address, "--admin-port", str(admin), "--metrics-port", str(metrics)]
    config = tmp_path / "bootstrap.json"
    config.write_bytes(await mesh.run(BANKS[0], command))
    envoy: list[str | Path] = [find_envoy().path, "-c", config, "--use-dynamic-base-id", "-l", "warn"]
    reason = "node id 'town/bank-0' is not 'town/client-0', which the credential belongs to"
    impostor = await mesh.processes.start("impostor-envoy", envoy)

    async def refused() -> bool:
        return reason in impostor.log.read_text()

    await eventually(refused, f"the reason in {impostor.log}", within=30)
    assert reason in impostor.log.with_name("control-plane.log").read_text()
    await mesh.processes.stop(impostor)
    await assert_unharmed(running)


async def assert_unharmed(running: ExplicitMesh) -> None:
    proxies = {each["proxy"]: each for each in await running.mesh.debug("/debug/proxies")}
    for workload, account in ((BANKS[0], "bank"), (CLIENT, "client")):
        assert proxies[workload]["synced"]
        assert proxies[workload]["subject"] == f"spiffe://cluster.local/ns/town/sa/{account}"
    assert (await running.get("to_bank"))[0] == 200


async def test_a_bare_envoy_joins_with_a_printed_bootstrap(running: ExplicitMesh, tmp_path: Path) -> None:
    mesh, workload = running.mesh, "town/bare-0"
    admin, metrics = mesh.ports.take(), mesh.ports.take()
    join = mesh.state / "join" / workload
    command: list[str | Path] = [*TULLE, "bootstrap", workload, "--join", join, "--out", tmp_path / "sds"]
    command += ["--xds-address", mesh.xds_address, "--admin-port", str(admin), "--metrics-port", str(metrics)]
    config = tmp_path / "bootstrap.json"
    config.write_bytes(await mesh.run(workload, command))
    envoy: list[str | Path] = [
        find_envoy().path,
        "-c",
        config,
        "--drain-time-s",
        "60",
        "--use-dynamic-base-id",
        "-l",
        "warn",
    ]
    bare = await mesh.processes.start("bare-envoy", envoy)

    async def joined() -> bool:
        mesh.processes.require_running()
        return await mesh.all_synced(workload)

    try:
        await eventually(joined, "the bare Envoy to be in sync", within=30)
        saw = await running.seen("bare_to_bank")
        caller = "URI=spiffe://cluster.local/ns/town/sa/client"
        assert caller in saw["headers"]["x-forwarded-client-cert"].split(";")
        assert (await mesh.debug(f"/debug/proxies/{workload}"))["nacks"] == 0
    finally:
        await mesh.processes.stop(bare)


async def test_secrets_are_nowhere_to_be_read(running: ExplicitMesh) -> None:
    """Neither private keys nor tokens: not in the debug pages, not in Envoy's dumps, not in any log."""
    mesh = running.mesh
    texts = {}
    for proxy in [each["proxy"] for each in await mesh.debug("/debug/proxies")]:
        texts[proxy] = json.dumps(await mesh.debug(f"/debug/proxies/{proxy}?config=1"))
        assert '"identity"' in texts[proxy] or proxy not in mesh.sidecars
    for path in ("/debug/mesh", "/debug/proxies"):
        texts[path] = json.dumps(await mesh.debug(path))
    async with running.http.get(f"http://{mesh.debug_address}/metrics") as answer:
        texts["/metrics"] = await answer.text()
    for workload in mesh.sidecars:
        texts[f"config_dump of {workload}"] = await mesh.admin(workload, "/config_dump?include_eds")
        texts[f"metrics of {workload}"] = await mesh.metrics(workload)
    logs = {str(log): log.read_text(errors="replace") for log in mesh.work_dir.rglob("*.log")}
    assert len(logs) >= 4
    tokens = [path.read_text().strip() for path in mesh.state.glob("join/*/*/*token")]
    assert len(tokens) == 2 * 5
    for where, text in {**texts, **logs}.items():
        assert "PRIVATE KEY" not in text, where
        # The signature is what makes a token one.
        assert not [token for token in tokens if token.rpartition(".")[2] in text], where
