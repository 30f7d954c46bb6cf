"""The mesh for tests of certificates: two shops, two shoppers, HTTP and TCP, and what a rotation of the root does to
them.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ca.identity import SpiffeId
from ca.inventory import read_inventory
from ca.rotation import Phase
from ca.state import load_or_create
from deploy.demo.local_mesh import TULLE
from deploy.demo.waiting import eventually
from tests.envoy.chains import Pair, accepted, held, is_served, pem, presented, serial
from tests.envoy.http_wire import statuses
from tests.envoy.long_conversations import long_conversations, new_connections, order
from tests.envoy.mesh_certificates import DOMAIN
from tests.envoy.running_mesh import RunningMesh, running_mesh
from tests.envoy.steady_load import SteadyLoad, steady_load

SHOPS, SHOPPERS = ("mall/shop-0", "mall/shop-1"), ("mall/shopper-0", "mall/shopper-1")
SIDECARS = (*SHOPS, *SHOPPERS)
WITHIN = 40.0
"""Seconds of patience with a phase of a rotation; one takes far less than a second."""
RATE = 40.0

_COMMON = """
apiVersion: tulle.dev/v1alpha1
kind: MeshConfig
metadata: {{name: default}}
spec:
  trafficPolicy: permissive
  certificates: {{lifetime: {lifetime}}}
---
apiVersion: v1
kind: Service
metadata: {{name: shop, namespace: mall}}
spec:
  selector: {{app: shop}}
  ports:
    - {{name: http, port: 80, targetPort: http}}
    - {{name: tcp-orders, port: 7000, targetPort: orders}}
"""


def _shop(name: str, var: str) -> str:
    return f"""
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: mall, labels: {{app: shop}}}}
spec:
  serviceAccountName: shop
  address: 127.0.0.1
  ports:
    - {{name: http, port: ${var}_http, appPort: ${var}_http_app}}
    - {{name: orders, port: ${var}_orders, appPort: ${var}_orders_app}}
"""


def shopper(name: str) -> str:
    """A workload that calls the shop: at `$NAME_http` and `$NAME_orders`, with `_` for each `-`."""
    var = name.replace("-", "_")
    return f"""
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: mall}}
spec:
  serviceAccountName: shopper
  address: 127.0.0.1
  upstreams:
    - {{service: shop, port: 80, localPort: ${var}_http}}
    - {{service: shop, port: 7000, localPort: ${var}_orders}}
