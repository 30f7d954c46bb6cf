"""A Service over one endpoint with a sidecar and one without: the former is spoken to in mutual TLS, the latter in
plaintext, and neither fails.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from deploy.demo.waiting import eventually
from tests.envoy.applications.raw_http import RawHttpServer
from tests.envoy.explicit_mesh import ExplicitMesh, explicit_mesh
from tests.envoy.http1 import exchange
from tests.envoy.steady_load import steady_load

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: catalog, namespace: shop}
spec:
  selector: {app: catalog}
  ports:
    - {name: http, port: 80, targetPort: http}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: catalog-new, namespace: shop, labels: {app: catalog, turns: served}}
spec:
  serviceAccountName: catalog
  address: 127.0.0.1
  ports:
    - {name: http, port: $meshed, appPort: $meshed_app}
---
# A legacy host: no Envoy runs there.
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: catalog-old, namespace: shop, labels: {app: catalog}}
spec:
  sidecar: false
  address: 127.0.0.1
  ports:
    - {name: http, port: $plain}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: buyer-0, namespace: shop}
spec:
  serviceAccountName: buyer
  address: 127.0.0.1
  upstreams:
    - {service: catalog, port: 80, localPort: $to_catalog}
    - {service: turning, port: 80, localPort: $to_turning}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: everything, namespace: shop}
spec:
  matches: [{name: all, pathRegex: /.*, methods: ["*"]}]
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: buyer-to-catalog, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: catalog, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: everything}]
  sources: [{kind: ServiceAccount, name: buyer, namespace: shop}]
"""
TURNING = """
# Two endpoints: one of the catalog, which stays, and a guest that changes.
apiVersion: v1
kind: Service
metadata: {name: turning, namespace: shop}
spec:
  selector: {turns: served}
  ports:
    - {name: http, port: 80, targetPort: http}
---
# So that the guest's sidecar goes on serving HTTP while it is no part of the other.
apiVersion: v1
kind: Service
metadata: {name: guest, namespace: shop}
spec:
  selector: {app: guest}
  ports:
    - {name: http, port: 80, targetPort: http}
"""
GUEST = """
# Two workloads at one address, whose sidecar takes both mutual TLS and plaintext.
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata:
  name: guest-0
  namespace: shop
  labels: {{app: guest, turns: {meshed}}}
  annotations: {{tulle.dev/mtls: permissive, tulle.dev/traffic-policy: permissive}}
spec:
  serviceAccountName: guest
  address: 127.0.0.1
  ports:
    - {{name: http, port: $guest, appPort: $guest_app}}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {{name: guest-as-it-was, namespace: shop, labels: {{turns: {plain}}}}}
spec:
  sidecar: false
  address: 127.0.0.1
  ports:
    - {{name: http, port: $guest}}
"""
DENY_PLAINTEXT = """
apiVersion: tulle.dev/v1alpha1
kind: MeshConfig
metadata: {name: default}
spec:
  plaintextUpstreams: deny
"""
BUYER, CATALOG, GUEST_OF_CATALOG = "shop/buyer-0", "shop/catalog-new", "shop/guest-0"
CALLER = "URI=spiffe://cluster.local/ns/shop/sa/buyer"


@dataclass(frozen=True)
class Mixed:
    running: ExplicitMesh
    meshed: RawHttpServer
    plain: RawHttpServer

    async def call(self) -> dict[str, Any]:
        return await self.running.seen("to_catalog", headers={"x-forwarded-client-cert": "URI=spiffe://forged"})

    async def turn(self, guest: str) -> None:
        """Make the guest "meshed", "plain", or "away"; returns when every sidecar knows."""
        self.running.mesh.apply("guest.yaml", guest_is(guest))
        wanted = {"meshed": [True], "plain": [False], "away": []}[guest]

        async def taken() -> bool:
            found = (await self.running.mesh.debug("/debug/mesh"))["services"]["shop/turning/80"]["endpoints"]
            return [each["in_mesh"] for each in found if each["port"] == self.running.ports["guest"]] == wanted

        await eventually(taken, f"the guest to be {guest}")
        await self.running.synced()

    async def guest_answers(self, calls: int) -> Counter[str]:
        """How the guest was spoken to in those of `calls` that it answered: "meshed" or "plain"."""
        answers = [await self.running.seen("to_turning") for _ in range(calls)]
        vouched_for = [vouchers(answer) for answer in answers if answer["name"] == "guest"]
        return Counter("meshed" if CALLER in each else "plain" for each in vouched_for)


def guest_is(guest: str) -> str:
    return GUEST.format(**{kind: "served" if guest == kind else "not-served" for kind in ("meshed", "plain")})


