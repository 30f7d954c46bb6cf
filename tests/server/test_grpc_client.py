"""gRPC's own ``xds:///`` client as an independent client of this server.

It is the xDS client of gRPC's C core, which every wheel of grpcio holds: SotW over ADS, names only, never a wildcard,
``xds.config.resource-in-sotw`` among its features. Its bootstrap comes from the environment of a process, so it runs
in a process of its own, which makes one call for every line it is told and says what came of it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from protos.envoy.config.cluster import v3_pb2 as cluster_v3
from protos.envoy.config.core import v3_pb2 as core_v3
from protos.envoy.config.endpoint import v3_pb2 as endpoint_v3
from protos.envoy.config.listener import v3_pb2 as listener_v3
from protos.envoy.config.route import v3_pb2 as route_v3
from protos.envoy.extensions.filters.http.router import v3_pb2 as router_v3
from protos.envoy.extensions.filters.network.http_connection_manager import v3_pb2 as hcm_v3
from tests.server.plane import PROXY, MakePlane, Plane, until
from xds.authentication import Credential
from xds.resource import Resource, TypeUrl, resource
from xds.status import ProxyStatus
from xds.store import ScopeChange

ADS = core_v3.ConfigSource(ads=core_v3.AggregatedConfigSource(), resource_api_version=core_v3.ApiVersion.V3)
LISTENER, ROUTE = "greeter", "routes/greeter"

CLIENT = """
import json, sys, grpc
channel = grpc.insecure_channel("xds:///greeter")
greet = channel.unary_unary("/test.Greeter/Greet")
for line in sys.stdin:
    try:
        answer = ["OK", greet(b"hello", timeout=float(line)).decode()]
    except grpc.RpcError as error:
        answer = [error.code().name, error.details()]
    print(json.dumps(answer), flush=True)
"""


def listener() -> Resource:
    manager = hcm_v3.HttpConnectionManager(rds={"config_source": ADS, "route_config_name": ROUTE})
    router = AnyMessage()
    router.Pack(router_v3.Router())
    manager.http_filters.add(name="router", typed_config=router)
    api = AnyMessage()
    api.Pack(manager)
    message = listener_v3.Listener(name=LISTENER, api_listener=listener_v3.ApiListener(api_listener=api))
    return resource(TypeUrl.LISTENER, LISTENER, message)


def route(cluster: str) -> Resource:
    message = route_v3.RouteConfiguration(name=ROUTE)
    host = message.virtual_hosts.add(name="all", domains=["*"])
    host.routes.add(match={"prefix": ""}, route={"cluster": cluster})
    return resource(TypeUrl.ROUTE, ROUTE, message)


def cluster(name: str, kind: Any = cluster_v3.Cluster.EDS) -> Resource:
    message = cluster_v3.Cluster(name=name, type=kind)
    message.eds_cluster_config.eds_config.CopyFrom(ADS)
    message.eds_cluster_config.service_name = f"endpoints/{name}"
    return resource(TypeUrl.CLUSTER, name, message)


def endpoints(cluster: str, port: int) -> Resource:
    name = f"endpoints/{cluster}"
    message = endpoint_v3.ClusterLoadAssignment(cluster_name=name)
    locality = message.endpoints.add(locality={"zone": "here"}, load_balancing_weight={"value": 1})
    address = locality.lb_endpoints.add().endpoint.address.socket_address
    address.address, address.port_value = "127.0.0.1", port
    return resource(TypeUrl.ENDPOINT, name, message)


def put(plane: Plane, *resources: Resource) -> None:
    plane.store.apply([ScopeChange("all", resources)])


def serve(plane: Plane, port: int) -> None:
    """All that ``xds:///greeter`` needs."""
    put(plane, listener(), route("blue"), cluster("blue"), endpoints("blue", port))


def status_of(plane: Plane) -> ProxyStatus:
    status = plane.server.proxies.of(PROXY)
    assert status is not None
    return status


@pytest.fixture
async def greeters() -> AsyncIterator[list[int]]:
    """The ports of two servers that answer with their number."""
    ports, servers = [], []
    for number in (b"0", b"1"):

        async def greet(_request: bytes, _context: Any, number: bytes = number) -> bytes:
            return number

        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(greet)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Greeter", {"Greet": method}),))
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        servers.append(server)
    yield ports
    for server in servers:
        await server.stop(None)


class Greeting:
    """The client process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, timeout: float = 10.0) -> tuple[str, str]:  # noqa: ASYNC109  # the deadline of the call
        """One call: its status, and the answer or what the client says went wrong."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{timeout}\n".encode())
        line = await asyncio.wait_for(self._process.stdout.readline(), timeout + 10)
        code, text = json.loads(line)
        return code, text

    async def becomes(self, *expected: str, failing: bool = False) -> None:
        """Call until the answer is this one. Meanwhile calls succeed, unless they were ``failing`` before."""
        end = time.monotonic() + 10
        while (answer := await self.call()) != expected:
            assert failing or answer[0] == "OK", answer
            assert time.monotonic() < end, answer

    async def becomes_a_failure(self) -> tuple[str, str]:
        """Call until a call fails."""
        end = time.monotonic() + 10
        while (answer := await self.call())[0] == "OK":
            assert time.monotonic() < end
        return answer


Greet = Callable[..., Awaitable[Greeting]]


@pytest.fixture
async def greet(root_pem: bytes, tmp_path: Path) -> AsyncIterator[Greet]:
    async with AsyncExitStack() as stack:

        async def start(plane: Plane, *, known: bool = True) -> Greeting:
            return await stack.enter_async_context(client(plane, root_pem, tmp_path, known=known))

        yield start


