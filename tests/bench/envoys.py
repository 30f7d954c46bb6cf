"""Real Envoys by the dozen on loopback, as `tulle sidecar` would start them, without a launcher beside each.

In: workloads, and where their control plane is. Out: running Envoys that end with their block, whatever ends it.
"""

from __future__ import annotations

import functools
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ca.identity import control_plane_id
from deploy.demo.ports import HeldPorts
from deploy.sidecar.bootstrap import BootstrapSettings, bootstrap, runtime_layers, to_json
from deploy.sidecar.envoy import find_envoy
from deploy.sidecar.join import read_join_directory, write_sds_files
from deploy.sidecar.process import die_with_parent, envoy_command
from deploy.sidecar.stats import environment_labels
from protos.envoy.config.bootstrap.v3_pb2 import Bootstrap
from protos.envoy.config.core.v3_pb2 import DataSource
from protos.envoy.config.listener.v3_pb2 import Filter, FilterChain, Listener
from protos.envoy.config.route.v3_pb2 import (
    DirectResponseAction,
    Route,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from protos.envoy.extensions.filters.http.router.v3_pb2 import Router
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpConnectionManager, HttpFilter
from smi.model import WorkloadKey
from smi.objects import CaptureMode
from tests.bench.envoy_plane import DOMAIN
from translators.packing import packed, socket_address

_PAUSE = 0.02
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
        capture: CaptureMode = CaptureMode.EXPLICIT,
        amend: Amend | None = None,
    ) -> RunningEnvoy:
        """Start the sidecar of a workload; `amend` may change its bootstrap before."""
        directory = self._own_directory(key)
        token, trust = write_sds_files(directory, read_join_directory(state_dir / "join" / str(key)))
        admin = self.ports.take()
        made = bootstrap(
            BootstrapSettings(
                namespace=key.namespace,
                workload=key.name,
                control_plane=control_plane_id(DOMAIN),
                xds_host="127.0.0.1",
                xds_port=xds_port,
                token_file=str(token),
                trust_file=str(trust),
                admin_port=admin,
                metrics_port=self.ports.take(),
                capture="explicit" if capture is CaptureMode.EXPLICIT else "transparent",
            )
        )
        if amend is not None:
            amend(key, made)
        return self._run(key, made, admin)

    def start_answers(self, answers: Mapping[int, str]) -> None:
        """Start an application for all: an Envoy that answers `answers[port]` on each port, at next to no cost."""
        key = WorkloadKey("", "answers")
        admin = self.ports.take()
        made = Bootstrap()
        made.admin.address.CopyFrom(socket_address("127.0.0.1", admin))
        made.static_resources.listeners.extend(_answering(port, text) for port, text in answers.items())
        made.layered_runtime.layers.extend(runtime_layers())
        self._run(key, made, admin)

    def _own_directory(self, key: WorkloadKey) -> Path:
        directory = self.directory / "envoys" / key.namespace / key.name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _run(self, key: WorkloadKey, made: Bootstrap, admin_port: int) -> RunningEnvoy:
        directory = self._own_directory(key)
        config, log = directory / "bootstrap.json", directory / "log"
        config.write_text(to_json(made))
        started = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                envoy_command(_binary(), config, "error", 1),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment_labels(key.namespace, key.name),
                preexec_fn=die_with_parent(),  # noqa: PLW1509  # it only makes system calls
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


def http_listener(name: str, port: int, manager: HttpConnectionManager) -> Listener:
    """A static HTTP listener on loopback."""
    manager.http_filters.append(HttpFilter(name="envoy.filters.http.router", typed_config=packed(Router())))
    http = Filter(name="envoy.filters.network.http_connection_manager", typed_config=packed(manager))
    return Listener(name=name, address=socket_address("127.0.0.1", port), filter_chains=[FilterChain(filters=[http])])


def _answering(port: int, text: str) -> Listener:
    answer = DirectResponseAction(status=200, body=DataSource(inline_string=text))
    routes: Iterable[Route] = [Route(match=RouteMatch(prefix="/"), direct_response=answer)]
    host = VirtualHost(name="all", domains=["*"], routes=routes)
    manager = HttpConnectionManager(stat_prefix="answers", route_config=RouteConfiguration(virtual_hosts=[host]))
    return http_listener(f"answers-{port}", port, manager)
