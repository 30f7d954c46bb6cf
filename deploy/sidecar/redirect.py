"""The transparent redirect: nftables rules that lead a network namespace's TCP through its Envoy.

In: RedirectSettings. Out: an nftables script (pure), and its application to the *current* network
namespace through `nft`. Outgoing TCP goes to the outbound listener, incoming TCP to the inbound listener,
which learn the original destination from SO_ORIGINAL_DST. UDP is untouched.

No leak: the rules are in place before Envoy starts and stay until after it ended, so a connection that
Envoy does not take is refused. They also stay after a `kill -9` of the launcher; the next start replaces
them.

Who is exempt, and why:
- Envoy's upstream connections, known by their SO_MARK. Setting a mark needs a capability that an
  application lacks, and unlike a uid it needs no user of its own.
- Except towards the workload's own non-loopback address: a workload that calls its own Service must pass
  its own inbound listener, since the access rules are there.
- The inbound listener's connections to the application. They come from 127.0.0.6 or ::6 over the
  loopback interface; from another interface these addresses mean nothing.
- 127.0.0.0/8 and ::1, and an application's connections to its own address: they cross no workload boundary,
  so they stay what they were without a mesh.
"""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.sidecar.errors import SidecarError

MARK = 0x7411
OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
INBOUND_SOURCE_V4 = "127.0.0.6"
INBOUND_SOURCE_V6 = "::6"
TABLE = "tulle"


