"""Certificates are replaced again and again under load, and no request notices."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.envoy.chains import held
from tests.envoy.shop_mesh import SHOPPERS, SIDECARS, ShopMesh, shop_mesh
from tests.envoy.wire import wire

pytestmark = pytest.mark.envoy


class Renewals:
    """Which certificates each sidecar had in use, by serial number, and when each of them ends."""

    def __init__(self, shop: ShopMesh) -> None:
        self._shop = shop
        self.seen: dict[str, dict[str, datetime]] = defaultdict(dict)

    async def look(self) -> None:
        """Fails the test when a sidecar holds a certificate that has ended."""
        for workload in SIDECARS:
            leaf = await held(self._shop.mesh, workload)
            ends = datetime.fromisoformat(leaf["expiration_time"])
            now = datetime.now(UTC)
            assert ends > now, f"{workload} holds a certificate that ended {now - ends} ago"
            self.seen[workload][leaf["serial_number"]] = ends

    async def until(self, enough: Callable[[], bool], within: float) -> None:
        """Look until it is enough."""
        async with asyncio.timeout(within):
            while not enough():
                await self.look()
                await asyncio.sleep(0.2)

    def fewest(self) -> int:
        """How often the sidecar with the fewest of them has renewed."""
        return min(len(self.seen[workload]) for workload in SIDECARS) - 1

    def first_ended(self) -> bool:
        """Whether the first certificate of each sidecar is over."""
        return all(
            self.seen[workload] and min(self.seen[workload].values()) < datetime.now(UTC) for workload in SIDECARS
        )


def enrolments(shop: ShopMesh) -> dict[str, int]:
    """How many certificates each sidecar has got for its connection to the control plane."""
    log = (shop.mesh.work_dir / "logs" / "control-plane.log").read_text()
    return {workload: log.count(f" {workload} got a client certificate ") for workload in SIDECARS}


async def buy_anew(shop: ShopMesh) -> None:
    """New connections between all: handshakes with the certificates that are in use now."""
    before = await handshakes(shop)
    for name in ("shopper-0", "shopper-1"):
        await shop.buys(name)
    assert await handshakes(shop) > before


async def handshakes(shop: ShopMesh) -> int:
    """How many the sidecars of the shoppers have made, those with the control plane left out."""
    pages = [await shop.mesh.admin(each, "/stats?usedonly&filter=^cluster.mall.*ssl.handshake$") for each in SHOPPERS]
    return sum(int(line.rpartition(": ")[2]) for page in pages for line in page.splitlines())


@pytest.mark.timeout(120)
async def test_renewal_every_few_seconds(tmp_path: Path) -> None:
    """Certificates of nine seconds, far shorter than people may ask for, renewed twice each, and again."""
    odd = ("--shortest-lifetime", "5")
    async with shop_mesh(tmp_path, lifetime="9s", odd=odd) as shop, shop.load():
        renewals = Renewals(shop)
        await renewals.until(lambda: renewals.fewest() >= 2 and renewals.first_ended(), within=60)
        await buy_anew(shop)
        # Certificates for the control plane live no longer, and are renewed by themselves.
        assert min(enrolments(shop).values()) >= 2
        assert await shop.metric('tulle_enrolments_total{outcome="refused",proof="certificate"}') == 0
        assert await shop.metric('tulle_enrolments_total{outcome="issued",proof="token"}') == len(SIDECARS)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_renewal_of_the_shortest_certificates(tmp_path: Path) -> None:
    """A minute is the shortest that people may ask for."""
    async with shop_mesh(tmp_path, lifetime="60s") as shop, shop.load():
        renewals = Renewals(shop)
        await renewals.until(lambda: renewals.fewest() >= 3 and renewals.first_ended(), within=240)
        await buy_anew(shop)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_new_certificate_with_each_connection(tmp_path: Path) -> None:
    """Sidecars lose the control plane again and again, and get another certificate each time they find it."""
    async with shop_mesh(tmp_path, sidecars=()) as shop, wire(shop.mesh, "127.0.0.2") as far:
        await asyncio.gather(*(shop.mesh.start_sidecar(each, "--xds-address", far.xds_address) for each in SIDECARS))
        await shop.synced()
        async with shop.load():
            renewals = Renewals(shop)
            await renewals.look()
            for number in range(1, 6):
                await far.drop()
                await renewals.until(lambda wanted=number: renewals.fewest() >= wanted, within=60)
                await buy_anew(shop)
            await shop.synced()
