"""How a sidecar gets its certificates, with a real Envoy and a control plane that knows what was asked of it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography import x509

from ca.authority import Authority
from ca.identity import SpiffeId, WorkloadIdentity, proxy_id
from deploy.sidecar.client_certificate import ClientCertificate, named_by
from deploy.sidecar.join import JoinMaterial, read_client_file, write_client_file
from tests.unit.sidecar.conftest import Sidecar
from tests.unit.sidecar.control_plane import TRUST_DOMAIN, ControlPlane, new_authority, write_join_directory
from tests.unit.sidecar.waiting import eventually, process_runs

Start = Callable[..., Sidecar]
PROXY = "spiffe://test.mesh/tulle/proxy/bookstore/v1/sa/v1"
OTHER = "spiffe://test.mesh/tulle/proxy/bookstore/v1/sa/other"
envoy = pytest.mark.envoy


def token_for(account: str) -> str:
    return jwt.encode({"sub": f"spiffe://test.mesh/ns/bookstore/sa/{account}"}, "k" * 32, algorithm="HS256")


def certificate(authority: Authority, account: str, lifetime: timedelta = timedelta(hours=1)) -> ClientCertificate:
    now = datetime.now(UTC)
    identity = proxy_id(WorkloadIdentity(TRUST_DOMAIN, "bookstore", account), "v1")
    return ClientCertificate(authority.issue(identity, lifetime, now).certificate_chain_pem, now)


@envoy
def test_renews_by_certificate_and_uses_what_it_gets(start: Start, join: Path, authority: Authority) -> None:
    with ControlPlane(authority, lifetime=timedelta(seconds=6)) as server:
        sidecar = start("--join", join, "--xds-address", f"127.0.0.1:{server.port}").wait_ready()
        before = (sidecar.runtime / "client.json").stat()
        eventually(lambda: len(server.renewals) >= 2)
        assert server.tokens == ["token-1"]
        assert server.renewals[0] == PROXY
        assert len(server.clients) == 1, "the stream goes on meanwhile"
        after = (sidecar.runtime / "client.json").stat()
        assert after.st_ino != before.st_ino  # by rename
        assert stat.S_IMODE(after.st_mode) == 0o600
        ports = {"port": server.port, "mtls_port": server.mtls_port}
        held = read_client_file(sidecar.runtime)
        assert held is not None
        server.stop()
        with ControlPlane(authority, lifetime=timedelta(seconds=6), **ports) as successor:
            eventually(lambda: successor.clients == [PROXY])
            assert successor.certificates[0] not in server.certificates
        assert "warning" not in sidecar.output


@envoy
def test_the_token_once_the_certificate_is_refused(start: Start, join: Path, authority: Authority) -> None:
    write_join_directory(join.parents[2], token_for("v1"), authority)
    with ControlPlane(authority) as server:
        sidecar = start("--join", join, "--xds-address", f"127.0.0.1:{server.port}").wait_ready()
        server.account = "other"
        write_join_directory(join.parents[2], token_for("other"), authority)
        eventually(lambda: token_for("other") in server.tokens)
        assert server.renewals == [PROXY]
        eventually(lambda: certificate_names((read_client_file(sidecar.runtime) or (b"",))[0]) == OTHER)
        assert "enrols anew: its certificate is for spiffe://test.mesh/ns/bookstore/sa/v1" in sidecar.output


@envoy
def test_a_used_token_is_told_once_and_the_next_one_taken(
    start: Start, join: Path, control_plane: ControlPlane, authority: Authority
) -> None:
    control_plane.spent.append("token-1")
    sidecar = start("--join", join, "--xds-address", f"127.0.0.1:{control_plane.port}")
    eventually(lambda: len(control_plane.tokens) >= 3)
    line = f"sidecar bookstore/v1 cannot join the mesh at 127.0.0.1:{control_plane.port}: it has been used already\n"
    assert sidecar.output == line
    write_join_directory(join.parents[2], "token-2", authority)
    sidecar.wait_ready()
    assert control_plane.tokens[-1] == "token-2"


@envoy
def test_the_wrong_join_directory(start: Start, join: Path, authority: Authority) -> None:
    with ControlPlane(authority) as server:
        sidecar = start("--join", join, "--xds-address", f"127.0.0.1:{server.port}", name="bookstore/v2")
        eventually(lambda: "is that of bookstore/v1, not of bookstore/v2" in sidecar.output)
        assert not list(sidecar.runtime.glob("client.json"))


@envoy
def test_no_process_of_it_outlives_the_launcher(start: Start, join: Path) -> None:
    sidecar = start("--join", join, "--xds-address", "127.0.0.1:1")
    child = eventually(lambda: children(sidecar.process.pid))[0]
    command = Path(f"/proc/{child}/cmdline").read_text() + Path(f"/proc/{child}/environ").read_text()
    assert "token-1" not in command
    assert "PRIVATE" not in command
    sidecar.process.kill()
    eventually(lambda: not process_runs(child), within=5)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found if "enrol" in Path(f"/proc/{each}/cmdline").read_text()]


def certificate_names(chain: bytes) -> str:
    [name] = x509.load_pem_x509_certificate(chain).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return str(name.value)


def test_when_a_certificate_is_renewed(authority: Authority) -> None:
    held = certificate(authority, "v1")
    hour = timedelta(hours=1)
    assert abs(held.renew_at(0) - held.received - hour * 7 / 12) < timedelta(seconds=2)
    assert abs(held.renew_at(0.999999) - held.received - hour * 9 / 12) < timedelta(seconds=2)


def test_when_a_certificate_is_of_no_use(authority: Authority) -> None:
    now = datetime.now(UTC)
    roots = authority.bundle.own_pem.decode()
    held = certificate(authority, "v1")
    assert held.useless_reason(JoinMaterial(token_for("v1"), roots), now) is None
    assert held.useless_reason(JoinMaterial("no token of ours", roots), now) is None
    both = roots + new_authority().bundle.own_pem.decode()
    assert held.useless_reason(JoinMaterial(token_for("v1"), both), now) is None
    assert "and the workload is" in str(held.useless_reason(JoinMaterial(token_for("other"), roots), now))
    fresh = new_authority().bundle.own_pem.decode()
    assert "no valid path" in str(held.useless_reason(JoinMaterial(token_for("v1"), fresh), now))
    assert "expired" in str(held.useless_reason(JoinMaterial(token_for("v1"), roots), now + timedelta(hours=2)))


def test_a_certificate_of_the_data_plane_is_none(authority: Authority) -> None:
    now = datetime.now(UTC)
    leaf = authority.issue(SpiffeId(TRUST_DOMAIN, "/ns/bookstore/sa/v1"), timedelta(hours=1), now)
    held = ClientCertificate(leaf.certificate_chain_pem, now)
    material = JoinMaterial(token_for("v1"), authority.bundle.own_pem.decode())
    assert "does not name a proxy" in str(held.useless_reason(material, now))


@pytest.mark.parametrize(
    "token", ["", "a", "a.b.c", "..", "a.W10.c", "a.eyJzdWIiOjd9.c", "a.\xff.c", "a." + "Ww" * 9999]
)
def test_a_token_that_names_nobody(token: str) -> None:
    assert named_by(token) is None


def test_the_client_file_is_private_and_comes_back(tmp_path: Path) -> None:
    assert read_client_file(tmp_path) is None
    write_client_file(tmp_path, b"CHAIN\n", b"KEY\n")
    assert read_client_file(tmp_path) == (b"CHAIN\n", b"KEY\n")
    assert stat.S_IMODE((tmp_path / "client.json").stat().st_mode) == 0o600
    [secret] = json.loads((tmp_path / "client.json").read_text())["resources"]
    assert secret["name"] == "client"
