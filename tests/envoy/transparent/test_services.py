"""Calls of service addresses and of headless endpoints: where they go, who they are, and what the wire shows."""

from __future__ import annotations

import socket
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.demo.waiting import eventually
from tests.envoy.transparent import shop
from tests.envoy.transparent.conftest import OpenScene
from tests.envoy.transparent.host import WORDS, received
from tests.envoy.transparent.scene import Scene
from tests.envoy.transparent.shop import CLIENT, PLAIN, THIEF, V1, V2, VIRTUAL

pytestmark = [pytest.mark.envoy, pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

CALLER = "URI=spiffe://cluster.local/ns/shop/sa/client"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(open_scene: OpenScene) -> AsyncIterator[Scene]:
    files = {"workloads.yaml": shop.WORKLOADS, "services.yaml": shop.SERVICES, "access.yaml": shop.ACCESS}
    async with open_scene(files) as scene:
        # One listens on every address, the other on its own: a redirect must not care.
        await scene.add_application(V1, *shop.ANSWERED_PORTS, *shop.HEADLESS_PORTS)
        await scene.add_application(V2, *shop.ANSWERED_PORTS, *shop.HEADLESS_PORTS, bind="10.99.2.2")
        await scene.add_application(PLAIN, *shop.HEADLESS_PORTS)
        # Containers often have IPv6 switched off, in a kernel that has it.
        client = await scene.add_host(CLIENT)
        client.namespace.run(Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text, "1")
        await scene.add_host(THIEF)
        await scene.add_sidecars(CLIENT, THIEF, V1, V2)
        yield scene


@pytest_asyncio.fixture(loop_scope="module")
async def scene(running: Scene) -> AsyncIterator[Scene]:
    yield running
    await running.settled()
    assert await running.mesh.nacks() == 0


def token() -> str:
    """A word that nobody else says."""
    return uuid.uuid4().hex


async def test_http_at_the_service_address(scene: Scene) -> None:
    path = f"/public/{token()}"
    answers = [scene[CLIENT].http(VIRTUAL, path=path).told for _ in range(8)]
    assert {answer["name"] for answer in answers} == {"server-v1-0", "server-v2-0"}
    assert {answer["path"] for answer in answers} == {path}
    assert all(CALLER in answer["client"] for answer in answers)
    assert not scene.wire.shows(path.encode(), scene[CLIENT])


@pytest.mark.parametrize(
    "host", ["server", "server.shop.svc.cluster.local", "10.96.1.1", "[fd00::1]:8080", "A.B:1", ""]
)
async def test_any_host_header(scene: Scene, host: str) -> None:
    answer = scene[CLIENT].http(VIRTUAL, host=host, version="HTTP/1.1" if host else "HTTP/1.0")
    assert answer.status == 200
    assert answer.told["host"] == host or not host


async def test_tcp_at_the_service_address(scene: Scene) -> None:
    data = token().encode()
    assert scene[CLIENT].echo(VIRTUAL, 90, data) == data
    assert not scene.wire.shows(data, scene[CLIENT])
    greeting, seconds = scene[CLIENT].greeting(VIRTUAL, 91)
    assert greeting.startswith(b"220 server-v")
    assert seconds < 0.5
    assert not scene.wire.shows(greeting, scene[CLIENT])


async def test_much_data_at_once_and_half_closed_connections(scene: Scene) -> None:
    """What a client sends before the way to the server is open must not get lost."""
    data = uuid.uuid4().bytes * 100_000
    with scene[CLIENT].dial(VIRTUAL, 90) as connection, ThreadPoolExecutor(1) as sending:
        sent = sending.submit(connection.sendall, data)
        assert received(connection, len(data)) == data
        sent.result()
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    with scene[CLIENT].dial(VIRTUAL, 90) as connection:
        connection.sendall(WORDS)
        connection.shutdown(socket.SHUT_WR)
        assert received(connection, len(WORDS) + 1) == WORDS


async def test_a_wrong_identity_is_refused(scene: Scene) -> None:
    assert scene[THIEF].status(VIRTUAL) == 403
    assert scene[THIEF].echo(VIRTUAL, 90) == b""
    assert scene[THIEF].status(scene[V1].address, 8081) == 403
    assert scene[THIEF].echo(scene[V1].address, 9100) == b""
    assert scene[CLIENT].status(VIRTUAL, path="/admin") == 403
    assert scene[CLIENT].status(VIRTUAL, path="/public/..%2Fadmin") == 403
    assert scene[CLIENT].status(VIRTUAL, method="DELETE") == 403


async def test_a_wrong_identity_hears_nothing_from_a_server_that_speaks_first(scene: Scene) -> None:
    assert scene[THIEF].greeting(VIRTUAL, 91)[0] == b""
    assert scene[THIEF].greeting(scene[V1].address, 9101)[0] == b""


async def test_split(scene: Scene) -> None:
    async def all_to(*names: str) -> bool:
        return {scene[CLIENT].http(VIRTUAL).told["name"] for _ in range(20)} == set(names)

    async def greeted_by(name: str) -> bool:
        return {scene[CLIENT].greeting(VIRTUAL, 91)[0] for _ in range(6)} == {f"220 {name}\r\n".encode()}

    with scene[CLIENT].dial(VIRTUAL, 90) as held:
        held.sendall(b"one")
        assert held.recv(3) == b"one"
        for v1, v2, name in ((100, 0, "server-v1-0"), (0, 100, "server-v2-0")):
            scene.mesh.write("split.yaml", shop.split(v1, v2))
            await eventually(lambda name=name: all_to(name), f"requests to go to {name}")
            await eventually(lambda name=name: greeted_by(name), f"connections to go to {name}")
        scene.mesh.write("split.yaml", shop.split(50, 50))
        await eventually(lambda: all_to("server-v1-0", "server-v2-0"), "requests to go to both")
        held.sendall(b"two")
        assert held.recv(3) == b"two"
    scene.mesh.remove("split.yaml")


async def test_access_is_taken_and_given_live(scene: Scene) -> None:
    async def answers(status: int) -> bool:
        return scene[CLIENT].status(VIRTUAL) == status

    async def echoes(data: bytes) -> bool:
        return scene[CLIENT].echo(VIRTUAL, 90) == data

    scene.mesh.remove("access.yaml")
    await eventually(lambda: answers(403), "requests to be refused")
    await eventually(lambda: echoes(b""), "connections to be refused")
    scene.mesh.write("access.yaml", shop.ACCESS)
    await eventually(lambda: answers(200), "requests to be answered")
    await eventually(lambda: echoes(WORDS), "connections to be served")


@pytest.mark.parametrize("server", [V1, V2])
async def test_headless_endpoint_in_the_mesh(scene: Scene, server: str) -> None:
    address, name, said = scene[server].address, server.rpartition("/")[2], token()
    answers = [scene[CLIENT].http(address, 8081, path=f"/public/{said}").told for _ in range(4)]
    assert {answer["name"] for answer in answers} == {name}
    assert all(CALLER in answer["client"] for answer in answers)
    assert scene[CLIENT].echo(address, 9100, said.encode()) == said.encode()
    assert not scene.wire.shows(said.encode(), scene[CLIENT])
    greeting, seconds = scene[CLIENT].greeting(address, 9101)
    assert greeting == f"220 {name}\r\n".encode()
    assert seconds < 0.5


async def test_headless_endpoint_without_a_sidecar(scene: Scene) -> None:
    address, said = scene[PLAIN].address, token()
    answer = scene[CLIENT].http(address, 8081, path=f"/{said}").told
    assert (answer["name"], answer["client"], answer["peer"]) == ("plain-0", None, scene[CLIENT].address)
    assert scene.wire.shows(said.encode(), scene[CLIENT])
    assert scene[CLIENT].echo(address, 9100) == WORDS
    greeting, seconds = scene[CLIENT].greeting(address, 9101)
    assert greeting == b"220 plain-0\r\n"
    assert seconds < 0.5
