"""A whole mesh as processes on this machine: `tulle serve`, applications, and a `tulle sidecar` beside each.

Takes a directory of objects; gives running processes with a log each, ways to look at them, and ways to disturb
them. With `transparent`, each workload has a network namespace of its own (see `private_network`). Nothing of it
outlives the process that started it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from deploy.demo.errors import DemoError
from deploy.demo.hosts import addresses_of_workloads, names_of_services
from deploy.demo.ports import HeldPorts
from deploy.demo.private_network import GATEWAY, PrivateNetwork
from deploy.demo.processes import ManagedProcess, Processes
from deploy.demo.waiting import eventually

TULLE = (sys.executable, "-m", "deploy.cli")
_START_SECONDS = 60.0
"""Patience with a process that starts: generous, since a loaded machine is slow and not wrong."""
_FETCH = "import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1], timeout=10).read())"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A sidecar that is ready. Its ports are on 127.0.0.1; with `transparent`, of its own network namespace."""

    workload: str
    managed: ManagedProcess
    admin_port: int
    metrics_port: int


class LocalMesh:
    """`async with LocalMesh(directory, work_dir=...) as mesh:` serves `directory`; everything ends with the block.

    `work_dir` gets the state directory and the logs. Workloads are named `namespace/workload`. Raises DemoError, with
    the end of the log of the process that failed.
    """

    serve: Sequence[str | Path] = (*TULLE, "serve")
    """The command before the arguments of `tulle serve`."""

    def __init__(
        self, directory: Path, *, work_dir: Path, transparent: bool = False, envoy: Path | None = None
    ) -> None:
        self.directory = directory
        self.work_dir = work_dir
        self.state = work_dir / "state"
        self.processes = Processes(work_dir)
        self.sidecars: dict[str, Sidecar] = {}
        self.ports = HeldPorts()
        self._envoy = envoy
        self._network = PrivateNetwork(self.processes, work_dir) if transparent else None
        self._xds_host = GATEWAY if transparent else "127.0.0.1"
        self._making_hosts = asyncio.Lock()
        self._control_plane: ManagedProcess | None = None
        self._session: aiohttp.ClientSession | None = None
        self.xds_address = self._xds_mtls_address = self.debug_address = ""

    async def __aenter__(self) -> Self:
        try:
            self.work_dir.mkdir(parents=True, exist_ok=True)
            if self._network is not None:
                self._network.open()
            # A private network has all its ports to itself, and its bridge is no address that HeldPorts holds.
            xds_port, mtls_port = (15010, 15011) if self._network else (self.ports.take(), self.ports.take())
            self.xds_address = f"{self._xds_host}:{xds_port}"
            self._xds_mtls_address = f"{self._xds_host}:{mtls_port}"
            self.debug_address = f"127.0.0.1:{self.ports.take()}"
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
            await self.start_control_plane()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every process, and give back the ports."""
        await self.processes.close()
        if self._session is not None:
            await self._session.close()
        self.ports.close()

    # The control plane

    async def start_control_plane(self) -> None:
        """Start `tulle serve` and wait until it is ready to serve."""
        command: list[str | Path] = [*self.serve, self.directory, "--state", self.state]
        command += ["--xds-address", self.xds_address, "--xds-mtls-address", self._xds_mtls_address]
        command += ["--debug-address", self.debug_address]
        started = self._control_plane = await self.processes.start("control-plane", command)

        async def ready() -> bool:
            try:
                async with self._http.get(f"http://{self.debug_address}/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientConnectionError:
                return False

        await _started(started, ready)

    async def stop_control_plane(self) -> int:
        """End it in order; returns its exit code."""
        return await self.processes.stop(self._running_control_plane())

    async def kill_control_plane(self) -> None:
        """SIGKILL: it gets no chance to end anything in order."""
        await self.processes.kill(self._running_control_plane())

    async def restart_control_plane(self) -> None:
        """End it in order, and start it again on the same addresses and state."""
        await self.stop_control_plane()
        await self.start_control_plane()

    def _running_control_plane(self) -> ManagedProcess:
        if self._control_plane is None or not self._control_plane.running:
            raise DemoError("the control plane does not run")
        return self._control_plane

    # Workloads

    async def start_sidecar(self, workload: str, *arguments: str) -> Sidecar:
        """Start `tulle sidecar` for `workload`, with more `arguments` if wanted, and wait until it is ready."""
        join = self.state / "join" / workload

        async def may_join() -> bool:
            return (join / "token").exists()

        await _started(self._running_control_plane(), may_join, f"has not made {join}")
        ports_file = self.work_dir / f"{workload.replace('/', '.')}.ports.json"
        command: list[str | Path] = [*await self._host(workload), *TULLE, "sidecar", workload, "--join", join]
        command += ["--xds-address", self.xds_address, "--ports-file", ports_file, *arguments]
        if self._network is not None:
            command.append("--transparent")
        if self._envoy is not None:
            command += ["--envoy", self._envoy]
        # SIGINT ends a sidecar at once; SIGTERM would wait for connections that nobody closes any more.
        started = await self.processes.start(f"{workload}-sidecar", command, stop_with=signal.SIGINT)

        async def ready() -> bool:
            return ports_file.exists()

        await _started(started, ready)
        chosen = json.loads(ports_file.read_text())
        self.sidecars[workload] = Sidecar(workload, started, int(chosen["admin"]), int(chosen["metrics"]))
        return self.sidecars[workload]

    async def stop_sidecar(self, workload: str) -> int:
        """End the sidecar of `workload`; returns its exit code."""
        return await self.processes.stop(self.sidecars.pop(workload).managed)

    async def start_application(self, workload: str, command: Sequence[str | Path]) -> ManagedProcess:
        """Start a process of `workload`; with `transparent`, in its network namespace."""
        return await self.processes.start(f"{workload}-application", [*await self._host(workload), *command])

    async def run(self, workload: str, command: Sequence[str | Path]) -> bytes:
        """Run `command` where `workload` is, to its end; returns what it prints. Raises DemoError when it fails."""
        process = await asyncio.create_subprocess_exec(
            *await self._host(workload),
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, complaint = await process.communicate()
        if process.returncode != 0:
            reason = complaint.decode(errors="replace").strip()[-500:]
            raise DemoError(f"{command[0]} failed on {workload}: {reason}")
        return printed

    async def _host(self, workload: str) -> list[str]:
        """What to put before a command of `workload`; its network namespace is made when it is first needed."""
        if self._network is None:
            return []
        async with self._making_hosts:
            if workload not in self._network:
                address = addresses_of_workloads(self.directory).get(workload)
                if address is None:
                    raise DemoError(f"there is no workload {workload} in {self.directory}")
                namespace = workload.partition("/")[0]
                await self._network.add_host(workload, address, names_of_services(self.directory, namespace))
        return self._network.inside(workload)

    def inside(self, workload: str) -> list[str]:
        """What stands before the commands of a `workload` that has started; nothing, unless `transparent`."""
        return self._network.inside(workload) if self._network is not None else []

    # Files

    def write(self, name: str, text: str) -> None:
        """Make the file `name` of the served directory hold `text`, by rename: nobody sees half of it."""
        fresh = self.directory / f".{name}.new"
        fresh.write_text(text)
        fresh.rename(self.directory / name)

    def remove(self, name: str) -> None:
        """Remove the file `name` from the served directory."""
        (self.directory / name).unlink()

    # Looking

    async def debug(self, path: str) -> Any:
        """What the control plane's debug endpoint answers at `path`, such as `/debug/mesh`: decoded JSON."""
        async with self._http.get(f"http://{self.debug_address}{path}") as answer:
            return await answer.json(content_type=None)

    async def nacks(self) -> int:
        """How often the connected proxies have rejected a configuration, all together."""
        return sum(int(proxy.get("nacks", 0)) for proxy in await self.debug("/debug/proxies"))

    async def synced(self) -> int:
        """How many connected proxies have acknowledged exactly what they should hold."""
        return sum(bool(proxy["synced"]) for proxy in await self.debug("/debug/proxies"))

    async def admin(self, workload: str, path: str) -> str:
        """What Envoy's admin interface of `workload` answers at `path`, such as `/config_dump`."""
        return await self._fetch(workload, f"http://127.0.0.1:{self.sidecars[workload].admin_port}{path}")

    async def metrics(self, workload: str) -> str:
        """The Prometheus metrics of the sidecar of `workload`."""
        return await self._fetch(workload, f"http://127.0.0.1:{self.sidecars[workload].metrics_port}/metrics")

    async def _fetch(self, workload: str, url: str) -> str:
        if self._network is not None:
            return (await self.run(workload, [sys.executable, "-c", _FETCH, url])).decode()
        async with self._http.get(url) as answer:
            return await answer.text()

    @property
    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("LocalMesh is used outside of its `async with` block")
        return self._session


async def _started(
    process: ManagedProcess, condition: Callable[[], Awaitable[bool]], failure: str = "is not ready"
) -> None:
    """Waits for `condition`, which `process` is to bring about. Raises DemoError with the end of its log if not."""

    async def holds() -> bool:
        if not process.running:
            raise process.failure()
        return await condition()

    try:
        await eventually(holds, process.name, within=_START_SECONDS)
    except TimeoutError:
        raise process.failure(f"{failure} after {_START_SECONDS:g} s") from None
