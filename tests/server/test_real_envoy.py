"""A real Envoy against this server alone, delta and SotW: it accepts, follows, rejects and recovers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from deploy.demo.ports import HeldPorts
from deploy.sidecar.envoy import find_envoy
from protos.envoy.config.cluster import v3_pb2 as cluster_v3
from protos.envoy.config.core import v3_pb2 as core_v3
from protos.envoy.config.endpoint import v3_pb2 as endpoint_v3
from protos.envoy.config.listener import v3_pb2 as listener_v3
from protos.envoy.config.route import v3_pb2 as route_v3
from protos.envoy.extensions.filters.http.router import v3_pb2 as router_v3
from protos.envoy.extensions.filters.network.http_connection_manager import v3_pb2 as hcm_v3
from tests.server.plane import PROXY, MakePlane, Plane, until
from xds.resource import Resource, TypeUrl, resource
from xds.status import ProxyStatus
from xds.store import ScopeChange

pytestmark = pytest.mark.envoy

ADS = core_v3.ConfigSource(ads=core_v3.AggregatedConfigSource(), resource_api_version=core_v3.ApiVersion.V3)
both = pytest.mark.parametrize("api_type", ["DELTA_GRPC", "GRPC"])


def packed(message: Any) -> AnyMessage:
    packed_message = AnyMessage()
    packed_message.Pack(message, deterministic=True)
    return packed_message


def service(name: str, port: int, backend: int, *, note: str = "") -> tuple[Resource, ...]:
    """Listener, route, cluster and endpoints of one service on 127.0.0.1:port."""
    cluster = cluster_v3.Cluster(name=name, type=cluster_v3.Cluster.EDS, alt_stat_name=note)
    cluster.eds_cluster_config.eds_config.CopyFrom(ADS)
    endpoints = endpoint_v3.ClusterLoadAssignment(cluster_name=name)
    address = endpoints.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
    address.address, address.port_value = "127.0.0.1", backend
    route = route_v3.RouteConfiguration(name=name)
    host = route.virtual_hosts.add(name="all", domains=["*"])
    host.routes.add(match={"prefix": "/"}, route={"cluster": name})
    manager = hcm_v3.HttpConnectionManager(stat_prefix="in", rds={"config_source": ADS, "route_config_name": name})
    manager.http_filters.add(name="router", typed_config=packed(router_v3.Router()))
    listener = listener_v3.Listener(name=name)
    listener.address.socket_address.address = "127.0.0.1"
    listener.address.socket_address.port_value = port
    listener.filter_chains.add().filters.add(name="http", typed_config=packed(manager))
    return (
        resource(TypeUrl.CLUSTER, name, cluster),
        resource(TypeUrl.ENDPOINT, name, endpoints),
        resource(TypeUrl.ROUTE, name, route),
        resource(TypeUrl.LISTENER, name, listener),
    )


def keys(name: str) -> tuple[tuple[TypeUrl, str], ...]:
    return tuple((url, name) for url in (TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.ROUTE, TypeUrl.LISTENER))


@pytest.fixture
def ports() -> Iterator[list[int]]:
    with closing(HeldPorts()) as held:
        yield [held.take() for _ in range(3)]


@pytest.fixture
async def backends() -> AsyncIterator[list[int]]:
    """Two servers that answer with their number."""
    servers = []
    for number in range(2):
        body = str(number).encode()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes = body) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n" + body)
            await writer.drain()
            writer.close()

        servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
    yield [server.sockets[0].getsockname()[1] for server in servers]
    for server in servers:
        server.close()


@asynccontextmanager
async def envoy(port: int, api_type: str, root: bytes, directory: Path) -> AsyncIterator[None]:
    """Envoy as shop/buyer, with the token of the tests."""
    tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    options = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    bootstrap = {
        "node": {"id": PROXY, "cluster": "tests"},
        "dynamic_resources": {
            "ads_config": {
                "api_type": api_type,
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": "xds",
                            "retry_policy": {"retry_back_off": {"base_interval": "0.05s", "max_interval": "0.2s"}},
                        },
                        "initial_metadata": [{"key": "authorization", "value": "Bearer buyer"}],
                    }
                ],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "xds",
                    "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint]}]},
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": options,
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "transport_socket": {
                        "name": "tls",
                        "typed_config": {
                            "@type": tls,
                            "common_tls_context": {
                                "validation_context": {"trusted_ca": {"inline_string": root.decode()}}
                            },
                        },
                    },
                }
            ]
        },
    }
    path = directory / "bootstrap.json"
    path.write_text(json.dumps(bootstrap))
    with (directory / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(find_envoy().path), "-c", str(path), "--concurrency", "1", "--use-dynamic-base-id",
            "--drain-time-s", "1", "-l", "warning", stderr=log, stdout=log,
        )  # fmt: skip
        try:
            yield
        finally:
            process.kill()
            await process.wait()


async def get(port: int) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
        return answer.status, await answer.text()


def status_of(plane: Plane) -> ProxyStatus:
    status = plane.server.proxies.of(PROXY)
    assert status is not None
    return status


async def synced(plane: Plane, *, types: int = 4) -> None:
    def agreed() -> bool:
        status = plane.server.proxies.of(PROXY)
        return status is not None and status.synced and len(status.stream.substreams) >= types

    await until(agreed)


def nacks(plane: Plane) -> Iterator[str]:
    for answers in status_of(plane).answers.values():
        if answers.last_nack is not None:
            yield answers.last_nack.message


@both
async def test_it_follows_every_change_without_a_rejection(
    make_plane: MakePlane, api_type: str, root_pem: bytes, tmp_path: Path, ports: list[int], backends: list[int]
) -> None:
    plane = await make_plane(clusters=())
    plane.put(*service("old", ports[0], backends[0]))
    async with envoy(plane.port, api_type, root_pem, tmp_path):
        await synced(plane)
        assert await get(ports[0]) == (200, "0")
        # A changed cluster warms until its unchanged endpoints come again.
        for number in range(3):
            plane.put(*service("old", ports[0], backends[0], note=f"n{number}"))
            await synced(plane)
            assert await get(ports[0]) == (200, "0")
        # A rename on one address: make before break, the address changes owner in one response.
        plane.store.apply([ScopeChange("all", service("new", ports[0], backends[1]), keys("old"))])
        while (answer := await get(ports[0])) == (200, "0"):
            pass
        assert answer == (200, "1")
        # Another service beside it; only that is sent.
        plane.put(*service("more", ports[1], backends[0]))
        await synced(plane)
        assert await get(ports[1]) == (200, "0")
        # Endpoints move.
        plane.put(service("more", ports[1], backends[1])[1])
        await synced(plane)
        assert await get(ports[1]) == (200, "1")
        assert list(nacks(plane)) == []
        # What connections of the old listener may still use stays until they are drained.
        assert {name for name in held_clusters(plane) if name != "xds"} == {"old", "new", "more"}


def held_clusters(plane: Plane) -> set[str]:
    return {each.name for each in status_of(plane).holdings() if each.type_url == TypeUrl.CLUSTER and each.acked}


@both
async def test_a_bind_conflict_is_held_back_and_heals(
    make_plane: MakePlane, api_type: str, root_pem: bytes, tmp_path: Path, ports: list[int], backends: list[int]
) -> None:
    plane = await make_plane(clusters=())
    plane.put(*service("first", ports[0], backends[0]))
    async with envoy(plane.port, api_type, root_pem, tmp_path):
        await synced(plane)
        plane.put(*service("second", ports[0], backends[1]), *service("third", ports[1], backends[1]))
        await until(lambda: any(nacks(plane)))
        assert "second" in status_of(plane).stream.substreams[TypeUrl.LISTENER].held
        assert await get(ports[0]) == (200, "0")
        await until(lambda: "third" not in status_of(plane).stream.substreams[TypeUrl.LISTENER].pending)
        plane.store.apply([ScopeChange("all", (), keys("first"))])
        await synced(plane)
        assert await get(ports[0]) == (200, "1")
        assert await get(ports[1]) == (200, "1")


@both
async def test_it_reconnects_to_a_new_server(
    make_plane: MakePlane, api_type: str, root_pem: bytes, tmp_path: Path, ports: list[int], backends: list[int]
) -> None:
    plane = await make_plane(clusters=())
    plane.put(*service("kept", ports[0], backends[0]), *service("gone", ports[1], backends[0]))
    async with envoy(plane.port, api_type, root_pem, tmp_path):
        await synced(plane)
        await plane.server.stop(1)
        assert await get(ports[0]) == (200, "0")
        again = await make_plane(clusters=(), address=f"127.0.0.1:{plane.port}")
        again.put(*service("kept", ports[0], backends[0]), *service("new", ports[2], backends[1]))
        await until(lambda: again.server.proxies.of(PROXY))
        await synced(again)
        assert await get(ports[0]) == (200, "0")
        assert await get(ports[2]) == (200, "1")
        assert list(nacks(again)) == []
        with pytest.raises(aiohttp.ClientError):
            await get(ports[1])
