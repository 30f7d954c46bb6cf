"""Real Envoys by the dozen on loopback, as `tulle sidecar` would start them, without a launcher beside each.

In: workloads, and where their control plane is. Out: running Envoys that end with their block, whatever ends it.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ca.join import STREAM_TOKEN
from deploy.demo.ports import HeldPorts
from deploy.sidecar.bootstrap import Capture, to_json
from deploy.sidecar.envoy import find_envoy
from deploy.sidecar.join import read_join_directory
from deploy.sidecar.process import envoy_command
from deploy.sidecar.stats import environment_labels
from protos.envoy.config.bootstrap.v3_pb2 import Bootstrap
from smi.model import WorkloadKey
from tests.bench import envoy_bootstrap

_PAUSE = 0.02
_TIED = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
os.getppid() == int(sys.argv[1]) or os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the command after the first argument, and dies with the process of that number. Not as a `preexec_fn`: that
needs a fork, which a process that speaks gRPC does not survive unharmed (its child closed what the parent polls)."""
Amend = Callable[[WorkloadKey, Bootstrap], None]


@dataclass(frozen=True, slots=True)
class RunningEnvoy:
    """One Envoy; `started` is on the monotonic clock."""

    process: subprocess.Popen[bytes]
    admin_port: int
    started: float
    log: Path

    def ready(self) -> bool:
        """Whether it has all of its configuration. Raises RuntimeError, with the end of its log, when it is gone."""
        if self.process.poll() is not None:
            raise RuntimeError(f"Envoy ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
        try:
            return self.admin("/ready").strip() == "LIVE"
        except urllib.error.URLError:
            return False

    def admin(self, path: str) -> str:
        """What its admin interface answers. Raises urllib.error.URLError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def resident_bytes(self) -> int:
        """Its resident set."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(kilobytes) * 1024


@dataclass(slots=True)
class Envoys:
    """Starts Envoys with one worker thread each; see `envoys`."""

    directory: Path
    ports: HeldPorts
    running: dict[WorkloadKey, RunningEnvoy] = field(default_factory=dict)

    def start(
        self,
        key: WorkloadKey,
        state_dir: Path,
        xds_port: int,
        *,
        capture: Capture = "explicit",
        amend: Amend | None = None,
    ) -> RunningEnvoy:
        """Start the sidecar of a workload; `amend` may change its bootstrap before."""
        material = read_join_directory(state_dir / "join" / str(key), STREAM_TOKEN)
        admin = self.ports.take()
        made = envoy_bootstrap.sidecar(key, material, xds_port, admin, self.ports.take(), capture)
        if amend is not None:
            amend(key, made)
        return self._run(key, made, admin)

    def start_application(self, answers: Mapping[int, str]) -> None:
        """Start an application for all: an Envoy that answers `answers[port]` on each port, at next to no cost."""
        admin = self.ports.take()
        self._run(WorkloadKey("", "application"), envoy_bootstrap.application(answers, admin), admin)

    def _run(self, key: WorkloadKey, made: Bootstrap, admin_port: int) -> RunningEnvoy:
        directory = self.directory / "envoys" / key.namespace / key.name
        directory.mkdir(parents=True)
        config, log = directory / "bootstrap.json", directory / "log"
        config.write_text(to_json(made))
        started = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    _TIED,
                    str(os.getpid()),
                    *envoy_command(_binary(), config, "error", 1),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment_labels(key.namespace, key.name),
            )
        self.running[key] = RunningEnvoy(process, admin_port, started, log)
        return self.running[key]

    def wait_ready(self, within: float = 60.0) -> None:
        """Until every Envoy is ready."""
        for each in self.running.values():
            wait_until(each.ready, "an Envoy to be ready", within)

    def close(self) -> None:
        """End all of them at once."""
        for each in self.running.values():
            each.process.kill()
        for each in self.running.values():
            each.process.wait()


@contextmanager
def envoys(directory: Path, ports: HeldPorts) -> Iterator[Envoys]:
    """Envoys with their files below `directory`, on ports of `ports`. They end with the block."""
    started = Envoys(directory, ports)
    try:
        yield started
    finally:
        started.close()


def wait_until(condition: Callable[[], bool], what: str, within: float = 30.0) -> None:
    """Try `condition` until it holds. Raises TimeoutError."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {within:g} s in vain for {what}")
        time.sleep(_PAUSE)


@functools.cache
def _binary() -> Path:
    return find_envoy().path
