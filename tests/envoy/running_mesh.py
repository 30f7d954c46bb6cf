"""A LocalMesh for tests: objects and commands with `$names` in place of ports, applications and sidecars started.

In: texts as a user would write them, with a name for each port that is to be a free one. Out: a mesh whose sidecars
all have their configuration. It ends with its block, and nothing of it is left.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from string import Template

from deploy.demo.local_mesh import TULLE, LocalMesh
from deploy.demo.processes import ManagedProcess, Processes
from deploy.demo.waiting import eventually

APPLICATIONS = Path(__file__).parent / "applications"


class RunningMesh(LocalMesh):
    """A LocalMesh that fills in ports: `port["buyer_http"]` is what `$buyer_http` stands for."""

    def __init__(self, work_dir: Path, *, envoy: Path | None = None, odd: Sequence[str] = ()) -> None:
        directory = work_dir / "mesh"
        directory.mkdir(parents=True)
        super().__init__(directory, work_dir=work_dir, envoy=envoy)
        self.port: dict[str, int] = {}
        self.before_sidecar: dict[str, list[str]] = {}
        """What to put before the command of a workload's sidecar."""
        self.processes = _Started(work_dir, odd, self.before_sidecar)

    @property
    def xds_ports(self) -> list[int]:
        """Where the control plane listens for sidecars."""
        return [int(address.rpartition(":")[2]) for address in (self.xds_address, self._xds_mtls_address)]

    def filled_in(self, text: str) -> str:
        """`text` with a port for every `$name`: always the same one for the same name."""
        template = Template(text)
        for name in template.get_identifiers():
            if name not in self.port:
                self.port[name] = self.ports.take()
        return template.substitute(self.port)

    def apply(self, name: str, text: str) -> None:
        """Put `text`, filled in, in force as the file `name`."""
        self.write(name, self.filled_in(text))

    def withdraw(self, *names: str) -> None:
        """Take away those of the files `names` that are there."""
        for name in names:
            (self.directory / name).unlink(missing_ok=True)

    async def start_echo(self, workload: str, command: str) -> None:
        """Start `command`, such as `http_echo $app --version v1`, and wait until it listens.

        Its first word names a file of `applications/`, its second one is the port.
        """
        name, port, *arguments = self.filled_in(command).split()
        started = [sys.executable, APPLICATIONS / f"{name}.py", port, *arguments]
        process = await self.start_application(workload, started)

        async def listens() -> bool:
            if not process.running:
                raise process.failure()
            return await accepts(int(port))

        await eventually(listens, f"{name} of {workload} to listen", within=30)

    async def counter(self, workload: str, name: str) -> int:
        """The value of one statistic of Envoy; a missing one fails the test."""
        text = await self.admin(workload, f"/stats?format=json&filter=^{name}$")
        found = [each["value"] for each in json.loads(text)["stats"] if each.get("name") == name]
        assert len(found) == 1, f"{workload} has no statistic {name}"
        return int(found[0])

    async def control_plane_metrics(self) -> str:
        """The Prometheus metrics of the control plane."""
        async with self._http.get(f"http://{self.debug_address}/metrics") as answer:
            return await answer.text()

    async def all_synced(self, *workloads: str) -> bool:
        """Whether each of `workloads` is connected and holds exactly what it should; all that run, without any."""
        proxies = {each["proxy"]: each["synced"] for each in await self.debug("/debug/proxies")}
        return all(proxies.get(each, False) for each in workloads or self.sidecars)


class _Started(Processes):
    """Puts an odd control plane in the place of the ordinary one, if there are options for one, and words before the
    commands of sidecars.
    """

    def __init__(self, work_dir: Path, odd: Sequence[str], before_sidecar: Mapping[str, list[str]]) -> None:
        super().__init__(work_dir)
        self._odd = odd
        self._before_sidecar = before_sidecar

    async def start(
        self, name: str, command: Sequence[str | Path], *, stop_with: signal.Signals = signal.SIGTERM
    ) -> ManagedProcess:
        if self._odd and tuple(command[: len(TULLE)]) == TULLE and command[len(TULLE)] == "serve":
            module = [sys.executable, "-m", "tests.envoy.odd_control_plane", *self._odd]
            command = [*module, *command[len(TULLE) :]]
        command = [*self._before_sidecar.get(name.removesuffix("-sidecar"), ()), *command]
        return await super().start(name, command, stop_with=stop_with)


@asynccontextmanager
async def running_mesh(
    work_dir: Path,
    objects: Mapping[str, str],
    applications: Sequence[tuple[str, str]],
    sidecars: Sequence[str],
    *,
    envoy: Path | None = None,
    odd: Sequence[str] = (),
) -> AsyncIterator[RunningMesh]:
    """Serve the files `objects`, start `applications` (workload, command) and all `sidecars`; yields when all are
    ready. `odd`: options of `odd_control_plane`, if it is to be one.
    """
    mesh = RunningMesh(work_dir, envoy=envoy, odd=odd)
    for name, text in objects.items():
        mesh.apply(name, text)
    async with mesh:
        await asyncio.gather(
            *(mesh.start_echo(workload, command) for workload, command in applications),
            *(mesh.start_sidecar(workload) for workload in sidecars),
        )
        await eventually(mesh.all_synced, "all sidecars to hold what they should", within=30)
        yield mesh


async def accepts(port: int) -> bool:
    """Whether something accepts connections on this port of loopback."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.transport.abort()
    return True