@asynccontextmanager
async def client(plane: Plane, root_pem: bytes, directory: Path, *, known: bool) -> AsyncIterator[Greeting]:
    """A client that trusts the server by its certificate, and shows it a bearer token."""
    token = unsigned_jwt()
    if known:
        plane.tokens.credentials[token] = Credential("spiffe://mesh/ns/shop/sa/buyer", PROXY)
    roots, token_file = directory / "roots.pem", directory / "token"
    roots.write_bytes(root_pem)
    token_file.write_text(token)
    server = {
        "server_uri": f"127.0.0.1:{plane.port}",
        "channel_creds": [{"type": "tls", "config": {"ca_certificate_file": str(roots)}}],
        "call_creds": [{"type": "jwt_token_file", "config": {"jwt_token_file": str(token_file)}}],
        "server_features": ["xds_v3"],
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CLIENT,
        env={
            **os.environ,
            "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps({"xds_servers": [server], "node": {"id": PROXY}}),
            "GRPC_EXPERIMENTAL_XDS_BOOTSTRAP_CALL_CREDS": "true",
            "GRPC_VERBOSITY": "NONE",
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Greeting(process)
    finally:
        process.kill()
        await process.wait()


def unsigned_jwt() -> str:
    """The client reads the expiry of its token, so it must look like a JWT; nobody checks its signature here."""
    parts = ({"alg": "none"}, {"exp": int(time.time()) + 3600})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


async def test_a_call_finds_its_way(plane: Plane, greeters: list[int], greet: Greet) -> None:
    serve(plane, greeters[0])
    assert await (await greet(plane)).call() == ("OK", "0")
    status = status_of(plane)
    await until(lambda: status.synced)
    assert status.stream.protocol == "sotw"
    assert not any(answers.nacks for answers in status.answers.values())


async def test_endpoints_that_move_and_routes_that_change_take_effect(
    plane: Plane, greeters: list[int], greet: Greet
) -> None:
    serve(plane, greeters[0])
    client = await greet(plane)
    assert await client.call() == ("OK", "0")
    put(plane, endpoints("blue", greeters[1]))
    await client.becomes("OK", "1")
    put(plane, route("green"), cluster("green"), endpoints("green", greeters[0]))
    await client.becomes("OK", "0")
    plane.store.apply([ScopeChange("all", (), ((TypeUrl.CLUSTER, "blue"), (TypeUrl.ENDPOINT, "endpoints/blue")))])
    await until(lambda: "blue" not in [holding.name for holding in status_of(plane).holdings()])
    assert await client.call() == ("OK", "0")


async def test_a_route_that_is_missing_is_said_so_at_once(plane: Plane, greeters: list[int], greet: Greet) -> None:
    """By the empty RouteConfiguration: of silence, this client would make an error after 15 s."""
    put(plane, listener())
    client = await greet(plane)
    code, reason = await client.call()
    assert code == "UNAVAILABLE"
    assert "could not find VirtualHost for greeter" in reason
    serve(plane, greeters[0])
    await client.becomes("OK", "0", failing=True)


async def test_endpoints_that_are_missing_are_said_so_at_once(plane: Plane, greeters: list[int], greet: Greet) -> None:
    put(plane, listener(), route("blue"), cluster("blue"))
    client = await greet(plane)
    code, reason = await client.call()
    assert code == "UNAVAILABLE"
    assert "endpoints/blue" in reason
    put(plane, endpoints("blue", greeters[0]))
    await client.becomes("OK", "0", failing=True)


async def test_a_listener_is_waited_for_and_its_end_is_an_error(
    plane: Plane, greeters: list[int], greet: Greet
) -> None:
    """A full-state answer without it means "not yet" before its first appearance (for 15 s), and "gone" after."""
    client = await greet(plane)
    assert (await client.call(0.3))[0] == "DEADLINE_EXCEEDED"
    serve(plane, greeters[0])
    assert await client.call() == ("OK", "0")
    plane.store.apply([ScopeChange("all", (), ((TypeUrl.LISTENER, LISTENER),))])
    await until(lambda: status_of(plane).synced)
    code, reason = await client.becomes_a_failure()
    assert code == "UNAVAILABLE"
    assert "does not exist" in reason


async def test_a_rejection_names_its_resource_and_costs_no_traffic(
    plane: Plane, greeters: list[int], greet: Greet
) -> None:
    serve(plane, greeters[0])
    client = await greet(plane)
    assert await client.call() == ("OK", "0")
    put(plane, cluster("blue", cluster_v3.Cluster.STATIC))
    answers = status_of(plane).answers_of(TypeUrl.CLUSTER)
    await until(lambda: answers.last_nack)
    assert answers.last_nack is not None
    assert answers.last_nack.names == ("blue",)
    assert "unknown discovery type" in answers.last_nack.message
    put(plane, endpoints("blue", greeters[1]))
    await client.becomes("OK", "1")


async def test_a_new_server_takes_over(make_plane: MakePlane, greeters: list[int], greet: Greet) -> None:
    old = await make_plane(clusters=())
    serve(old, greeters[0])
    client = await greet(old)
    assert await client.call() == ("OK", "0")
    await old.server.stop(1)
    assert await client.call() == ("OK", "0")
    new = await make_plane(clusters=(), address=f"127.0.0.1:{old.port}")
    new.tokens.credentials.update(old.tokens.credentials)
    serve(new, greeters[1])
    await client.becomes("OK", "1")
    await until(lambda: status_of(new).synced)
    assert not any(answers.nacks for answers in status_of(new).answers.values())


async def test_an_unknown_token_is_the_reason(plane: Plane, greet: Greet) -> None:
    code, reason = await (await greet(plane, known=False)).call()
    assert code == "UNAVAILABLE"
    assert "UNAUTHENTICATED: the token is unknown" in reason
