"""The control plane dies in the middle of a rotation of the root, in every place: no request fails, and the rotation
ends well.

An absent sidecar, whose certificate is good for long, holds the rotation in each phase for as long as a test needs.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ca.inventory import read_inventory
from ca.rotation import Phase
from deploy.demo.waiting import eventually
from tests.envoy.chains import Pair, held
from tests.envoy.shop_mesh import SHOPS, SIDECARS, WITHIN, ShopMesh, shop_mesh
from tests.envoy.wire import wire

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command"),
]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[ShopMesh]:
    async with shop_mesh(tmp_path) as running:
        yield running


async def die_and_return(shop: ShopMesh, *back: str) -> None:
    """SIGKILL, requests without a control plane, a new one on the same state, and all these are in sync again."""
    await shop.mesh.kill_control_plane()
    await shop.buys("shopper-0")
    await shop.buys("shopper-1")
    await shop.mesh.start_control_plane()
    await shop.until_connected(*back)
    await shop.synced(*back)


def wait_for_commit(state_dir: Path, phase: Phase, old_root: str) -> None:
    """Returns within milliseconds of the commit of the step to `phase`: one that nobody holds up does not last long.

    Should it be over before it was seen, then the next one is as good a place to die in.
    """
    order = (Phase.PREPARED, Phase.ACTIVATED, Phase.STABLE)
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        record = read_inventory(state_dir).record
        begun = record.phase is not Phase.STABLE or record.root != old_root
        if begun and order.index(record.phase) >= order.index(phase):
            return
        time.sleep(0.0005)
    raise TimeoutError(f"no step to {phase}")


async def rotated(shop: ShopMesh, old: Pair, old_roots: bytes) -> None:
    """The end of every rotation: one new root, below which everything is, and nobody takes what was below the old."""
    await shop.synced()
    assert shop.phase() is Phase.STABLE
    roots = shop.roots()
    assert roots.count(b"BEGIN") == 1
    assert roots != old_roots
    assert not await shop.serve(old)
    chains = await shop.chains(shop.leaf("new", "shopper"))
    assert await shop.all_accepted(chains, roots) == {True}
    assert await shop.all_accepted(chains, old_roots) == {False}
    for name in ("shopper-0", "shopper-1"):
        await shop.buys(name)


async def test_killed_in_each_phase(shop: ShopMesh) -> None:
    straggler, leaver = "mall/straggler", "mall/leaver"
    async with wire(shop.mesh, "127.0.0.2") as far, wire(shop.mesh, "127.0.0.3") as other, shop.load():
        await shop.join("straggler", "--xds-address", far.xds_address)
        await shop.join("leaver", "--xds-address", other.xds_address)
        old_roots, old = shop.roots(), shop.leaf("old", "shopper")
        await far.cut()
        await shop.until_connected(*SIDECARS, leaver)
        watching = await shop.rotate()
        await shop.until_waiting(Phase.PREPARED, straggler)
        await die_and_return(shop, *SIDECARS, leaver)
        await shop.until_waiting(Phase.PREPARED, straggler)
        assert await shop.serve(old)
        await shop.join("early")

        await other.cut()
        await far.mend()
        await shop.until_waiting(Phase.ACTIVATED, leaver)
        present = (*SIDECARS, straggler, "mall/early")
        await die_and_return(shop, *present)
        await shop.until_waiting(Phase.ACTIVATED, leaver)
        assert await shop.serve(old)
        await shop.join("late")
        for name in ("straggler", "leaver", "early"):
            await shop.buys(name)

        # All is ready for the last step but one, who comes while nobody is there to take it.
        await shop.mesh.kill_control_plane()
        await other.mend()
        await shop.buys("leaver")
        await shop.mesh.start_control_plane()
        assert "is gone" in await watching.finished()
        await rotated(shop, old, old_roots)
        for name in ("straggler", "leaver", "early", "late"):
            await shop.buys(name)


@pytest.mark.parametrize("phase", list(Phase))
async def test_killed_at_the_commit_of_a_step(shop: ShopMesh, phase: Phase) -> None:
    """Dead as soon as the step is on disk, whoever has heard of it by then."""
    old_roots, old = shop.roots(), shop.leaf("old", "shopper")
    old_root = read_inventory(shop.mesh.state).record.root
    async with shop.load():
        before = (await held(shop.mesh, SHOPS[0]))["serial_number"]
        watching = await shop.rotate()
        await asyncio.to_thread(wait_for_commit, shop.mesh.state, phase, old_root)
        await shop.mesh.kill_control_plane()
        for name in ("shopper-0", "shopper-1"):
            await shop.buys(name)
        await shop.mesh.start_control_plane()
        assert "is gone" in await watching.finished()
        await rotated(shop, old, old_roots)
        assert (await held(shop.mesh, SHOPS[0]))["serial_number"] != before


async def test_a_sidecar_that_hears_nothing(shop: ShopMesh) -> None:
    """Its connection stays, but is dead: it counts as connected, and the step waits for it."""
    async with wire(shop.mesh, "127.0.0.2") as far, shop.load():
        await shop.join("deaf", "--xds-address", far.xds_address)
        old_roots, old = shop.roots(), shop.leaf("old", "shopper")
        far.stall()
        watching = await shop.rotate()
        await shop.until_phase(Phase.PREPARED)

        async def waits_for_it() -> bool:
            return any("mall/deaf" in each["proxies"] for each in (await shop.status())["waits"])

        await eventually(waits_for_it, "the rotation to wait for the deaf sidecar", within=WITHIN)
        await shop.buys("deaf")
        assert await shop.serve(old)
        await far.mend()
        await watching.finished()
        await rotated(shop, old, old_roots)
        await shop.buys("deaf")


async def test_the_control_plane_comes_back_with_another_certificate(shop: ShopMesh) -> None:
    """Envoys know the new root from the file that they had before: they connect to a server that shows nothing else."""
    old_roots, old = shop.roots(), shop.leaf("old", "shopper")
    async with shop.load():
        for number in range(3):
            await (await shop.rotate()).finished()
            before = await shop.connected()
            await (shop.mesh.restart_control_plane() if number % 2 else die_and_return(shop, *SIDECARS))
            await shop.until_connected(*SIDECARS)
            await shop.synced()
            after = await shop.connected()
            assert all(after[each] > before[each] for each in SIDECARS)
            await asyncio.gather(*(shop.buys(name) for name in ("shopper-0", "shopper-1")))
        await rotated(shop, old, old_roots)
