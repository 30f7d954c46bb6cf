"""A new root under load: no request fails, latecomers are at home in each phase, and the old root ends up trusted by
nobody.
"""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ca.rotation import Phase
from tests.envoy.applications.raw_http import RawHttpServer
from tests.envoy.chains import Pair, held
from tests.envoy.http_wire import statuses
from tests.envoy.shop_mesh import SHOPPERS, SHOPS, SIDECARS, ShopMesh, shop_mesh
from tests.envoy.wire import wire
from translators.names import MESH_ALPN

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command"),
]


SLOW = 0.7
"""Seconds that some sidecars hear of everything, and are heard, later than others."""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[ShopMesh]:
    async with shop_mesh(tmp_path) as running:
        yield running


@pytest.fixture
async def uneven_shop(tmp_path: Path) -> AsyncIterator[ShopMesh]:
    """One shop and one shopper are slow to hear of things: a step that does not wait for them hurts them for long."""
    near, far = SIDECARS[::2], SIDECARS[1::2]
    async with shop_mesh(tmp_path, sidecars=near) as running, wire(running.mesh, "127.0.0.2") as slow:
        await asyncio.gather(*(running.mesh.start_sidecar(each, "--xds-address", slow.xds_address) for each in far))
        await running.synced()
        slow.delay = SLOW
        yield running


async def test_rotation_under_load(uneven_shop: ShopMesh) -> None:
    """The whole of it, with nobody in its way."""
    shop = uneven_shop
    old_roots, old = shop.roots(), shop.leaf("old", "shopper")
    assert await shop.serve(old)
    old_chains = await shop.chains(old)
    assert await shop.all_accepted(old_chains, old_roots) == {True}
    serials = {workload: (await held(shop.mesh, workload))["serial_number"] for workload in SIDECARS}
    async with shop.load():
        await (await shop.rotate()).finished()
        assert shop.phase() is Phase.STABLE
        await shop.synced()
        new_roots, new = shop.roots(), shop.leaf("new", "shopper")
        assert new_roots != old_roots
        # New connections, with new certificates on both sides.
        for workload in SHOPPERS:
            await shop.buys(workload.partition("/")[2])
        assert await shop.serve(new)
        assert not await shop.serve(old)
        new_chains = await shop.chains(new)
        assert await shop.all_accepted(new_chains, new_roots) == {True}
        assert await shop.all_accepted(new_chains, old_roots) == {False}
        assert await shop.all_accepted(old_chains, new_roots) == {False}
        after = {workload: (await held(shop.mesh, workload))["serial_number"] for workload in SIDECARS}
        assert all(after[workload] != serials[workload] for workload in SIDECARS)


async def test_latecomers_and_the_absent_in_each_phase(shop: ShopMesh) -> None:
    """A sidecar that cannot be reached holds up the step that would hurt it, while others come and all are served."""
    mesh, straggler, leaver = shop.mesh, "mall/straggler", "mall/leaver"
    async with wire(mesh, "127.0.0.2") as far, wire(mesh, "127.0.0.3") as other, shop.load():
        await shop.join("straggler", "--xds-address", far.xds_address)
        await shop.join("leaver", "--xds-address", other.xds_address)
        old_roots, old = shop.roots(), shop.leaf("old", "shopper")

        await far.cut()
        await shop.until_connected(*SIDECARS, leaver)
        watching = await shop.rotate()
        await shop.until_waiting(Phase.PREPARED, straggler)
        assert len(shop.roots()) > len(old_roots)
        await shop.join("early")
        assert await shop.serve(old)
        assert await shop.all_accepted(await shop.chains(old), old_roots) == {True}

        # Who has acknowledged both roots may go, and holds up only the end of the old one.
        await other.cut()
        await shop.until_connected(*SIDECARS, "mall/early")
        await far.mend()
        await shop.until_waiting(Phase.ACTIVATED, leaver)
        await shop.synced(*SIDECARS, straggler, "mall/early")
        new = shop.leaf("new", "shopper")
        await shop.join("late")
        assert await shop.serve(old)
        assert await shop.serve(new)
        new_chains = await shop.chains(new)
        assert await shop.all_accepted(new_chains, old_roots) == {False}
        assert await shop.all_accepted(new_chains, shop.roots()) == {True}
        for name in ("straggler", "leaver", "early"):
            await shop.buys(name)

        await other.mend()
        await watching.finished()
        await shop.synced()
        assert not await shop.serve(old)
        assert await shop.serve(new)
        assert await shop.all_accepted(await shop.chains(new), shop.roots()) == {True}
        for name in ("straggler", "leaver", "early", "late"):
            await shop.buys(name)
        assert set(await shop.connected()) == {*SHOPS, *SHOPPERS, straggler, leaver, "mall/early", "mall/late"}


GHOST = """
apiVersion: v1
kind: Service
metadata: {name: ghost, namespace: mall}
spec:
  selector: {app: ghost}
  ports: [{name: http, port: 80, targetPort: http}]
---
# Its sidecar is never started: the test is in its place.
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: ghost-0, namespace: mall, labels: {app: ghost}}
spec:
  serviceAccountName: ghost
  address: 127.0.0.1
  ports: [{name: http, port: $ghost, appPort: $ghost_app}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: visitor, namespace: mall}
spec:
  serviceAccountName: visitor
  address: 127.0.0.1
  upstreams: [{service: ghost, port: 80, localPort: $to_ghost}]
"""


async def visited(shop: ShopMesh, own: Pair, roots: bytes) -> bool:
    """Whether a sidecar calls a server with the certificate `own`, and has itself a chain below `roots` to show it.

    The server's opinion is that of OpenSSL, of what was in the handshake.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.chain, own.key)
    context.load_verify_locations(cadata=roots.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([MESH_ALPN])
    async with RawHttpServer("ghost").serving(shop.mesh.port["ghost"], tls=context) as server:
        answers = await statuses(shop.mesh.port["to_ghost"], connections=4)
        assert set(answers) in ({200}, {503}), answers
        assert bool(server.saw) == (200 in answers)
        return 200 in answers


@pytest.mark.slow
async def test_clients_know_whom_to_trust(tmp_path: Path) -> None:
    """Sidecars as clients: which servers they call, and what they show them."""
    async with shop_mesh(tmp_path) as shop:
        shop.mesh.apply("ghost.yaml", GHOST)
        await shop.mesh.start_sidecar("mall/visitor")
        await shop.synced()
        old_roots, old = shop.roots(), shop.leaf("old", "ghost")
        assert await visited(shop, old, old_roots)
        await (await shop.rotate()).finished()
        await shop.synced()
        new_roots, new = shop.roots(), shop.leaf("new", "ghost")
        assert await visited(shop, new, new_roots)
        assert not await visited(shop, old, new_roots), "a server of the old root was called"
        assert not await visited(shop, new, old_roots), "a client showed a certificate of the old root"
        assert await visited(shop, new, new_roots)
