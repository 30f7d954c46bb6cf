"""Everything that is no service address: the outside world, pod addresses, oneself, other ports, and UDP."""

from __future__ import annotations

import contextlib
import ssl
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.demo.waiting import eventually
from deploy.sidecar.redirect import INBOUND_PORT, OUTBOUND_PORT
from tests.envoy.transparent import shop
from tests.envoy.transparent.conftest import OpenScene
from tests.envoy.transparent.credentials import mesh_client
from tests.envoy.transparent.host import WORDS, received
from tests.envoy.transparent.scene import Scene
from tests.envoy.transparent.shop import CLIENT, OUTSIDE, UNNAMED_PORT, V1, VIRTUAL_V1

pytestmark = [pytest.mark.envoy, pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

UNNAMED = (f"echo:{UNNAMED_PORT}", "greet:7001")
OTHER_PORT = f"""
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {{name: unnamed, namespace: shop}}
spec:
  matches: {{ports: [{UNNAMED_PORT}]}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {{name: unnamed, namespace: shop}}
spec:
  destination: {{kind: ServiceAccount, name: server, namespace: shop}}
  rules: [{{kind: TCPRoute, name: unnamed}}]
  sources: [{{kind: ServiceAccount, name: friend, namespace: shop}}]
"""
OWN_SERVICE = """
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: own-requests, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: server, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: all-but-admin}]
  sources: [{kind: ServiceAccount, name: server, namespace: shop}]
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: own-streams, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: server, namespace: shop}
  rules: [{kind: TCPRoute, name: streams}]
  sources: [{kind: ServiceAccount, name: server, namespace: shop}]
"""


def mesh_config(settings: str) -> str:
    return f"""
apiVersion: tulle.dev/v1alpha1
kind: MeshConfig
metadata: {{name: default}}
spec: {settings}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(open_scene: OpenScene) -> AsyncIterator[Scene]:
    files = {
        "workloads.yaml": shop.WORKLOADS,
        "services.yaml": shop.SERVICES,
        "access.yaml": shop.ACCESS,
        "outsider.yaml": shop.OUTSIDER,
    }
    async with open_scene(files) as scene:
        await scene.add_application(V1, *shop.ANSWERED_PORTS, *UNNAMED, "udp:9053")
        await scene.add_application(OUTSIDE, *shop.ANSWERED_PORTS, "udp:9053")
        scene.mesh.remove("outsider.yaml")
        await scene.add_host(CLIENT)
        await scene.add_sidecars(CLIENT, V1)
        yield scene


@pytest_asyncio.fixture(loop_scope="module")
async def scene(running: Scene) -> AsyncIterator[Scene]:
    yield running
    await running.settled()
    assert await running.mesh.nacks() == 0


async def test_the_outside_world_is_reached_unchanged(scene: Scene) -> None:
    client, address, said = scene[CLIENT], scene[OUTSIDE].address, uuid.uuid4().hex
    answer = client.http(address, 8080, path=f"/../{said}//", host="Any.Thing:1").told
    assert (answer["path"], answer["host"], answer["client"]) == (f"/../{said}//", "Any.Thing:1", None)
    assert answer["peer"] == client.address
    assert scene.wire.shows(said.encode(), client)
    assert client.echo(address, 9000, said.encode()) == said.encode()
    greeting, seconds = client.greeting(address, 9001)
    assert greeting == b"220 outside-0\r\n"
    assert seconds < 0.5


async def test_egress_is_switched_live(scene: Scene) -> None:
    client, address = scene[CLIENT], scene[OUTSIDE].address

    async def reachable(yes: bool) -> bool:
        return (client.status(address, 8080) == 200) is yes

    scene.mesh.write("config.yaml", mesh_config("{egress: deny}"))
    await eventually(lambda: reachable(False), "the outside world to be refused")
    assert client.echo(address, 9000) == b""
    assert client.greeting(address, 9001)[0] == b""
    assert client.status(VIRTUAL_V1) == 200
    scene.mesh.write("config.yaml", mesh_config("{egress: allow}"))
    await eventually(lambda: reachable(True), "the outside world to be reached")
    assert client.echo(address, 9000) == WORDS
    scene.mesh.remove("config.yaml")
    await scene.settled()
    assert client.status(address, 8080) == 200


async def test_udp_is_left_alone(scene: Scene) -> None:
    for server in (OUTSIDE, V1):
        assert scene[CLIENT].datagram(scene[server].address, 9053, b"who is it?") == b"who is it?"
    assert scene.wire.shows(b"who is it?", scene[CLIENT])


async def test_the_pod_address_of_an_ordinary_service(scene: Scene) -> None:
    """It passes through in plaintext, so it is for the server to say whether it takes that."""
    client, server = scene[CLIENT], scene[V1].address
    assert client.status(server, 8080) is None
    assert client.echo(server, 9000) == b""

    async def open_to_all(yes: bool) -> bool:
        return (client.status(server, 8080) == 200) is yes

    scene.mesh.write("config.yaml", mesh_config("{mtls: permissive, trafficPolicy: permissive}"))
    await eventually(lambda: open_to_all(True), "plaintext to be accepted")
    assert client.http(server, 8080).told["client"] is None
    assert client.echo(server, 9000) == WORDS
    greeting, seconds = client.greeting(server, 9001)
    assert greeting == b"220 server-v1-0\r\n"
    assert seconds < 0.5
    assert client.http(VIRTUAL_V1).told["client"] is not None
    scene.mesh.remove("config.yaml")
    await eventually(lambda: open_to_all(False), "plaintext to be refused")
    assert client.status(VIRTUAL_V1) == 200


async def test_an_edited_workload_keeps_its_capture_port(scene: Scene) -> None:
    """Its labels make it another class, whose inbound listener takes over the one capture port there is."""
    client, labels = scene[CLIENT], "{app: server, version: v1, stateful: set}"
    echoes: list[bytes] = []

    async def taken_over() -> bool:
        echoes.append(client.echo(VIRTUAL_V1, 90))
        listeners = await scene.mesh.admin(V1, "/listeners")
        return sorted(listeners.split()) != before

    before = sorted((await scene.mesh.admin(V1, "/listeners")).split())
    assert labels in shop.WORKLOADS
    scene.mesh.write("workloads.yaml", shop.WORKLOADS.replace(labels, labels.replace("}", ", track: canary}")))
    await eventually(taken_over, "another inbound listener")
    await scene.settled()
    echoes += [client.echo(VIRTUAL_V1, 90) for _ in range(20)]
    assert set(echoes) == {WORDS}
    scene.mesh.write("workloads.yaml", shop.WORKLOADS)


async def test_ports_that_no_service_names(scene: Scene) -> None:
    """No sidecar speaks mutual TLS to them, so only whoever takes plaintext and grants it to all is reached."""
    client, server = scene[CLIENT], scene[V1].address

    async def answers(data: bytes) -> bool:
        return client.echo(server, UNNAMED_PORT) == data

    async def forbidden() -> bool:
        return client.status(server, 8080) == 403

    assert await answers(b"")
    scene.mesh.write("config.yaml", mesh_config("{mtls: permissive}"))
    await eventually(forbidden, "plaintext to be taken, and refused by the rules")
    assert await answers(b"")
    # Nobody without an identity is told anything either.
    assert client.greeting(server, 7001)[0] == b""
    scene.mesh.write("config.yaml", mesh_config("{mtls: permissive, trafficPolicy: permissive}"))
    await eventually(lambda: answers(WORDS), "the port to answer")
    scene.mesh.remove("config.yaml")
    await eventually(lambda: answers(b""), "the port to be closed again")


async def test_a_grant_for_ports_that_no_service_names(scene: Scene, tmp_path: Path) -> None:
    """Who speaks mesh TLS to them is let in by a TCPRoute, and by that port only."""
    server = scene[V1].address
    friend, stranger = (mesh_client(scene.mesh.state, tmp_path, account) for account in ("friend", "client"))

    def spoken_to(context: ssl.SSLContext, port: int) -> bytes:
        with contextlib.suppress(OSError), scene[OUTSIDE].dial(server, port) as raw, context.wrap_socket(raw) as client:
            client.sendall(WORDS)
            return received(client, len(WORDS))
        return b""

    assert spoken_to(friend, UNNAMED_PORT) == b""
    scene.mesh.write("other.yaml", OTHER_PORT)

    async def answers() -> bool:
        return spoken_to(friend, UNNAMED_PORT) == WORDS

    await eventually(answers, "the port to answer its friend")
    assert spoken_to(stranger, UNNAMED_PORT) == b""
    assert spoken_to(friend, 7001) == b""
    scene.mesh.remove("other.yaml")


async def test_ones_own_service(scene: Scene) -> None:
    """Its calls pass its own inbound listener, so they need a grant like anybody's."""
    server, said = scene[V1], uuid.uuid4().hex
    assert server.status(VIRTUAL_V1) == 403
    assert server.echo(VIRTUAL_V1, 90) == b""

    async def answers(status: int) -> bool:
        return server.status(VIRTUAL_V1) == status

    async def echoes(data: bytes) -> bool:
        return server.echo(VIRTUAL_V1, 90) == data

    scene.mesh.write("own.yaml", OWN_SERVICE)
    await eventually(lambda: answers(200), "its own requests to be answered")
    await eventually(lambda: echoes(WORDS), "its own connections to be served")
    told = server.http(VIRTUAL_V1, path=f"/public/{said}").told
    assert (told["name"], told["path"]) == ("server-v1-0", f"/public/{said}")
    assert "URI=spiffe://cluster.local/ns/shop/sa/server" in told["client"]
    greeting, seconds = server.greeting(VIRTUAL_V1, 91)
    assert greeting == b"220 server-v1-0\r\n"
    assert seconds < 0.5
    scene.mesh.remove("own.yaml")
    await eventually(lambda: answers(403), "its own requests to be refused")
    # What it calls by its own address or loopback leaves no workload: it stays what it was.
    assert server.status(server.address, 8080) == 200
    assert server.status("127.0.0.1", 8080) == 200


async def test_capture_ports_are_closed_to_all(scene: Scene) -> None:
    for caller in (CLIENT, V1, OUTSIDE):
        for server in ("127.0.0.1", scene[CLIENT].address, scene[V1].address):
            for port in (OUTBOUND_PORT, INBOUND_PORT):
                assert scene[caller].echo(server, port) == b""
    for workload in (CLIENT, V1):
        counted = (await scene.mesh.admin(workload, "/stats?filter=upstream_cx_total$")).splitlines()
        made = sum(int(line.rpartition(": ")[2]) for line in counted)
        assert made < 500, "an Envoy has called itself, again and again"


async def test_the_redirect_is_removed_at_the_end(scene: Scene) -> None:
    client = scene[CLIENT]
    assert "table inet tulle" in client.namespace.shell("nft", "list", "ruleset")
    assert await scene.mesh.stop_sidecar(CLIENT) == 0
    assert client.namespace.shell("nft", "list", "ruleset") == ""
    assert "::6" not in client.namespace.shell("ip", "address", "show", "dev", "lo")
    assert client.http(scene[OUTSIDE].address, 8080).told["peer"] == client.address
