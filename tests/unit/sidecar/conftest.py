"""A join directory, a control plane to join, and sidecars that are ended whatever a test does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ca.authority import Authority
from deploy.sidecar.envoy import EnvoyBinary, find_envoy
from tests.unit.sidecar.control_plane import ControlPlane, new_authority, write_join_directory
from tests.unit.sidecar.waiting import eventually

ROOT = Path(__file__).parents[3]
COMMAND = "from deploy.sidecar.cli import sidecar; sidecar(prog_name='tulle sidecar')"


@dataclass
class Sidecar:
    """A `tulle sidecar` process with the files it writes."""

    process: subprocess.Popen[bytes]
    ports_file: Path
    log: Path
    temporary: Path

    @property
    def admin_port(self) -> int:
        return int(json.loads(self.ports_file.read_text())["admin"])

    @property
    def metrics_port(self) -> int:
        return int(json.loads(self.ports_file.read_text())["metrics"])

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def envoy_pid(self) -> int:
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    @property
    def runtime(self) -> Path:
        """The private directory of the running sidecar."""
        return next(self.temporary.glob("tulle-sidecar-*"))

    def wait_ready(self) -> Sidecar:
        eventually(lambda: self.ports_file.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.output
        return self


@pytest.fixture(scope="session")
def envoy() -> EnvoyBinary:
    return find_envoy()


@pytest.fixture(scope="session")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
def join(tmp_path: Path, authority: Authority) -> Path:
    return write_join_directory(tmp_path / "state", "token-1", authority)


@pytest.fixture
def control_plane(authority: Authority) -> Iterator[ControlPlane]:
    with ControlPlane(authority) as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Sidecar]]:
    """Starts `tulle sidecar bookstore/v1` with arguments; at the end everything left of it is killed."""
    started: list[Sidecar] = []

    def begin(*arguments: object, name: str = "bookstore/v1") -> Sidecar:
        number = len(started)
        temporary = tmp_path / f"tmp{number}"
        temporary.mkdir()
        ports_file, log = tmp_path / f"ports{number}.json", tmp_path / f"log{number}"
        command = [sys.executable, "-c", COMMAND, name, "--ports-file", ports_file, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
        with log.open("wb") as output:
            # As a shell starts background jobs: with SIGINT ignored.
            ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
            process = subprocess.Popen(ignoring, stdout=output, stderr=output, env=environment)
        started.append(Sidecar(process, ports_file, log, temporary))
        return started[-1]

    yield begin
    for sidecar in started:
        sidecar.process.kill()  # Envoy dies with it
        sidecar.process.wait()


@pytest.fixture
def running(start: Callable[..., Sidecar], join: Path, control_plane: ControlPlane) -> Sidecar:
    return start("--join", join, "--xds-address", f"127.0.0.1:{control_plane.port}").wait_ready()
