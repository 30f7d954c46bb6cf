"""Clocks that differ by a minute: new certificates are accepted at once, and no request fails."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.envoy.chains import held
from tests.envoy.shop_mesh import SIDECARS, ShopMesh, shop_mesh

CC = shutil.which("cc")
pytestmark = [pytest.mark.envoy, pytest.mark.slow, pytest.mark.timeout(180)]

MINUTE = 60.0
AHEAD = dict(zip(SIDECARS, (-MINUTE, MINUTE, MINUTE, -MINUTE), strict=True))
"""Of each two sidecars that talk to each other some clocks agree, and some are two minutes apart."""


async def rotate_twice(shop: ShopMesh) -> None:
    """Certificates of three roots, each used as soon as it is there."""
    async with shop.load():
        for _ in range(2):
            old = shop.leaf(f"of-{shop.phase()}-{len(list(shop.folder.iterdir()))}", "shopper")
            assert await shop.serve(old)
            await (await shop.rotate()).finished()
            await shop.synced()
            assert not await shop.serve(old)
            for name in ("shopper-0", "shopper-1"):
                await shop.buys(name)


def wrong_clock(folder: Path) -> Path:
    """The library that makes a clock wrong, compiled."""
    assert CC is not None
    library = folder / "wrong_clock.so"
    source = Path(__file__).with_name("wrong_clock.c")
    subprocess.run([CC, "-shared", "-fPIC", "-O1", "-o", library, source], check=True, timeout=60)
    return library


async def clock_of(shop: ShopMesh, workload: str) -> float:
    """How far an Envoy's wall clock is ahead, in seconds: by when it says that it read its bootstrap."""
    dump = json.loads(await shop.mesh.admin(workload, "/config_dump"))
    updated = datetime.fromisoformat(dump["configs"][0]["last_updated"])
    return (updated - datetime.now(UTC)).total_seconds()


@pytest.mark.skipif(CC is None, reason="needs a C compiler")
async def test_sidecars_with_wrong_clocks(tmp_path: Path) -> None:
    library = wrong_clock(tmp_path)
    async with shop_mesh(tmp_path, sidecars=()) as shop:
        for workload, ahead in AHEAD.items():
            words = ["env", f"LD_PRELOAD={library}", f"CLOCK_AHEAD={ahead:.0f}"]
            shop.mesh.before_sidecar[workload] = words
        await asyncio.gather(*(shop.mesh.start_sidecar(each) for each in SIDECARS))
        await shop.synced()
        for workload, ahead in AHEAD.items():
            assert abs(await clock_of(shop, workload) - ahead) < MINUTE / 2, "its clock is not wrong at all"
        await rotate_twice(shop)


@pytest.mark.parametrize("ahead", [-MINUTE, MINUTE])
async def test_a_control_plane_with_a_wrong_clock(tmp_path: Path, ahead: float) -> None:
    async with shop_mesh(tmp_path, odd=("--ahead", str(ahead))) as shop:
        leaf = await held(shop.mesh, SIDECARS[0])
        ends = datetime.fromisoformat(leaf["expiration_time"]) - datetime.now(UTC) - timedelta(hours=24)
        assert abs(ends.total_seconds() - ahead) < MINUTE / 2, "its clock is not wrong at all"
        await rotate_twice(shop)
