"""Where the workloads of random meshes live: names, accounts and addresses that stay while all else changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smi.index import Key

NAMESPACES = ("shop", "bank")
TARGET_PORTS = (18080, 18081, 19090)
"""Below those that a system hands out by itself, and seldom used."""
TARGET_NAMES = ("web", "api", "raw")


@dataclass(frozen=True)
class Host:
    """A workload: `app_ports` are where its application listens for each of TARGET_PORTS, `local_ports` are free for
    its upstreams.
    """

    key: Key
    account: str
    address: str
    app_ports: Mapping[int, int]
    local_ports: Sequence[int] = ()


@dataclass(frozen=True)
class Layout:
    """All workloads. `varied`: their sidecars, modes and accounts may change too, since nothing of it runs."""

    hosts: tuple[Host, ...]
    varied: bool = True


ACCOUNTS: dict[Key, str] = {
    ("shop", "w0"): "one",
    ("shop", "w1"): "one",
    ("shop", "w2"): "two",
    ("bank", "w3"): "one",
    ("bank", "w4"): "two",
}
IMAGINED = Layout(
    tuple(
        Host(key, account, f"10.0.0.{n}", {port: port + 10_000 + n for port in TARGET_PORTS}, range(31_000, 31_100))
        for n, (key, account) in enumerate(ACCOUNTS.items(), 1)
    )
)
"""For meshes that nobody runs."""