class RedirectError(SidecarError):
    """The redirect cannot be set or removed; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class RedirectSettings:
    """What is redirected where. `excluded_inbound_ports` holds at least the metrics port.

    `excluded_outbound_cidrs` are IPv4 or IPv6 networks, `ipv6` tells whether the kernel has IPv6 at all;
    without it the table is an IPv4 one.
    """

    mark: int = MARK
    outbound_port: int = OUTBOUND_PORT
    inbound_port: int = INBOUND_PORT
    excluded_inbound_ports: tuple[int, ...] = ()
    excluded_outbound_ports: tuple[int, ...] = ()
    excluded_outbound_cidrs: tuple[str, ...] = ()
    ipv6: bool = True

    def __post_init__(self) -> None:
        for cidr in self.excluded_outbound_cidrs:
            try:
                ipaddress.ip_network(cidr, strict=False)
            except ValueError as error:
                raise RedirectError(f"invalid network to exclude: {error}") from None

    @property
    def family(self) -> str:
        return "inet" if self.ipv6 else "ip"


def ruleset(settings: RedirectSettings) -> str:
    """The script for `nft -f`: one transaction that replaces the whole table, whatever was there before."""
    family, own_ports = settings.family, f"{{ {settings.outbound_port}, {settings.inbound_port} }}"
    return "\n".join(
        [
            f"add table {family} {TABLE}",
            f"delete table {family} {TABLE}",
            f"table {family} {TABLE} {{",
            "  chain output {",
            "    type nat hook output priority -100; policy accept;",
            *_indented(_output_rules(settings)),
            "  }",
            "  chain prerouting {",
            "    type nat hook prerouting priority -100; policy accept;",
            *_indented(_prerouting_rules(settings)),
            "  }",
            "  chain input {",
            "    type filter hook input priority filter; policy accept;",
            # A connection made straight to a capture port has no original destination: Envoy would connect to
            # itself, without end.
            f"    tcp dport {own_ports} ct status & dnat == 0 reject with tcp reset",
            "  }",
            "}",
            "",
        ]
    )


def _output_rules(settings: RedirectSettings) -> Iterable[str]:
    yield "meta l4proto != tcp return"
    yield "oifname lo ip daddr 127.0.0.0/8 return"
    yield f"oifname lo ip saddr {INBOUND_SOURCE_V4} return"
    if settings.ipv6:
        yield "oifname lo ip6 daddr ::1 return"
        yield f"oifname lo ip6 saddr {INBOUND_SOURCE_V6} return"
    if settings.excluded_inbound_ports:
        yield f"oifname lo tcp dport {_set(settings.excluded_inbound_ports)} return"
    yield f"oifname lo meta mark {settings.mark:#x} meta l4proto tcp redirect to :{settings.inbound_port}"
    yield f"meta mark {settings.mark:#x} return"
    yield "oifname lo return"
    if settings.excluded_outbound_ports:
        yield f"tcp dport {_set(settings.excluded_outbound_ports)} return"
    networks = [ipaddress.ip_network(cidr, strict=False) for cidr in settings.excluded_outbound_cidrs]
    for network in networks:
        if network.version == 4:
            yield f"ip daddr {network} return"
        elif settings.ipv6:
            yield f"ip6 daddr {network} return"
    yield f"meta l4proto tcp redirect to :{settings.outbound_port}"


def _prerouting_rules(settings: RedirectSettings) -> Iterable[str]:
    yield "meta l4proto != tcp return"
    yield "iifname lo return"
    if settings.excluded_inbound_ports:
        yield f"tcp dport {_set(settings.excluded_inbound_ports)} return"
    yield f"meta l4proto tcp redirect to :{settings.inbound_port}"


def _set(ports: Iterable[int]) -> str:
    return "{ " + ", ".join(str(port) for port in sorted(set(ports))) + " }"


def _indented(rules: Iterable[str]) -> list[str]:
    return [f"    {rule}" for rule in rules]


def kernel_has_ipv6() -> bool:
    """Whether this network namespace can hold IPv6 addresses."""
    return Path("/proc/net/if_inet6").exists()


def apply(settings: RedirectSettings) -> None:
    """Puts the redirect in place in the current network namespace, replacing an earlier one.

    Raises RedirectError, and then leaves no rules behind.
    """
    _run(["nft", "-f", "-"], ruleset(settings))
    if not settings.ipv6 or _loopback_without_ipv6():
        return
    try:
        # Unlike 127.0.0.6, ::6 is no local address by itself. Deprecated, so that nothing picks it as its
        # source.
        _run(["ip", "-6", "address", "replace", f"{INBOUND_SOURCE_V6}/128", "dev", "lo", "preferred_lft", "0"])
    except RedirectError:
        _delete_table(settings)
        raise


def _loopback_without_ipv6() -> bool:
    """Whether IPv6 is switched off here, in a kernel that has it, as in many containers: then `lo` takes no address,
    and there is no connection to the application that would need one.
    """
    return Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").read_text().strip() == "1"


def remove(settings: RedirectSettings) -> None:
    """Removes the redirect; nothing happens when there is none. Raises RedirectError."""
    _delete_table(settings)
    if settings.ipv6 and INBOUND_SOURCE_V6 in _run(["ip", "-6", "-oneline", "address", "show", "dev", "lo"]):
        _run(["ip", "-6", "address", "delete", f"{INBOUND_SOURCE_V6}/128", "dev", "lo"])


def _delete_table(settings: RedirectSettings) -> None:
    table = f"{settings.family} {TABLE}"
    # Deleting what is not there is an error, adding what is there is not.
    _run(["nft", "-f", "-"], f"add table {table}\ndelete table {table}\n")


def _run(command: list[str], script: str | None = None) -> str:
    tool = command[0]
    # /usr/sbin is not on every user's PATH, yet that is where distributions put these tools.
    path = shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")
    if path is None:
        package = {"nft": "nftables", "ip": "iproute2"}[tool]
        raise RedirectError(f"the transparent redirect needs `{tool}`: install the package {package}")
    done = subprocess.run([path, *command[1:]], input=script, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout
    reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
    if "permitted" in done.stderr:
        raise RedirectError(
            "not permitted to redirect in this network namespace: it needs CAP_NET_ADMIN there "
            "(run as root, or in a user and network namespace of your own)"
        )
    raise RedirectError(f"`{tool}` refused the redirect: {reason}")
