"""`tulle sidecar` with a real Envoy and a real control plane: from start to a clean end."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ca.authority import Authority
from ca.identity import SpiffeId, TrustDomain
from tests.unit.sidecar.conftest import Sidecar
from tests.unit.sidecar.control_plane import TRUST_DOMAIN, ControlPlane, new_authority, write_join_directory
from tests.unit.sidecar.mesh_resources import service
from tests.unit.sidecar.waiting import eventually, free_ports, process_runs, request

pytestmark = pytest.mark.envoy

Start = Callable[..., Sidecar]


PROXY = "spiffe://test.mesh/tulle/proxy/bookstore/v1/sa/v1"


def test_joins_with_its_token_and_says_when_it_is_ready(running: Sidecar, control_plane: ControlPlane) -> None:
    assert control_plane.tokens == ["token-1"]
    assert control_plane.clients == [PROXY]
    assert set(control_plane.node_ids) == {"bookstore/v1"}
    assert control_plane.rejections == []
    assert request(running.admin_port, "/ready") == (200, "LIVE\n")
    expected = (
        f"sidecar bookstore/v1 ready: admin http://127.0.0.1:{running.admin_port} "
        f"metrics http://127.0.0.1:{running.metrics_port}/metrics\n"
    )
    assert running.output == expected  # and not a single warning of Envoy


def test_private_files(running: Sidecar) -> None:
    assert stat.S_IMODE(running.runtime.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in running.runtime.iterdir()} == {0o600}
    assert {file.name for file in running.runtime.iterdir()} == {"bootstrap.json", "client.json", "trust.json"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_end_leaves_nothing(running: Sidecar, number: signal.Signals) -> None:
    envoy = running.envoy_pid
    running.process.send_signal(number)
    assert running.process.wait(10) == 0
    assert not process_runs(envoy)
    assert list(running.temporary.iterdir()) == []
    assert not running.ports_file.exists()


@pytest.fixture
def serving(start: Start, join: Path, authority: Authority) -> Iterator[tuple[Sidecar, int]]:
    """A sidecar that would drain for an hour, and the port of a listener with nothing alive behind it."""
    port, upstream = free_ports()
    with ControlPlane(authority, service(port, upstream)) as server:
        address = f"127.0.0.1:{server.port}"
        yield start("--join", join, "--xds-address", address, "--drain-seconds", 3600).wait_ready(), port


def test_sigterm_waits_for_open_connections(serving: tuple[Sidecar, int]) -> None:
    sidecar, port = serving
    with socket.create_connection(("127.0.0.1", port)) as client:
        wait_connected(sidecar, port)
        sidecar.process.send_signal(signal.SIGTERM)
        eventually(lambda: drains(sidecar))
        assert request(port, "/")[0] == 503  # of a new connection: Envoy drains, yet serves
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"connection: close" in client.recv(4096)
        assert sidecar.process.poll() is None
    assert sidecar.process.wait(5) == 0


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,)])
def test_a_second_signal_or_sigint_does_not_wait(
    serving: tuple[Sidecar, int], signals: tuple[signal.Signals, ...]
) -> None:
    sidecar, port = serving
    with socket.create_connection(("127.0.0.1", port)):
        wait_connected(sidecar, port)
        sidecar.process.send_signal(signals[0])
        if len(signals) == 2:
            eventually(lambda: drains(sidecar))
            sidecar.process.send_signal(signals[1])
        assert sidecar.process.wait(5) == 0


def test_exit_code_is_envoys(running: Sidecar) -> None:
    os.kill(running.envoy_pid, signal.SIGKILL)
    assert running.process.wait(10) == 128 + signal.SIGKILL
    assert list(running.temporary.iterdir()) == []


def test_kill_of_the_launcher_leaves_no_envoy(running: Sidecar) -> None:
    envoy = running.envoy_pid
    running.process.kill()
    eventually(lambda: not process_runs(envoy), within=5)


def test_renewed_roots_are_followed_and_old_ones_forgotten(
    running: Sidecar, join: Path, control_plane: ControlPlane
) -> None:
    fresh = new_authority()
    write_join_directory(join.parents[2], "token-2", fresh)
    control_plane.stop()
    ports = {"port": control_plane.port, "mtls_port": control_plane.mtls_port}
    with ControlPlane(fresh, spent=["token-1"], **ports) as successor:
        eventually(lambda: successor.clients == [PROXY])
        assert "token-2" in successor.tokens  # its certificate was of the old root


def test_a_bundle_that_cannot_be_used_is_reported_and_ignored(running: Sidecar, join: Path) -> None:
    trust = (running.runtime / "trust.json").read_text()
    (join / "bundle.pem").write_text("not a certificate")
    eventually(lambda: "the sidecar goes on with" in running.output)
    foreign = new_authority(TrustDomain("other.mesh"))
    write_join_directory(join.parents[2], "token-1", foreign)
    eventually(lambda: "of trust domain other.mesh, no longer test.mesh" in running.output)
    assert (running.runtime / "trust.json").read_text() == trust
    assert running.process.poll() is None


def test_a_workload_cannot_pose_as_the_control_plane(start: Start, join: Path, authority: Authority) -> None:
    impostor = SpiffeId(TRUST_DOMAIN, "/ns/bookstore/sa/bookthief")
    with ControlPlane(authority, identity=impostor, names=()) as server:
        sidecar = start("--join", join, "--xds-address", f"127.0.0.1:{server.port}")
        line = f"sidecar bookstore/v1 cannot join the mesh at 127.0.0.1:{server.port}: "
        eventually(lambda: line in sidecar.output)
        assert server.tokens == []  # the token was not shown
        assert not sidecar.ports_file.exists()


def test_envoy_knows_the_control_plane_by_its_spiffe_id(start: Start, join: Path, authority: Authority) -> None:
    """Even if its certificate had the name that enrolment looks for."""
    impostor = SpiffeId(TRUST_DOMAIN, "/ns/bookstore/sa/bookthief")
    with ControlPlane(authority, identity=impostor) as server:
        admin, metrics = free_ports()
        address = f"127.0.0.1:{server.port}"
        sidecar = start("--join", join, "--xds-address", address, "--admin-port", admin, "--metrics-port", metrics)
        eventually(lambda: int(stats(admin).get("cluster.xds.ssl.fail_verify_san", "0")) >= 2)
        assert server.clients == []
        assert not sidecar.ports_file.exists()


def test_says_when_no_control_plane_answers_and_can_still_be_ended(start: Start, join: Path) -> None:
    nobody, _ = free_ports()
    sidecar = start("--join", join, "--xds-address", f"127.0.0.1:{nobody}")
    line = f"sidecar bookstore/v1 cannot join the mesh at 127.0.0.1:{nobody}: "
    eventually(lambda: line in sidecar.output)
    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.process.wait(5) == 0


def test_ports_may_be_chosen_and_must_be_free(start: Start, join: Path, control_plane: ControlPlane) -> None:
    admin, metrics = free_ports()
    address = f"127.0.0.1:{control_plane.port}"
    ports = ("--admin-port", admin, "--metrics-port", metrics)
    sidecar = start("--join", join, "--xds-address", address, *ports).wait_ready()
    assert json.loads(sidecar.ports_file.read_text()) == {"admin": admin, "metrics": metrics}
    second = start("--join", join, "--xds-address", address, *ports)
    assert second.process.wait(10) == 1
    assert second.output == f"Error: the admin port 127.0.0.1:{admin} cannot be used: Address already in use\n"


def wait_connected(sidecar: Sidecar, port: int) -> None:
    eventually(lambda: stats(sidecar.admin_port)[f"listener.127.0.0.1_{port}.downstream_cx_active"] == "1")


def drains(sidecar: Sidecar) -> bool:
    return request(sidecar.admin_port, "/ready") == (503, "DRAINING\n")


def stats(admin_port: int) -> dict[str, str]:
    try:
        _, text = request(admin_port, "/stats")
    except OSError:
        return {}
    return dict(line.split(": ", 1) for line in text.splitlines())