"""


@dataclass(frozen=True)
class Watching:
    """A `tulle ca rotate --watch` that runs."""

    process: asyncio.subprocess.Process

    async def finished(self) -> str:
        """What it printed, when it ends, which it must do well."""
        async with asyncio.timeout(WITHIN):
            printed = (await self.process.communicate())[0].decode()
        assert self.process.returncode == 0, printed
        return printed


@dataclass(frozen=True)
class ShopMesh:
    """The running mesh. `folder` is for what a test makes."""

    mesh: RunningMesh
    folder: Path

    # -- sidecars

    async def synced(self, *workloads: str) -> None:
        """Wait until these, or all that run, are connected and have acknowledged what they should hold."""

        async def in_sync() -> bool:
            self.mesh.processes.require_running()
            return await self.mesh.all_synced(*workloads)

        await eventually(in_sync, f"{workloads or 'all sidecars'} to be in sync", within=WITHIN)

    async def connected(self) -> dict[str, datetime]:
        """Since when each sidecar that is connected is so."""
        proxies = await self.mesh.debug("/debug/proxies")
        return {each["proxy"]: datetime.fromisoformat(each["connected"]) for each in proxies if each["connected"]}

    async def until_connected(self, *workloads: str) -> None:
        """Wait until just these are connected."""

        async def just_these() -> bool:
            return set(await self.connected()) == set(workloads)

        await eventually(just_these, f"just {workloads} to be connected", within=WITHIN)

    async def join(self, name: str, *arguments: str) -> None:
        """A new shopper comes, and is served over HTTP and TCP from the first moment on."""
        self.mesh.apply(f"{name}.yaml", shopper(name))
        await self.mesh.start_sidecar(f"mall/{name}", *arguments)
        await self.synced(f"mall/{name}")
        await self.buys(name)

    async def buys(self, name: str) -> None:
        """New connections of this shopper, to both shops: every request is answered."""
        http, orders = (self.mesh.port[f"{name.replace('-', '_')}_{kind}"] for kind in ("http", "orders"))
        assert set(await statuses(http, connections=12)) == {200}, name
        # Each TCP connection is one between sidecars too: a handshake with the certificates of now.
        await asyncio.gather(*(order(orders) for _ in range(6)))

    # -- load

    @asynccontextmanager
    async def load(self) -> AsyncIterator[list[SteadyLoad]]:
        """Both shoppers buy all the time, over new and kept connections and over long TCP ones; nothing may fail."""
        ports = [self.mesh.port[f"shopper_{number}_{kind}"] for kind in ("http", "orders") for number in (0, 1)]
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(long_conversations(*ports[2:]))
            await stack.enter_async_context(new_connections(*ports[2:]))
            yield [await stack.enter_async_context(steady_load(port, rate=RATE)) for port in ports[:2]]

    # -- roots

    def roots(self) -> bytes:
        """The roots that are trusted now, in PEM, the older first."""
        return b"".join(pem(root.certificate) for root in read_inventory(self.mesh.state).roots)

    def phase(self) -> Phase:
        return read_inventory(self.mesh.state).record.phase

    async def until_phase(self, phase: Phase) -> None:
        """Wait until `phase` is committed."""

        async def reached() -> bool:
            return self.phase() is phase

        await eventually(reached, f"the phase {phase}", within=WITHIN)

    async def until_waiting(self, phase: Phase, *absent: str) -> None:
        """Wait until the rotation is in `phase`, and nothing but these absent sidecars holds it there."""

        async def waiting() -> bool:
            said = await self.status()
            waits = [(each["reason"], each["proxies"]) for each in said["waits"]]
            return said["phase"] == phase and waits == [("absent", sorted(absent))]

        await eventually(waiting, f"the phase {phase} to wait for {absent} alone", within=WITHIN)

    async def rotate(self) -> Watching:
        """`tulle ca rotate --watch`, begun; it is killed with its mesh."""
        command = [*TULLE, "ca", "rotate", "--watch", "--state", str(self.mesh.state)]
        return Watching(
            await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
        )

    async def status(self) -> dict[str, Any]:
        """What `tulle ca status` says."""
        command = [*TULLE, "ca", "status", "-o", "json", "--state", self.mesh.state]
        return dict(json.loads(await self.mesh.run("", command)))

    # -- certificates

    def leaf(self, name: str, account: str, lifetime: timedelta = timedelta(hours=1)) -> Pair:
        """A certificate of the root that issues now; from a copy of its key, since the control plane has the lock."""
        folder = self.folder / name
        shutil.copytree(self.mesh.state / "ca", folder / "ca")
        with load_or_create(folder, DOMAIN, datetime.now(UTC)) as state:
            identity = SpiffeId(DOMAIN, f"/ns/mall/sa/{account}")
            svid = state.authority(datetime.now(UTC)).issue(identity, lifetime, datetime.now(UTC))
        pair = Pair(folder / "chain.pem", folder / "key.pem")
        pair.chain.write_bytes(svid.certificate_chain_pem)
        pair.key.write_bytes(svid.private_key_pem)
        return pair

    def shop_ports(self) -> list[int]:
        """Where the sidecars of the shops take HTTP."""
        return [self.mesh.port[f"shop_{number}_http"] for number in (0, 1)]

    async def serve(self, own: Pair) -> bool:
        """Whether both shops serve a client with this certificate; they must agree."""
        answers = {await is_served(port, own) for port in self.shop_ports()}
        assert len(answers) == 1, f"the shops do not agree on {own}"
        return answers.pop()

    async def chains(self, own: Pair) -> dict[str, tuple[bytes, ...]]:
        """What each shop presents on the wire: it is what its Envoy says that it holds."""
        found = {}
        for workload, port in zip(SHOPS, self.shop_ports(), strict=True):
            found[workload] = await presented(port, own)
            assert serial(found[workload]) == (await held(self.mesh, workload))["serial_number"].lower()
        return found

    async def all_accepted(self, chains: dict[str, tuple[bytes, ...]], roots: bytes) -> set[bool]:
        """The opinions on `chains` below `roots`."""
        return {await accepted(chain, roots, self.folder) for chain in chains.values()}

    async def metric(self, name: str) -> float:
        """The value of one metric of the control plane, given with its labels in order."""
        text = await self.mesh.control_plane_metrics()
        found = [line.rpartition(" ")[2] for line in text.splitlines() if line.rpartition(" ")[0] == name]
        assert len(found) == 1, f"there is no metric {name}"
        return float(found[0])

    async def assert_nothing_rejected(self) -> None:
        proxies = await self.mesh.debug("/debug/proxies")
        assert {proxy["proxy"]: proxy["last_nack"] for proxy in proxies if proxy.get("nacks")} == {}


@asynccontextmanager
async def shop_mesh(
    work_dir: Path, *, lifetime: str = "24h", odd: Sequence[str] = (), sidecars: Sequence[str] = SIDECARS
) -> AsyncIterator[ShopMesh]:
    """Serve the shops; leaves live for `lifetime`. `odd`: see `odd_control_plane`."""
    objects = _COMMON.format(lifetime=lifetime) + _shop("shop-0", "shop_0") + _shop("shop-1", "shop_1")
    files = {"shops.yaml": objects, **{f"shopper-{number}.yaml": shopper(f"shopper-{number}") for number in (0, 1)}}
    applications = [
        (f"mall/shop-{number}", f"{kind}_echo $shop_{number}_{port}_app --version v{number}")
        for number in (0, 1)
        for kind, port in (("http", "http"), ("tcp", "orders"))
    ]
    folder = work_dir / "made"
    folder.mkdir(parents=True)
    async with running_mesh(work_dir, files, applications, sidecars, odd=odd) as mesh:
        yield ShopMesh(mesh, folder)
        await ShopMesh(mesh, folder).assert_nothing_rejected()
