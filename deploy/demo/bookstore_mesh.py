"""The bookstore on a LocalMesh: its objects, its applications with a sidecar each, and ways to call through them.

Takes the objects of `bookstore/` with ports or addresses filled in; gives what calls in the mesh came to.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

import aiohttp

from deploy.demo.applications import LISTENING
from deploy.demo.errors import DemoError
from deploy.demo.local_mesh import LocalMesh
from deploy.demo.ports import HeldPorts
from deploy.demo.processes import ManagedProcess
from deploy.demo.waiting import eventually

OBJECTS = Path(__file__).parent / "bookstore"

V1, V2 = "bookstore/bookstore-v1-0", "bookstore/bookstore-v2-0"
WAREHOUSE = "bookwarehouse/bookwarehouse-0"
BUYER, THIEF = "bookbuyer/bookbuyer-0", "bookthief/bookthief-0"
WORKLOADS = (WAREHOUSE, V1, V2, BUYER, THIEF)

_APPLICATION = (sys.executable, "-m", "deploy.demo.applications")
_FILES = (
    *("services.yaml", "workloads-explicit.yaml", "workloads-transparent.yaml"),
    *("permissive.yaml", "access.yaml", "split.yaml"),
)
_EXPLICIT_PORTS = (
    *("v1_port", "v1_app", "v1_upstream", "v2_port", "v2_app", "v2_upstream"),
    *("warehouse_port", "warehouse_app", "buyer_upstream", "thief_upstream"),
)
"""What workloads-explicit.yaml leaves open."""
_STATUS_PORT = 15999
"""Transparent mode: the clients' own page, which the redirect leaves alone so that the demo can reach it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a workload's application listens, where its sidecar does, and by which URL it calls its upstream."""

    listen: str
    sidecar: tuple[str, int] | None = None
    upstream: str = ""


@dataclass(frozen=True, slots=True)
class Calls:
    """What some calls came to: how many had which (status, version, error), and the JSON of one that succeeded."""

    outcomes: Counter[tuple[int, str | None, str | None]]
    example: dict[str, Any] = field(default_factory=dict)

    def count(self, status: int, version: str | None = None) -> int:
        """How many had this `status`, and came from this `version` of the server if one is given."""
        return sum(
            count for (code, who, _), count in self.outcomes.items() if code == status and version in (None, who)
        )

    @property
    def total(self) -> int:
        return self.outcomes.total()

    def __sub__(self, earlier: Calls) -> Calls:
        """Those of a loop that came after `earlier` was taken of it."""
        return Calls(self.outcomes - earlier.outcomes)

    @property
    def statuses(self) -> str:
        """How many had which status or error, for people."""
        counts: Counter[str] = Counter()
        for (status, _, error), count in self.outcomes.items():
            counts[str(error or status)] += count
        return ", ".join(f"{count} x {what}" for what, count in sorted(counts.items()))


class BookstoreMesh:
    """The running bookstore. `open` it; it ends with that block."""

    def __init__(self, mesh: LocalMesh, objects: Path, places: dict[str, Place]) -> None:
        self.mesh = mesh
        self.places = places
        self._objects = objects
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))

    def apply(self, name: str, **values: object) -> None:
        """Put the file `name` of the bookstore's objects in force, with `values` filled in."""
        self.mesh.write(name, _filled_in(self._objects / name, values))

    def withdraw(self, name: str) -> None:
        """Take the file `name` away again."""
        self.mesh.remove(name)

    async def start_applications(self) -> None:
        """Start the servers, and the clients once all servers listen."""
        for group in ((WAREHOUSE, V1, V2), (BUYER, THIEF)):
            for application in [await self._start_application(workload) for workload in group]:
                await eventually(partial(self._listens, application), f"{application.name} to listen", within=60)

    async def _start_application(self, workload: str) -> ManagedProcess:
        place = self.places[workload]
        name, dash, version = workload.rpartition("/")[2].removesuffix("-0").partition("-")
        command = [*_APPLICATION, name, "--listen", place.listen, "--upstream", place.upstream]
        return await self.mesh.start_application(workload, [*command, "--version", version] if dash else command)

    async def _listens(self, application: ManagedProcess) -> bool:
        self.mesh.processes.require_running()
        return LISTENING in application.log.read_text()

    async def start_sidecars(self, report: Callable[[str], None]) -> None:
        """Start all five at once; `report` is told the name of each as it becomes ready."""
        exempt = {client: ["--exclude-inbound-port", str(_STATUS_PORT)] for client in (BUYER, THIEF)}
        starting = [asyncio.create_task(self.mesh.start_sidecar(each, *exempt.get(each, ()))) for each in WORKLOADS]
        try:
            for ready in asyncio.as_completed(starting):
                report((await ready).workload)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def call(self, client: str, method: str, path: str, *, count: int = 8, connections: int = 8) -> Calls:
        """Have the application of `client` make `count` calls to the bookstore."""
        wanted = {"method": method, "path": path, "count": count, "connections": connections}
        async with self._session.post(f"{self.page(client)}/calls", json=wanted) as answer:
            answer.raise_for_status()
            said = await answer.json()
        return Calls(_counts(said["outcomes"]), said["example"] or {})

    async def loop_of(self, client: str) -> Calls:
        """What the calls that `client` makes in a loop by itself have come to, since it started."""
        async with self._session.get(self.page(client)) as answer:
            return Calls(_counts((await answer.json())["outcomes"]))

    def page(self, client: str) -> str:
        """The URL of the page of one of the two clients."""
        return f"http://{self.places[client].listen}"

    async def close(self) -> None:
        await self._session.close()


