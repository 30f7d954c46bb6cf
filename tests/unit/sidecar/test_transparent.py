"""`tulle sidecar --transparent` in a network namespace: a real Envoy behind the real redirect.

The workload's Envoy gets the listeners of transparent mode in their simplest form: unknown destinations pass through,
the workload's own Service has a virtual address, and inbound connections go to the application from 127.0.0.6 or ::6.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from google.protobuf.message import Message

from ca.authority import Authority
from deploy.sidecar.redirect import INBOUND_PORT, INBOUND_SOURCE_V4, INBOUND_SOURCE_V6, OUTBOUND_PORT
from protos.envoy.config.cluster.v3_pb2 import Cluster
from protos.envoy.config.core.v3_pb2 import BindConfig, ExtraSourceAddress, SocketAddress
from protos.envoy.config.listener.v3_pb2 import AdditionalAddress, Filter, FilterChain, Listener, ListenerFilter
from protos.envoy.extensions.filters.listener.original_dst.v3_pb2 import OriginalDst
from protos.envoy.extensions.filters.network.tcp_proxy.v3_pb2 import TcpProxy
from tests.envoy.network_namespace import NetworkNamespace, connect, missing_requirement, network_namespace
from tests.unit.sidecar.conftest import Sidecar
from tests.unit.sidecar.control_plane import CLUSTER_TYPE, LISTENER_TYPE, ControlPlane
from tests.unit.sidecar.waiting import eventually, process_runs, request
from translators.packing import packed, single_endpoint, socket_address

_MISSING = missing_requirement()
pytestmark = [
    pytest.mark.root,
    pytest.mark.envoy,
    pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING)),
]

WORKLOAD, OUTSIDE = ("10.77.0.2", "fd77::2"), ("10.77.0.1", "fd77::1")
APPLICATION_PORT, FAR_PORT = 8080, 9000
VIRTUAL = "10.96.0.1", 80


def _cluster(name: str, kind: Cluster.DiscoveryType, inbound: bool = False) -> Cluster:
    cluster = Cluster(name=name, type=kind)
    cluster.connect_timeout.FromSeconds(1)
    if kind == Cluster.ORIGINAL_DST:
        cluster.lb_policy = Cluster.CLUSTER_PROVIDED
    if inbound:
        # No mark here: the cluster's own bind settings replace those of the bootstrap.
        v4, v6 = (SocketAddress(address=ip, port_value=0) for ip in (INBOUND_SOURCE_V4, INBOUND_SOURCE_V6))
        extra = ExtraSourceAddress(address=v6)
        cluster.upstream_bind_config.CopyFrom(BindConfig(source_address=v4, extra_source_addresses=[extra]))
    return cluster


def _listener(name: str, host: str, port: int, cluster: str, also: str | None = None) -> Listener:
    proxy = TcpProxy(stat_prefix=cluster, cluster=cluster)
    chain = FilterChain(filters=[Filter(name="envoy.filters.network.tcp_proxy", typed_config=packed(proxy))])
    listener = Listener(name=name, address=socket_address(host, port), filter_chains=[chain])
    if also:
        listener.additional_addresses.append(AdditionalAddress(address=socket_address(also, port)))
        original = ListenerFilter(name="envoy.filters.listener.original_dst", typed_config=packed(OriginalDst()))
        listener.listener_filters.append(original)
    return listener


def resources() -> dict[str, list[tuple[str, Message]]]:
    own = _cluster("own", Cluster.STATIC)
    own.load_assignment.CopyFrom(single_endpoint("own", WORKLOAD[0], APPLICATION_PORT))
    virtual = _listener("virtual", *VIRTUAL, "own")
    virtual.bind_to_port.value = False
    outbound = _listener("outbound", "0.0.0.0", OUTBOUND_PORT, "passthrough", also="::")
    outbound.use_original_dst.value = True
    inbound = _listener("inbound", "0.0.0.0", INBOUND_PORT, "application", also="::")
    clusters = [
        own,
        _cluster("passthrough", Cluster.ORIGINAL_DST),
        _cluster("application", Cluster.ORIGINAL_DST, inbound=True),
    ]
    return {
        CLUSTER_TYPE: [(cluster.name, cluster) for cluster in clusters],
        LISTENER_TYPE: [(listener.name, listener) for listener in (virtual, inbound, outbound)],
    }


@contextmanager
def telling_the_caller(namespace: NetworkNamespace, port: int) -> Iterator[None]:
    """A server on all addresses that answers each connection with the address it comes from."""
    server = namespace.run(socket.create_server, ("::", port), family=socket.AF_INET6, dualstack_ipv6=True)

    def serve() -> None:
        while True:
            try:
                connection, peer = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(str(peer[0]).removeprefix("::ffff:").encode())

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    server.shutdown(socket.SHUT_RDWR)  # wakes accept()
    server.close()
    thread.join()


def caller(namespace: NetworkNamespace, address: str, port: int) -> str:
    """What a server at `address` says of the caller; empty when the connection ends without a word."""
    with namespace.run(socket.create_connection, (address, port), timeout=3) as connection:
        return connection.recv(100).decode()


def refuses(namespace: NetworkNamespace, address: str, port: int) -> bool:
    """Whether nobody listens. While the kernel still clears up after a killed Envoy, connections are reset instead."""
    try:
        answer = caller(namespace, address, port)
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False
    raise AssertionError(f"connected, and was told {answer!r}")


@dataclass(frozen=True)
class Scene:
    workload: NetworkNamespace
    outside: NetworkNamespace
    sidecar: Sidecar


@pytest.fixture
def scene(start: Callable[..., Sidecar], join: Path, authority: Authority) -> Iterator[Scene]:
    with network_namespace() as workload, network_namespace() as outside:
        networks = [(f"{WORKLOAD[0]}/24", f"{OUTSIDE[0]}/24"), (f"{WORKLOAD[1]}/64", f"{OUTSIDE[1]}/64")]
        connect(workload, outside, networks)
        workload.shell("ip", "route", "add", "default", "via", OUTSIDE[0])
        with (
            workload.run(partial(ControlPlane, authority, resources())) as server,
            telling_the_caller(workload, APPLICATION_PORT),
            telling_the_caller(outside, FAR_PORT),
        ):
            arguments = ("--transparent", "--join", join, "--xds-address", f"127.0.0.1:{server.port}")
            sidecar = workload.run(start, *arguments).wait_ready()
            assert server.rejections == []
            yield Scene(workload, outside, sidecar)


def test_traffic_goes_through_envoy_and_the_end_is_clean(scene: Scene) -> None:
    workload, outside, sidecar = scene.workload, scene.outside, scene.sidecar
    for family in (0, 1):
        assert caller(workload, OUTSIDE[family], FAR_PORT) == WORKLOAD[family]
        inbound_source = (INBOUND_SOURCE_V4, INBOUND_SOURCE_V6)[family]
        assert caller(outside, WORKLOAD[family], APPLICATION_PORT) == inbound_source
    # Its own Service: out through the virtual listener, and in again through the inbound one.
    assert caller(workload, *VIRTUAL) == INBOUND_SOURCE_V4

    status, metrics = outside.run(request, sidecar.metrics_port, "/metrics", host=WORKLOAD[0])
    assert status == 200
    opened = {
        name: f'upstream_cx_total{{local_namespace="bookstore",local_workload="v1",envoy_cluster_name="{name}"}} '
        for name in ("passthrough", "application", "own")
    }
    assert all(
        f"{opened[name]}{count}\n" in metrics for name, count in (("passthrough", 2), ("application", 3), ("own", 1))
    )

    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.process.wait(10) == 0
    assert workload.shell("nft", "list", "ruleset") == ""
    assert caller(workload, OUTSIDE[0], FAR_PORT) == WORKLOAD[0]
    assert caller(outside, WORKLOAD[0], APPLICATION_PORT) == OUTSIDE[0]


def test_after_kill_9_nothing_leaks(scene: Scene) -> None:
    envoy = scene.sidecar.envoy_pid
    scene.sidecar.process.kill()
    eventually(lambda: not process_runs(envoy))
    for namespace, address, port in (
        (scene.workload, OUTSIDE[0], FAR_PORT),
        (scene.outside, WORKLOAD[0], APPLICATION_PORT),
    ):
        eventually(partial(refuses, namespace, address, port))
