"""Real Envoy with our secrets from files: whom it lets in as a server, and whom it believes as a client.

One Envoy plays all parts: a TLS listener, and plain listeners that forward to it over mTLS, each expecting another
server identity. It names itself `spiffe://mesh.test/ns/shop/sa/server`.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from ca.authority import Authority, create_intermediate, create_root
from ca.bundle import TrustBundle
from ca.identity import SpiffeId, TrustDomain, WorkloadIdentity
from ca.secrets import identity_secret, trust_secret
from ca.svid import X509Svid
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls_v3
from protos.envoy.service.discovery import v3_pb2 as discovery_v3

pytestmark = pytest.mark.envoy

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
NETWORK = "type.googleapis.com/envoy.extensions.filters.network"
OURS, PARTNER = TrustDomain("mesh.test"), TrustDomain("partner.test")
HOUR = timedelta(hours=1)
END = "-----END CERTIFICATE-----"
PING = b"there and back through mTLS"


def new_authority(trust_domain: TrustDomain) -> Authority:
    now = datetime.now(UTC)
    root = create_root(trust_domain, now)
    return Authority(root, create_intermediate(root, now))


def account(trust_domain: TrustDomain, name: str) -> SpiffeId:
    return WorkloadIdentity(trust_domain, "shop", name).spiffe_id


@dataclass(frozen=True)
class Mesh:
    """A running Envoy, where it listens, and the authorities around it."""

    ours: Authority
    second_root: Authority
    partner: Authority
    impostor: Authority
    secrets: Path
    server_port: int
    right_port: int
    wrong_port: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_secret(path: Path, secret: tls_v3.Secret) -> None:
    response = discovery_v3.DiscoveryResponse()
    response.resources.add().Pack(secret)
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json_format.MessageToJson(response, preserving_proto_field_name=True))
    unfinished.replace(path)


def tls_context(directory: Path, accepted: list[SpiffeId]) -> dict[str, Any]:
    def sds(name: str) -> dict[str, Any]:
        source = {"path": str(directory / f"{name}.json"), "watched_directory": {"path": str(directory)}}
        return {"name": name, "sds_config": {"path_config_source": source}}

    matchers = [{"san_type": "URI", "matcher": {"exact": str(spiffe_id)}} for spiffe_id in accepted]
    return {
        "tls_certificate_sds_secret_configs": [sds("identity")],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": matchers},
            "validation_context_sds_secret_config": sds("trust"),
        },
    }


def listener(port: int, filter_: dict[str, Any], tls: dict[str, Any] | None = None) -> dict[str, Any]:
    chain: dict[str, Any] = {"filters": [filter_]}
    if tls is not None:
        config = {"@type": f"{TLS}.DownstreamTlsContext", "require_client_certificate": True, "common_tls_context": tls}
        chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": config}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": str(port), "address": address, "filter_chains": [chain]}


def forward(cluster: str) -> dict[str, Any]:
    config = {"@type": f"{NETWORK}.tcp_proxy.v3.TcpProxy", "stat_prefix": cluster, "cluster": cluster}
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def echo() -> dict[str, Any]:
    config = {"@type": f"{NETWORK}.echo.v3.Echo"}
    return {"name": "envoy.filters.network.echo", "typed_config": config}


def cluster(name: str, port: int, tls: dict[str, Any]) -> dict[str, Any]:
    config = {"@type": f"{TLS}.UpstreamTlsContext", "common_tls_context": tls}
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    return {
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": config},
    }


def bootstrap(directory: Path, server_port: int, right_port: int, wrong_port: int) -> dict[str, Any]:
    clients = [account(OURS, "client"), account(OURS, "server"), account(PARTNER, "guest")]
    right = tls_context(directory, [account(OURS, "server")])
    wrong = tls_context(directory, [account(OURS, "somebody-else")])
    return {
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {
            "listeners": [
                listener(server_port, echo(), tls_context(directory, clients)),
                listener(right_port, forward("right")),
                listener(wrong_port, forward("wrong")),
            ],
            "clusters": [cluster("right", server_port, right), cluster("wrong", server_port, wrong)],
        },
    }


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    directory = tmp_path_factory.mktemp("envoy")
    package = importlib.util.find_spec("envoy")
    assert package is not None
    assert package.origin is not None
    started = Mesh(
        new_authority(OURS),
        new_authority(OURS),
        new_authority(PARTNER),
        new_authority(OURS),
        directory,
        free_port(),
        free_port(),
        free_port(),
    )
    roots = {
        OURS: (started.ours.root.certificate_pem, started.second_root.root.certificate_pem),
        # The impostor's root is known, but for the partner's domain: it must not speak for ours.
        PARTNER: (started.partner.root.certificate_pem, started.impostor.root.certificate_pem),
    }
    own = started.ours.issue(account(OURS, "server"), HOUR, datetime.now(UTC))
    write_secret(directory / "identity.json", identity_secret(own))
    write_secret(directory / "trust.json", trust_secret(TrustBundle(OURS, roots)))
    config = directory / "envoy.json"
    ports = (started.server_port, started.right_port, started.wrong_port)
    config.write_text(json.dumps(bootstrap(directory, *ports)))
    binary = Path(package.origin).parent / "_bin" / "envoy"
    command = [str(binary), "-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]
    with (directory / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as envoy:
        try:
            wait_until_open(started.wrong_port, envoy, directory / "log")
            yield started
        finally:
            envoy.send_signal(signal.SIGKILL)


def wait_until_open(port: int, envoy: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert envoy.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"Envoy did not listen within 20 s: {log.read_text()}")


def answer(mesh: Mesh, svid: X509Svid | None, directory: Path) -> tuple[bytes, bytes]:
    """What the TLS listener echoes to a client with `svid` (nothing when it refuses), and its certificate."""
    (directory / "roots.pem").write_bytes(mesh.ours.bundle.own_pem)
    context = ssl.create_default_context(cafile=str(directory / "roots.pem"))
    context.check_hostname = False
    if svid is not None:
        (directory / "own.pem").write_bytes(svid.certificate_chain_pem + svid.private_key_pem)
        context.load_cert_chain(directory / "own.pem")
    with socket.create_connection(("127.0.0.1", mesh.server_port), timeout=5) as raw:
        try:
            with context.wrap_socket(raw) as connection:
                connection.sendall(PING)
                return connection.recv(1000), connection.getpeercert(binary_form=True) or b""
        except (ssl.SSLError, ConnectionError):
            return b"", b""


def answer_through(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        try:
            connection.sendall(PING)
            return connection.recv(1000)
        except ConnectionError:
            return b""


@pytest.mark.parametrize(
    ("signer", "domain", "name", "admitted"),
    [
        ("ours", OURS, "client", True),
        ("second_root", OURS, "client", True),
        ("partner", PARTNER, "guest", True),
        ("ours", OURS, "clients", False),
        ("ours", OURS, "thief", False),
        ("partner", PARTNER, "client", False),
        ("impostor", OURS, "client", False),
    ],
)
def test_whom_the_server_admits(
    mesh: Mesh, tmp_path: Path, signer: str, domain: TrustDomain, name: str, *, admitted: bool
) -> None:
    authority: Authority = getattr(mesh, signer)
    svid = authority.issue(account(domain, name), HOUR, datetime.now(UTC))
    assert answer(mesh, svid, tmp_path)[0] == (PING if admitted else b"")


def test_no_certificate_and_an_expired_one(mesh: Mesh, tmp_path: Path) -> None:
    assert answer(mesh, None, tmp_path)[0] == b""
    old = mesh.ours.issue(account(OURS, "client"), timedelta(minutes=1), datetime.now(UTC) - timedelta(minutes=2))
    assert answer(mesh, old, tmp_path)[0] == b""


def test_whom_the_client_believes(mesh: Mesh) -> None:
    assert answer_through(mesh.right_port) == PING
    assert answer_through(mesh.wrong_port) == b""


def test_a_renewed_identity_is_presented_to_new_connections(mesh: Mesh, tmp_path: Path) -> None:
    client = mesh.ours.issue(account(OURS, "client"), HOUR, datetime.now(UTC))
    before = answer(mesh, client, tmp_path)[1]
    renewed = mesh.ours.issue(account(OURS, "server"), HOUR, datetime.now(UTC))
    write_secret(mesh.secrets / "identity.json", identity_secret(renewed))
    expected = ssl.PEM_cert_to_DER_cert(renewed.certificate_chain_pem.decode().partition(END)[0] + END)
    deadline = time.monotonic() + 10
    while (after := answer(mesh, client, tmp_path)[1]) != expected:
        assert after == before
        assert time.monotonic() < deadline
        time.sleep(0.02)