@asynccontextmanager
async def open_bookstore(
    work_dir: Path, *, transparent: bool = False, envoy: Path | None = None, objects: Path = OBJECTS
) -> AsyncIterator[BookstoreMesh]:
    """The bookstore with a running control plane, in permissive mode; applications and sidecars are not started yet.

    `work_dir` gets everything that it writes; the objects that are in force are in its directory `mesh`.
    """
    missing = [name for name in _FILES if not (objects / name).exists()]
    if missing:
        raise DemoError(f"{objects} does not hold the objects of the bookstore: {', '.join(missing)} missing")
    directory = work_dir / "mesh"
    directory.mkdir(parents=True)
    for name in ("services.yaml", "permissive.yaml"):
        shutil.copyfile(objects / name, directory / name)
    mesh = LocalMesh(directory, work_dir=work_dir, transparent=transparent, envoy=envoy)
    places, workloads = _transparent(objects) if transparent else _explicit(objects, mesh.ports)
    (directory / "workloads.yaml").write_text(workloads)
    async with mesh:
        bookstore = BookstoreMesh(mesh, objects, places)
        try:
            yield bookstore
        finally:
            await bookstore.close()


def _explicit(objects: Path, held: HeldPorts) -> tuple[dict[str, Place], str]:
    """Everything on 127.0.0.1, on ports that are free."""
    ports = {name: held.take() for name in _EXPLICIT_PORTS}

    def local(name: str) -> str:
        return f"127.0.0.1:{ports[name]}"

    def server(name: str) -> Place:
        upstream = f"http://{local(f'{name}_upstream')}" if f"{name}_upstream" in ports else ""
        return Place(local(f"{name}_app"), ("127.0.0.1", ports[f"{name}_port"]), upstream)

    def client(name: str) -> Place:
        return Place(f"127.0.0.1:{held.take()}", upstream=f"http://{local(f'{name}_upstream')}")

    places = {V1: server("v1"), V2: server("v2"), WAREHOUSE: server("warehouse")}
    places |= {BUYER: client("buyer"), THIEF: client("thief")}
    return places, _filled_in(objects / "workloads-explicit.yaml", ports)


def _transparent(objects: Path) -> tuple[dict[str, Place], str]:
    """Each workload at an address of its own, calling others by their names."""
    store, warehouse = "http://bookstore.bookstore", "http://bookwarehouse.bookwarehouse"
    places = {
        V1: Place("0.0.0.0:14001", ("10.99.1.1", 14001), warehouse),
        V2: Place("0.0.0.0:14001", ("10.99.1.2", 14001), warehouse),
        WAREHOUSE: Place("0.0.0.0:14001", ("10.99.2.1", 14001)),
        BUYER: Place(f"10.99.3.1:{_STATUS_PORT}", upstream=store),
        THIEF: Place(f"10.99.4.1:{_STATUS_PORT}", upstream=store),
    }
    return places, (objects / "workloads-transparent.yaml").read_text()


def _filled_in(file: Path, values: Mapping[str, object]) -> str:
    """The text of `file` with each $name replaced by its value; names without a value stay as they are."""
    return Template(file.read_text()).safe_substitute(values)


def _counts(outcomes: list[dict[str, Any]]) -> Counter[tuple[int, str | None, str | None]]:
    return Counter({(each["status"], each["version"], each["error"]): each["count"] for each in outcomes})
