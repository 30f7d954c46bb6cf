"""The debug endpoint over real HTTP: what it says, what it hides, where it listens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from yarl import URL

from protos.envoy.config.cluster import v3_pb2 as cluster_v3
from protos.envoy.config.core import v3_pb2 as core_v3
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls_v3
from tests.server.plane import PROXY, MakePlane, Plane, cluster, until
from xds.debug import DebugServer
from xds.metrics import Metrics
from xds.resource import Resource, TypeUrl, resource
from xds.status import ProxyRegister
from xds.store import Store

KEY = "-----BEGIN PRIVATE KEY-----"

Get = Callable[..., Awaitable[tuple[int, Any]]]


def secret() -> Resource:
    certificate = tls_v3.TlsCertificate(private_key=core_v3.DataSource(inline_string=KEY))
    return resource(TypeUrl.SECRET, "identity", tls_v3.Secret(name="identity", tls_certificate=certificate))


def cluster_with_a_key() -> Resource:
    context = tls_v3.UpstreamTlsContext()
    context.common_tls_context.tls_certificates.add().private_key.inline_string = KEY
    message = cluster_v3.Cluster(name="keyed")
    message.transport_socket.name = "tls"
    message.transport_socket.typed_config.Pack(context)
    return resource(TypeUrl.CLUSTER, "keyed", message)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Get]]]:
    opened: list[Any] = []

    async def started(plane: Plane, **settings: Any) -> Get:
        server = DebugServer(
            settings.pop("address", "127.0.0.1:0"),
            store=plane.store,
            proxies=plane.server.proxies,
            metrics=plane.server.metrics,
            mesh=lambda: {"services": ["b", "a"]},
            rejections=plane.server.rejections,
            **settings,
        )
        port = await server.start()
        session = aiohttp.ClientSession()
        opened.extend((server.stop, session.close))

        async def get(path: str, **headers: str) -> tuple[int, Any]:
            async with session.get(URL(f"http://127.0.0.1:{port}{path}", encoded=True), headers=headers) as answer:
                text = await answer.text()
                if answer.content_type != "application/json":
                    return answer.status, text
                data = json.loads(text)
                assert text == json.dumps(data, indent=2, sort_keys=True) + "\n"
                return answer.status, data

        return get

    yield started
    for close in reversed(opened):
        await close()


async def test_health_and_readiness(make_plane: MakePlane, serve: Any) -> None:
    plane = await make_plane(ready=False)
    get = await serve(plane)
    assert await get("/healthz") == (200, {"status": "ok"})
    assert await get("/readyz") == (503, {"error": "the first full sync is not done"})
    plane.store.mark_ready()
    assert await get("/readyz") == (200, {"status": "ready"})


async def test_the_index_names_the_paths(plane: Plane, serve: Any) -> None:
    get = await serve(plane)
    status, text = await get("/")
    assert status == 200
    for path in ("/healthz", "/readyz", "/metrics", "/debug/mesh", "/debug/proxies"):
        assert path in text


async def test_mesh_and_metrics(plane: Plane, serve: Any) -> None:
    get = await serve(plane)
    assert await get("/debug/mesh") == (200, {"services": ["b", "a"]})
    status, text = await get("/metrics")
    assert status == 200
    assert "tulle_xds_connected_proxies 0.0" in text
    assert 'tulle_xds_nacks_total{type="Listener"} 0.0' in text


async def test_errors_are_json(plane: Plane, serve: Any) -> None:
    get = await serve(plane)
    assert await get("/nowhere") == (404, {"error": "not found", "path": "/nowhere"})
    assert await get("/debug/proxies/shop/nobody") == (404, {"error": "no proxy shop/nobody"})


async def test_a_proxy_that_is_not_connected(plane: Plane, serve: Any) -> None:
    get = await serve(plane)
    assert await get("/debug/proxies") == (200, [{"proxy": PROXY, "connected": None, "synced": False}])
    status, page = await get(f"/debug/proxies/{PROXY}")
    assert status == 200
    assert page["resources"] == {
        "Cluster": {name: {"version": cluster(name).version, "sent": None, "acked": None} for name in "ab"}
    }


async def test_a_connected_proxy(plane: Plane, serve: Any) -> None:
    get = await serve(plane)
    async with plane.connected() as client:
        (_, [summary]) = await get("/debug/proxies")
        assert summary.pop("connected").endswith("Z")
        assert summary.pop("address").startswith("ipv4:127.0.0.1:")
        assert summary == {
            "proxy": PROXY,
            "protocol": "delta",
            "user_agent": "envoy",
            "subject": "spiffe://mesh/ns/shop/sa/buyer",
            "synced": True,
            "types": {
                "Cluster": {"held": 2, "acked": 2, "acks": 1, "nacks": 0, "last_nack": None, "held_back": []},
            },
            "nacks": 0,
            "last_nack": None,
        }
        old, new = cluster("a").version, cluster("a", "2").version
        plane.put(cluster("a", "2"))
        response = await client.receive()
        (_, page) = await get(f"/debug/proxies/{PROXY}")
        assert page["synced"] is False
        assert page["types"]["Cluster"]["acked"] == 1
        assert page["resources"]["Cluster"]["a"] == {"version": new, "sent": new, "acked": old}
        await client.send(response_nonce=response.nonce, error_detail={"code": 13, "message": "a: bad"})
        status = plane.server.proxies.of(PROXY)
        assert status is not None
        await until(lambda: status.answers[TypeUrl.CLUSTER].nacks)
        (_, page) = await get(f"/debug/proxies/{PROXY}")
        assert page["nacks"] == 1
        assert page["last_nack"]["message"] == "a: bad"
        assert page["last_nack"]["names"] == ["a"]
        assert page["types"]["Cluster"]["held_back"] == ["a"]
        assert page["resources"]["Cluster"]["a"] == {
            "version": new,
            "sent": old,
            "acked": old,
            "rejected": new,
            "reason": "a: bad",
        }
        (_, (rejection,)) = await get("/debug/rejections")
        assert rejection.pop("since")
        assert rejection == {
            "type": "Cluster",
            "name": "a",
            "version": new,
            "proxies": [PROXY],
            "of": 1,
            "reason": "a: bad",
        }


@pytest.mark.parametrize("connected", [True, False])
async def test_content_is_shown_and_keys_are_not(plane: Plane, serve: Any, connected: bool) -> None:
    plane.store.set_own(PROXY, (secret(), cluster_with_a_key()))
    get = await serve(plane)
    async with plane.client() as client:
        if connected:
            await client.send(node=PROXY)
            await client.receive()
            await client.send(type_url=TypeUrl.SECRET, resource_names_subscribe=["identity"])
            await client.receive()
        (_, page) = await get(f"/debug/proxies/{PROXY}?config=1")
    assert page["resources"]["Secret"]["identity"]["config"] == "<redacted>"
    assert page["resources"]["Cluster"]["a"]["config"] == {"name": "a"}
    socket = page["resources"]["Cluster"]["keyed"]["config"]["transport_socket"]
    assert socket["typed_config"]["common_tls_context"] == {"tls_certificates": [{"private_key": "<redacted>"}]}
    assert KEY not in json.dumps(page)


PATHS = {
    "/": 200,
    "/metrics": 200,
    "/debug/mesh": 200,
    "/debug/proxies": 200,
    "/debug/rejections": 200,
    f"/debug/proxies/{PROXY}": 200,
    f"/debug/proxies/{PROXY}?config=1": 200,
    "/debug/proxies/shop/nobody": 404,
    "/nowhere": 404,
    # Ways to say an open path and mean another.
    "/healthz/../metrics": 404,
    "/healthz/": 404,
    "//healthz": 404,
    "/HEALTHZ": 404,
    "/healthz%2f..%2fmetrics": 404,
    "/healthz;/metrics": 404,
}
NOT_THE_TOKEN = {
    "none": None,
    "empty": "",
    "wrong": "Bearer wrong",
    "a beginning": "Bearer open",
    "more": "Bearer open sesame!",
    "another scheme": "Basic open sesame",
    "without scheme": "open sesame",
    "not ASCII": "Bearer open sesam\u00e9",
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("presented", NOT_THE_TOKEN.values(), ids=NOT_THE_TOKEN)
async def test_nothing_is_told_without_the_token(plane: Plane, serve: Any, path: str, presented: str | None) -> None:
    get = await serve(plane, address="0.0.0.0:0", token="open sesame")
    headers = {} if presented is None else {"Authorization": presented}
    assert await get(path, **headers) == (401, {"error": "a bearer token is needed"})


@pytest.mark.parametrize(("path", "status"), PATHS.items())
async def test_the_token_opens_every_path(plane: Plane, serve: Any, path: str, status: int) -> None:
    get = await serve(plane, address="0.0.0.0:0", token="open sesame")
    assert (await get(path, Authorization="Bearer open sesame"))[0] == status


def test_every_path_is_tried() -> None:
    """A path that is added is to be in the table above."""
    server = debug_server("127.0.0.1:0")
    routes = {route.resource.canonical for route in server.application().router.routes() if route.resource is not None}
    tried = {path.partition("?")[0].replace(PROXY, "{namespace}/{workload}") for path in PATHS}
    assert routes - {"/healthz", "/readyz"} <= tried


async def test_probes_need_no_token(plane: Plane, serve: Any) -> None:
    get = await serve(plane, address="0.0.0.0:0", token="open sesame")
    assert await get("/healthz") == (200, {"status": "ok"})
    assert await get("/readyz") == (200, {"status": "ready"})


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.com:1", ":1"])
def test_off_loopback_needs_a_token(address: str) -> None:
    with pytest.raises(ValueError, match="is off loopback and needs a token"):
        debug_server(address)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.9.9.9:1", "[::1]:1", "localhost:1"])
def test_loopback_needs_none(address: str) -> None:
    debug_server(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost:http", ""])
def test_an_address_has_a_port(address: str) -> None:
    with pytest.raises(ValueError, match="is not an address of the form host:port"):
        debug_server(address)


def debug_server(address: str) -> DebugServer:
    return DebugServer(address, store=Store(), proxies=ProxyRegister(), metrics=Metrics(), mesh=dict)


async def test_a_port_is_had_once(plane: Plane) -> None:
    first = debug_server("127.0.0.1:0")
    port = await first.start()
    with pytest.raises(OSError, match=str(port)):
        await debug_server(f"127.0.0.1:{port}").start()
    await first.stop()
