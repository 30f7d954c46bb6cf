"""A mesh of transparent workloads on a private network, and the hosts as their applications see them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.demo.hosts import addresses_of_workloads
from deploy.demo.local_mesh import LocalMesh
from deploy.demo.waiting import eventually
from tests.envoy.network_namespace import NetworkNamespace, enter
from tests.envoy.transparent.host import Host
from tests.envoy.transparent.wire import Wire

APPLICATION = Path(__file__).with_name("application.py")


class Scene:
    """Hosts by the name of their workload (`namespace/name`), with a control plane and a wire between them.

    `namespaces` are the inode numbers of the hosts' network namespaces.
    """

    def __init__(self, mesh: LocalMesh, wire: Wire, threads: ExitStack) -> None:
        self.mesh = mesh
        self.wire = wire
        self.hosts: dict[str, Host] = {}
        self.namespaces: list[int] = []
        self._threads = threads

    def __getitem__(self, workload: str) -> Host:
        return self.hosts[workload]

    async def add_host(self, workload: str) -> Host:
        """Make the network namespace of a declared workload."""
        await self.mesh.run(workload, ["true"])
        pid = next(part for part in self.mesh.inside(workload) if part.startswith("--target=")).partition("=")[2]
        namespace = self._threads.enter_context(_namespace_of(int(pid), workload))
        self.namespaces.append(namespace.run(Path("/proc/thread-self/ns/net").stat).st_ino)
        self.hosts[workload] = Host(addresses_of_workloads(self.mesh.directory)[workload], namespace)
        return self.hosts[workload]

    async def add_application(self, workload: str, *ports: str, bind: str = "0.0.0.0") -> None:
        """Start a server of everything (see `application.py`), and wait until it listens on all its ports."""
        host = self.hosts.get(workload) or await self.add_host(workload)
        name = workload.rpartition("/")[2]
        await self.mesh.start_application(workload, [sys.executable, APPLICATION, name, bind, *ports])
        wanted = [int(port) for kind, _, port in (each.partition(":") for each in ports) if kind != "udp"]

        async def listening() -> bool:
            # An application's calls of its own address need no sidecar.
            return not any(host.refuses(host.address, port) for port in wanted)

        await eventually(listening, f"the application of {workload} to listen")

    async def add_sidecars(self, *workloads: str) -> None:
        """Start the sidecars of these workloads, and wait until they are ready."""
        await asyncio.gather(*(self.mesh.start_sidecar(each) for each in workloads))

    def bridge(self, *command: str) -> None:
        """Run a command on the machine between the hosts: there the main thread is, and all that it starts."""
        subprocess.run(command, check=True)

    async def settled(self) -> None:
        """Wait until every proxy holds exactly what it should."""

        async def synced() -> bool:
            return all([(await self.mesh.debug(f"/debug/proxies/{each}"))["synced"] for each in self.mesh.sidecars])

        await eventually(synced, "every sidecar to hold what it should")


@contextmanager
def _namespace_of(pid: int, name: str) -> Iterator[NetworkNamespace]:
    path = Path(f"/proc/{pid}/ns/net")
    with ThreadPoolExecutor(1, initializer=enter, initargs=(path,)) as thread:
        yield NetworkNamespace(name, thread)
