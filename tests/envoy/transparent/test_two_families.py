"""IPv6 beside IPv4: Services with addresses of both families, and workloads with either."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.sidecar.redirect import INBOUND_PORT, OUTBOUND_PORT, kernel_has_ipv6
from tests.envoy.transparent import shop
from tests.envoy.transparent.conftest import OpenScene
from tests.envoy.transparent.host import WORDS
from tests.envoy.transparent.scene import Scene
from tests.envoy.transparent.shop import CLIENT, OUTSIDE, V1, V2, VIRTUAL_V1

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.root,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not kernel_has_ipv6(), reason="this kernel has no IPv6"),
]

VIRTUAL6_V1, VIRTUAL6_V2 = "fd96::1:2", "fd96::1:3"
ADDRESSES6 = {CLIENT: "fd99::1:1", V1: "fd99::2:1", V2: "fd99::2:2", OUTSIDE: "fd99::4:1"}
GATEWAY6 = "fd99::1"


def dual(text: str) -> str:
    """The Services, with addresses of both families."""
    for v4, v6 in ((shop.VIRTUAL_V1, VIRTUAL6_V1), (shop.VIRTUAL_V2, VIRTUAL6_V2)):
        both = f"clusterIP: {v4}\n  clusterIPs: ['{v4}', '{v6}']\n  ipFamilyPolicy: RequireDualStack"
        text = text.replace(f"clusterIP: {v4}\n", f"{both}\n")
    return text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(open_scene: OpenScene) -> AsyncIterator[Scene]:
    files = {
        "workloads.yaml": shop.WORKLOADS,
        "services.yaml": dual(shop.SERVICES),
        "access.yaml": shop.ACCESS,
        "outsider.yaml": shop.OUTSIDER,
    }
    async with open_scene(files) as scene:
        scene.bridge("ip", "-6", "address", "add", f"{GATEWAY6}/64", "dev", "tulle0", "nodad")
        for workload, address in ADDRESSES6.items():
            host = await scene.add_host(workload)
            for command in (f"address add {address}/64 dev eth0 nodad", f"route add default via {GATEWAY6}"):
                host.namespace.shell("ip", "-6", *command.split())
        for workload in (V1, V2, OUTSIDE):
            await scene.add_application(workload, *shop.ANSWERED_PORTS, *shop.HEADLESS_PORTS, bind="::")
        scene.mesh.remove("outsider.yaml")
        # The second server has an IPv6 address only, as far as the mesh knows.
        scene.mesh.write("workloads.yaml", shop.WORKLOADS.replace(scene[V2].address, f"'{ADDRESSES6[V2]}'"))
        await scene.add_sidecars(CLIENT, V1, V2)
        yield scene


@pytest_asyncio.fixture(loop_scope="module")
async def scene(running: Scene) -> AsyncIterator[Scene]:
    yield running
    await running.settled()
    assert await running.mesh.nacks() == 0


@pytest.mark.parametrize(
    ("virtual", "server"), [(VIRTUAL6_V1, V1), (VIRTUAL_V1, V1), (VIRTUAL6_V2, V2), (shop.VIRTUAL_V2, V2)]
)
async def test_either_address_of_a_service_leads_to_workloads_of_either_family(
    scene: Scene, virtual: str, server: str
) -> None:
    client, said, name = scene[CLIENT], uuid.uuid4().hex, server.rpartition("/")[2]
    told = client.http(virtual, path=f"/public/{said}").told
    assert (told["name"], told["path"]) == (name, f"/public/{said}")
    assert told["client"].endswith("URI=spiffe://cluster.local/ns/shop/sa/client")
    assert told["peer"] == ("127.0.0.6" if server == V1 else "::6")
    assert client.echo(virtual, 90, said.encode()) == said.encode()
    assert client.greeting(virtual, 91)[0] == f"220 {name}\r\n".encode()
    assert not scene.wire.shows(said.encode(), client)


async def test_headless_endpoint(scene: Scene) -> None:
    client, address = scene[CLIENT], ADDRESSES6[V2]
    assert client.http(address, 8081).told["client"].endswith("sa/client")
    assert client.echo(address, 9100) == WORDS
    assert client.greeting(address, 9101)[0] == b"220 server-v2-0\r\n"


async def test_the_outside_world_and_pod_addresses(scene: Scene) -> None:
    client = scene[CLIENT]
    told = client.http(ADDRESSES6[OUTSIDE], 8080).told
    assert (told["name"], told["peer"]) == ("outside-0", ADDRESSES6[CLIENT])
    assert client.echo(ADDRESSES6[OUTSIDE], 9000) == WORDS
    assert client.status(ADDRESSES6[V1], 8080) is None
    assert client.status(ADDRESSES6[V2], 8080) is None


async def test_capture_ports_are_closed(scene: Scene) -> None:
    for address in ("::1", ADDRESSES6[CLIENT], ADDRESSES6[V1]):
        assert [scene[CLIENT].echo(address, port) for port in (OUTBOUND_PORT, INBOUND_PORT)] == [b"", b""]