def vouchers(answer: dict[str, Any]) -> list[str]:
    """What the server's sidecar says of the caller's certificate; one empty text where there was none."""
    return str(answer["headers"].get("x-forwarded-client-cert", "")).split(";")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mixed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mixed]:
    objects = {"objects.yaml": OBJECTS, "turning.yaml": TURNING, "guest.yaml": guest_is("away")}
    async with (
        explicit_mesh(tmp_path_factory.mktemp("mixed"), objects, [CATALOG, BUYER, GUEST_OF_CATALOG]) as running,
        RawHttpServer("meshed").serving(running.ports["meshed_app"]) as meshed,
        RawHttpServer("plain").serving(running.ports["plain"]) as plain,
        RawHttpServer("guest").serving(running.ports["guest_app"]),
    ):
        yield Mixed(running, meshed, plain)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_rejected(mixed: Mixed) -> AsyncIterator[None]:
    yield
    await mixed.running.assert_nothing_rejected()


async def calls_to_both(mixed: Mixed) -> list[dict[str, Any]]:
    """At least ten answers, from both endpoints: those are drawn by lot, and ten times the same one is no fault."""
    answers = [await mixed.call() for _ in range(10)]
    while len({answer["name"] for answer in answers}) < 2 and len(answers) < 200:
        answers.append(await mixed.call())
    return answers


async def test_both_kinds_of_endpoints_serve(mixed: Mixed) -> None:
    answers = await calls_to_both(mixed)
    by_name = Counter(answer["name"] for answer in answers)
    assert by_name.keys() == {"meshed", "plain"}

    for answer in answers:
        if answer["name"] == "meshed":
            assert CALLER in vouchers(answer)
        else:
            assert vouchers(answer) == [""], "nobody vouches for a caller in plaintext"


async def test_the_meshed_endpoint_is_encrypted(mixed: Mixed) -> None:
    await calls_to_both(mixed)
    handshakes = await mixed.running.stats(CATALOG, r"^listener\..*ssl\.handshake$")
    assert sum(handshakes.values()) >= 1
    outbound = await mixed.running.stats(BUYER, r"^cluster\.shop/catalog/80\.(ssl\.handshake|upstream_cx_total)$")
    encrypted = outbound["cluster.shop/catalog/80.ssl.handshake"]
    connections = outbound["cluster.shop/catalog/80.upstream_cx_total"]
    assert 1 <= encrypted < connections, "some connections are encrypted, those to the plain endpoint are not"
    # The same port refuses plaintext, so what came through it was encrypted.
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await exchange(mixed.running.ports["meshed"], b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")


async def test_the_plain_endpoint_is_pointed_out(mixed: Mixed) -> None:
    found = await mixed.running.diagnostics("TL2007")
    assert [each["message"].split()[1] for each in found] == ["shop/catalog-old"]


async def test_plaintext_upstreams_can_be_denied(mixed: Mixed) -> None:
    mesh = mixed.running.mesh

    async def endpoints() -> list[int]:
        services = (await mesh.debug("/debug/mesh"))["services"]
        return [each["port"] for each in services["shop/catalog/80"]["endpoints"]]

    async def only_meshed() -> bool:
        return await endpoints() == [mixed.running.ports["meshed"]]

    mesh.write("config.yaml", DENY_PLAINTEXT)
    try:
        await eventually(only_meshed, "the plain endpoint to be left out")
        await mixed.running.synced()
        seen_before = len(mixed.plain.saw)
        assert {(await mixed.call())["name"] for _ in range(20)} == {"meshed"}
        assert len(mixed.plain.saw) == seen_before
        assert await mixed.running.diagnostics("TL2008")
    finally:
        mesh.withdraw("config.yaml")

    async def both_again() -> bool:
        return {(await mixed.call())["name"] for _ in range(10)} == {"meshed", "plain"}

    await eventually(both_again, "the plain endpoint to be back")


async def test_endpoints_come_go_and_turn_under_load(mixed: Mixed) -> None:
    """The first plain endpoint appears and the last one goes, by itself or by joining the mesh: not one request fails,
    and an endpoint that has joined is never sent plaintext again.
    """
    async with steady_load(mixed.running.ports["to_turning"], rate=100) as load:
        for guest in ("plain", "away", "plain", "meshed", "plain", "meshed", "away", "meshed", "plain", "away") * 3:
            before = await handshakes_of_the_guest(mixed)
            await mixed.turn(guest)
            expected = set() if guest == "away" else {guest}

            async def settled(expected: set[str] = expected) -> bool:
                return (await mixed.guest_answers(30)).keys() == expected

            await eventually(settled, f"the guest to be {guest} for every worker thread")
            assert (await mixed.guest_answers(30)).keys() <= expected
            if guest == "meshed":
                assert await handshakes_of_the_guest(mixed) > before
            assert not load.failures, load.failures


async def handshakes_of_the_guest(mixed: Mixed) -> int:
    return sum((await mixed.running.stats(GUEST_OF_CATALOG, r"^listener\..*ssl\.handshake$")).values())
