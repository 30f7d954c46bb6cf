"""A private network for the transparent mode: a bridge, and one network namespace for each workload.

It is made only inside private namespaces (see `private_namespaces`), and vanishes with them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from deploy.demo.errors import DemoError
from deploy.demo.private_namespaces import complaint_of, is_inside, tool
from deploy.demo.processes import ManagedProcess, Processes
from deploy.demo.waiting import eventually

NETWORK = ipaddress.ip_network("10.99.0.0/16")
"""Where workloads have their addresses."""
GATEWAY = "10.99.0.1"
"""The bridge: where the control plane is."""

_BRIDGE = "tulle0"


class PrivateNetwork:
    """The bridge, and the hosts on it: workloads by `namespace/workload`."""

    def __init__(self, processes: Processes, work_dir: Path) -> None:
        self._processes = processes
        self._work_dir = work_dir
        self._hosts: dict[str, ManagedProcess] = {}
        self._numbers = itertools.count(1)

    def open(self) -> None:
        """Make the bridge. Raises DemoError outside of private namespaces: the machine's network is left alone."""
        if not is_inside():
            raise DemoError("transparent mode is for private namespaces only: start this through run_privately")
        _ip(
            [],
            "link set lo up",
            f"link add name {_BRIDGE} type bridge",
            f"address add {GATEWAY}/{NETWORK.prefixlen} dev {_BRIDGE}",
            f"link set {_BRIDGE} up",
        )

    async def add_host(self, name: str, address: str, names: Mapping[str, str]) -> None:
        """A host `name` with `address`, whose /etc/hosts knows `names` (name: address). Raises DemoError."""
        if ipaddress.ip_address(address) not in NETWORK:
            raise DemoError(f"{name} has the address {address}, which is not in {NETWORK}")
        interface = f"host{next(self._numbers)}"
        # `sleep` holds the namespaces: they vanish with it.
        script = 'mount --bind "$1" /etc/hosts && exec sleep infinity'
        hosts_file = str(self._hosts_file(name, names))
        command = [tool("unshare"), "--net", "--mount", "sh", "-c", script, "sh", hosts_file]
        holder = await self._processes.start(f"{name}-network", command)
        pid = holder.process.pid
        await eventually(partial(self._holds, holder), f"the network namespace of {name}")
        await asyncio.to_thread(
            _ip,
            [],
            f"link add name {interface} type veth peer name eth0 netns {pid}",
            f"link set {interface} master {_BRIDGE} up",
        )
        # The default route is for virtual addresses: without a route to them there is nothing to redirect.
        await asyncio.to_thread(
            _ip,
            [tool("nsenter"), f"--target={pid}", "--net"],
            "link set lo up",
            f"address add {address}/{NETWORK.prefixlen} dev eth0",
            "link set eth0 up",
            f"route add default via {GATEWAY}",
        )
        self._hosts[name] = holder

    def inside(self, name: str) -> list[str]:
        """What to put before a command to run it on the host `name`."""
        pid = self._hosts[name].process.pid
        return [tool("nsenter"), f"--target={pid}", "--net", "--mount", f"--wd={Path.cwd()}"]

    def __contains__(self, name: str) -> bool:
        return name in self._hosts

    def _hosts_file(self, name: str, names: Mapping[str, str]) -> Path:
        file = self._work_dir / "hosts" / name.replace("/", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = ["127.0.0.1 localhost", *(f"{address} {known}" for known, address in names.items())]
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    async def _holds(self, holder: ManagedProcess) -> bool:
        self._processes.require_running()
        return _command_name(holder.process.pid) == "sleep"


def _command_name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _ip(prefix: Sequence[str], *commands: str) -> None:
    reason = complaint_of([*prefix, tool("ip"), "-batch", "-"], "".join(f"{each}\n" for each in commands))
    if reason is not None:
        raise DemoError(f"the private network cannot be made: {reason}")
