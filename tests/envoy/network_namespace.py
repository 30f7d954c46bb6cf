"""Network namespaces for tests: made with unique names, entered by threads of their own, always removed."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_numbers = itertools.count()


def missing_requirement() -> str | None:
    """Why namespaces cannot be used here, and what to do about it; None when they can."""
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(tool) is None:
            return f"needs `{tool}`: install the package {package}"
    probe = subprocess.run(["unshare", "--net", "nft", "list", "tables"], capture_output=True, check=False)
    return (
        None if probe.returncode == 0 else "needs root, or a user namespace: run under `unshare --user --map-root-user`"
    )


@dataclass(frozen=True)
class NetworkNamespace:
    """A namespace whose loopback interface is up."""

    name: str
    _thread: ThreadPoolExecutor

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `function` inside; sockets and processes that it makes stay inside, wherever they are used."""
        return self._thread.submit(function, *args, **kwargs).result()

    def shell(self, *command: str) -> str:
        """The output of a command inside."""
        done = self.run(subprocess.run, command, capture_output=True, text=True, check=True)
        return str(done.stdout)


@contextlib.contextmanager
def network_namespace() -> Iterator[NetworkNamespace]:
    name = f"tulle-{os.getpid()}-{next(_numbers)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with ThreadPoolExecutor(1, initializer=enter, initargs=(Path("/run/netns") / name,)) as thread:
            namespace = NetworkNamespace(name, thread)
            namespace.shell("ip", "link", "set", "lo", "up")
            yield namespace
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def connect(one: NetworkNamespace, other: NetworkNamespace, networks: list[tuple[str, str]]) -> None:
    """Joins two namespaces by a cable, `eth0` at both ends; `networks` are pairs of addresses with prefix length."""
    subprocess.run(
        ["ip", "-n", one.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other.name],
        check=True,
    )
    for namespace, addresses in zip((one, other), zip(*networks, strict=True), strict=True):
        # Without duplicate address detection IPv6 addresses can be used at once, the link-local one included.
        namespace.run(Path("/proc/sys/net/ipv6/conf/eth0/accept_dad").write_text, "0")
        for address in addresses:
            namespace.shell("ip", "address", "add", address, "dev", "eth0")
        namespace.shell("ip", "link", "set", "eth0", "up")
    for _, address in networks:
        one.run(_wait_reachable, address.partition("/")[0])


def _wait_reachable(address: str) -> None:
    """Waits for the neighbour to answer: on a fresh link the first IPv6 solicitation is lost, a second takes 1 s."""
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((address, 9), timeout=10):
        pass


def enter(path: Path) -> None:
    """Moves the calling thread, and what it starts, into the network namespace at `path`."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)
