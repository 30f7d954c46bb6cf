"""The transparent redirect in real network namespaces: who is captured, who is exempt, and what never leaks.

Two namespaces with a cable between them: `workload`, whose TCP is redirected, and `outside`. Plain sockets stand where
Envoy would, since what matters is where the kernel leads a connection, and what SO_ORIGINAL_DST says of it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.sidecar.redirect import (
    INBOUND_PORT,
    INBOUND_SOURCE_V4,
    INBOUND_SOURCE_V6,
    MARK,
    OUTBOUND_PORT,
    RedirectError,
    RedirectSettings,
    apply,
    remove,
)
from tests.envoy.network_namespace import NetworkNamespace, connect, missing_requirement, network_namespace

_MISSING = missing_requirement()
pytestmark = [pytest.mark.root, pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING))]

_SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h, and the same number in linux/netfilter_ipv6/ip6_tables.h
METRICS_PORT, APPLICATION_PORT, FAR_PORT = 15090, 8080, 9000
SETTINGS = RedirectSettings(
    excluded_inbound_ports=(METRICS_PORT,),
    excluded_outbound_ports=(9022,),
    excluded_outbound_cidrs=("10.78.0.0/16", "fd78::/64"),
)


@dataclass(frozen=True)
class Net:
    workload: NetworkNamespace
    outside: NetworkNamespace


@dataclass(frozen=True)
class Family:
    workload: str
    outside: str
    excluded: str
    loopback: str
    inbound_source: str

    @property
    def number(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.workload else socket.AF_INET


V4 = Family("10.77.0.2", "10.77.0.1", "10.78.0.1", "127.0.0.1", INBOUND_SOURCE_V4)
V6 = Family("fd77::2", "fd77::1", "fd78::1", "::1", INBOUND_SOURCE_V6)


@pytest.fixture(scope="module")
def wired() -> Iterator[Net]:
    with network_namespace() as workload, network_namespace() as outside:
        connect(
            workload, outside, [(f"{V4.workload}/24", f"{V4.outside}/24"), (f"{V6.workload}/64", f"{V6.outside}/64")]
        )
        outside.shell("ip", "address", "add", f"{V4.excluded}/32", "dev", "lo")
        outside.shell("ip", "address", "add", f"{V6.excluded}/128", "dev", "lo")
        workload.shell("ip", "route", "add", f"{V4.excluded}/32", "via", V4.outside)
        workload.shell("ip", "route", "add", f"{V6.excluded}/128", "via", V6.outside)
        yield Net(workload, outside)


@pytest.fixture
def net(wired: Net) -> Iterator[Net]:
    """The namespaces with the redirect in place."""
    wired.workload.run(apply, SETTINGS)
    yield wired
    wired.workload.run(remove, SETTINGS)


@pytest.fixture(params=[V4, V6], ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@contextlib.contextmanager
def listening(namespace: NetworkNamespace, port: int) -> Iterator[socket.socket]:
    """A listener on every address of `namespace`, both families."""
    with namespace.run(socket.create_server, ("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        server.settimeout(3)
        yield server


def dial(
    namespace: NetworkNamespace, address: str, port: int, *, mark: int | None = None, source: str | None = None
) -> socket.socket:
    """A connection from `namespace`, with a mark or a source address if given."""
    client = namespace.run(socket.socket, socket.AF_INET6 if ":" in address else socket.AF_INET)
    client.settimeout(3)
    try:
        if mark is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if source is not None:
            client.bind((source, 0))
        client.connect((address, port))
    except OSError:
        client.close()
        raise
    return client


def original_destination(connection: socket.socket, family: Family) -> tuple[str, int]:
    """Where the client wanted to go."""
    if family is V6:
        raw = connection.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
        return str(ipaddress.IPv6Address(raw[8:24])), struct.unpack("!H", raw[2:4])[0]
    raw = connection.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
    return str(ipaddress.IPv4Address(raw[4:8])), struct.unpack("!H", raw[2:4])[0]


def accept(server: socket.socket) -> tuple[socket.socket, str]:
    """The next connection, and the address it comes from."""
    connection, peer = server.accept()
    return connection, str(peer[0]).removeprefix("::ffff:")


def assert_captured(server: socket.socket, client: socket.socket, family: Family, wanted: tuple[str, int]) -> None:
    with client:
        connection, _ = accept(server)
        with connection:
            assert original_destination(connection, family) == wanted
            client.sendall(b"ping")
            assert connection.recv(4) == b"ping"
            connection.sendall(b"pong")
            assert client.recv(4) == b"pong"


def assert_direct(server: socket.socket, client: socket.socket, source: str) -> None:
    with client:
        connection, peer = accept(server)
        with connection:
            assert peer == source
            client.sendall(b"ping")
            assert connection.recv(4) == b"ping"


def test_nothing_leaks_before_envoy_listens(net: Net, family: Family) -> None:
    with listening(net.outside, FAR_PORT), listening(net.workload, APPLICATION_PORT):
        with pytest.raises(ConnectionRefusedError):
            dial(net.workload, family.outside, FAR_PORT)
        with pytest.raises(ConnectionRefusedError):
            dial(net.outside, family.workload, APPLICATION_PORT)


def test_outbound_is_captured(net: Net, family: Family) -> None:
    with listening(net.workload, OUTBOUND_PORT) as envoy:
        client = dial(net.workload, family.outside, FAR_PORT)
        assert_captured(envoy, client, family, (family.outside, FAR_PORT))


def test_envoys_own_connections_are_exempt(net: Net, family: Family) -> None:
    with listening(net.workload, OUTBOUND_PORT), listening(net.outside, FAR_PORT) as far:
        assert_direct(far, dial(net.workload, family.outside, FAR_PORT, mark=MARK), family.workload)


@pytest.mark.parametrize("by", ["port", "network"])
def test_excluded_destinations(net: Net, family: Family, by: str) -> None:
    address, port = (family.outside, 9022) if by == "port" else (family.excluded, FAR_PORT)
    with listening(net.outside, port) as far:
        assert_direct(far, dial(net.workload, address, port), family.workload)


def test_inbound_is_captured(net: Net, family: Family) -> None:
    with listening(net.workload, APPLICATION_PORT), listening(net.workload, INBOUND_PORT) as envoy:
        client = dial(net.outside, family.workload, APPLICATION_PORT)
        assert_captured(envoy, client, family, (family.workload, APPLICATION_PORT))


def test_metrics_port_is_not_captured(net: Net, family: Family) -> None:
    with listening(net.workload, METRICS_PORT) as metrics:
        assert_direct(metrics, dial(net.outside, family.workload, METRICS_PORT), family.outside)


def test_call_of_ones_own_service_passes_the_inbound_listener(net: Net, family: Family) -> None:
    with listening(net.workload, APPLICATION_PORT), listening(net.workload, INBOUND_PORT) as envoy:
        client = dial(net.workload, family.workload, APPLICATION_PORT, mark=MARK)
        assert_captured(envoy, client, family, (family.workload, APPLICATION_PORT))


def test_inbound_listener_reaches_the_application(net: Net, family: Family) -> None:
    with listening(net.workload, APPLICATION_PORT) as application:
        client = dial(net.workload, family.workload, APPLICATION_PORT, source=family.inbound_source)
        assert_direct(application, client, family.inbound_source)


def test_application_reaches_itself_directly(net: Net, family: Family) -> None:
    with listening(net.workload, APPLICATION_PORT) as application:
        assert_direct(application, dial(net.workload, family.loopback, APPLICATION_PORT), family.loopback)
        assert_direct(application, dial(net.workload, family.workload, APPLICATION_PORT), family.workload)


def test_capture_ports_cannot_be_dialled(net: Net, family: Family) -> None:
    # Envoy would take itself for the original destination and connect to itself without end.
    with listening(net.workload, OUTBOUND_PORT), listening(net.workload, INBOUND_PORT) as inbound:
        for port in (OUTBOUND_PORT, INBOUND_PORT):
            for address in (family.loopback, family.workload):
                with pytest.raises(ConnectionRefusedError):
                    dial(net.workload, address, port)
            with pytest.raises(ConnectionRefusedError):
                dial(net.workload, family.workload, port, source=family.inbound_source)
        # From outside the outbound port is captured like any other; where it leads was refused just above.
        client = dial(net.outside, family.workload, OUTBOUND_PORT)
        assert_captured(inbound, client, family, (family.workload, OUTBOUND_PORT))
        with pytest.raises(ConnectionRefusedError):
            dial(net.outside, family.workload, INBOUND_PORT)


def test_source_of_the_inbound_listener_means_nothing_on_other_interfaces(net: Net) -> None:
    with listening(net.workload, OUTBOUND_PORT) as envoy, listening(net.outside, FAR_PORT):
        route_localnet = Path("/proc/sys/net/ipv4/conf/all/route_localnet")
        net.workload.run(route_localnet.write_text, "1")
        client = dial(net.workload, V4.outside, FAR_PORT, source=INBOUND_SOURCE_V4)
        assert_captured(envoy, client, V4, (V4.outside, FAR_PORT))
        net.workload.run(route_localnet.write_text, "0")


def test_udp_is_untouched(net: Net, family: Family) -> None:
    with net.outside.run(socket.socket, family.number, socket.SOCK_DGRAM) as far:
        far.bind((family.outside, FAR_PORT))
        far.settimeout(3)
        with net.workload.run(socket.socket, family.number, socket.SOCK_DGRAM) as client:
            client.sendto(b"ping", (family.outside, FAR_PORT))
            assert far.recvfrom(4)[1][0] == family.workload


def test_applying_twice_is_applying_once_and_removal_leaves_nothing(net: Net, family: Family) -> None:
    before = net.workload.shell("nft", "list", "ruleset")
    net.workload.run(apply, SETTINGS)
    assert net.workload.shell("nft", "list", "ruleset") == before
    net.workload.run(remove, SETTINGS)
    net.workload.run(remove, SETTINGS)
    assert net.workload.shell("nft", "list", "ruleset") == ""
    assert f"{INBOUND_SOURCE_V6}/128" not in net.workload.shell("ip", "address", "show", "dev", "lo")
    with listening(net.outside, FAR_PORT) as far:
        assert_direct(far, dial(net.workload, family.outside, FAR_PORT), family.workload)


def test_other_tables_are_left_alone(net: Net) -> None:
    net.workload.shell("nft", "add", "table", "inet", "somebody_else")
    net.workload.run(apply, SETTINGS)
    net.workload.run(remove, SETTINGS)
    assert "somebody_else" in net.workload.shell("nft", "list", "tables")
    net.workload.shell("nft", "delete", "table", "inet", "somebody_else")


def test_kernel_without_ipv6() -> None:
    with network_namespace() as namespace:
        settings = RedirectSettings(excluded_outbound_cidrs=("10.0.0.0/8", "fd00::/8"), ipv6=False)
        namespace.run(apply, settings)
        assert "table ip tulle" in namespace.shell("nft", "list", "tables")
        namespace.run(remove, settings)
        assert namespace.shell("nft", "list", "tables") == ""


def test_ipv6_switched_off() -> None:
    with network_namespace() as namespace:
        namespace.run(Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text, "1")
        namespace.run(apply, RedirectSettings())
        assert "table inet tulle" in namespace.shell("nft", "list", "tables")
        namespace.run(remove, RedirectSettings())
        assert namespace.shell("nft", "list", "tables") == ""


def test_what_nft_says_is_one_line() -> None:
    with (
        network_namespace() as namespace,
        pytest.raises(RedirectError, match=r"`nft` refused the redirect: .+") as error,
    ):
        namespace.run(apply, RedirectSettings(outbound_port=70_000))
    assert "\n" not in str(error.value)


def test_without_the_capability_it_says_what_is_needed() -> None:
    program = "from deploy.sidecar.redirect import RedirectSettings, apply; apply(RedirectSettings())"
    command = ["setpriv", "--bounding-set=-net_admin", sys.executable, "-c", program]
    with network_namespace() as namespace:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = namespace.run(subprocess.run, command, capture_output=True, text=True, check=False, env=environment)
    assert "RedirectError: not permitted to redirect in this network namespace" in done.stderr
