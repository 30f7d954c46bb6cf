"""A mesh in explicit mode whose applications are servers in the test's own loop, so that it can look at what they saw.

In: objects with a name for each port, and the workloads that get a sidecar. Out: a mesh, and ways to ask it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from deploy.demo.waiting import eventually
from tests.envoy.running_mesh import RunningMesh, running_mesh


@dataclass(frozen=True)
class ExplicitMesh:
    """A running mesh; `http` is an ordinary client. Ports are named as in the objects, without their `$`."""

    mesh: RunningMesh
    http: aiohttp.ClientSession

    @property
    def ports(self) -> dict[str, int]:
        return self.mesh.port

    def url(self, port: str, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    async def get(self, port: str, path: str = "/", **options: Any) -> tuple[int, str]:
        """Status and text of an ordinary request."""
        async with self.http.get(self.url(port, path), **options) as answer:
            return answer.status, await answer.text()

    async def seen(self, port: str, path: str = "/", **options: Any) -> dict[str, Any]:
        """What the application says that it saw of a request; its answer must be a 200 in JSON."""
        status, text = await self.get(port, path, **options)
        assert status == 200, (status, text)
        return dict(json.loads(text))

    async def synced(self) -> None:
        """Wait until every sidecar has acknowledged exactly what it should hold."""
        await eventually(partial(self.mesh.all_synced), "all sidecars to be in sync", within=20)

    async def stats(self, workload: str, pattern: str) -> dict[str, int]:
        """Counters and gauges of a sidecar whose name matches `pattern`."""
        page = await self.mesh.admin(workload, f"/stats?filter={pattern}")
        lines = (line.rsplit(": ", 1) for line in page.splitlines())
        return {name: int(value) for name, value in lines if value.isdigit()}

    async def diagnostics(self, code: str) -> list[dict[str, Any]]:
        """What the control plane says of this kind of mistake."""
        found = (await self.mesh.debug("/debug/mesh"))["diagnostics"]
        return [each for each in found if each["code"] == code]

    async def assert_nothing_rejected(self) -> None:
        proxies = await self.mesh.debug("/debug/proxies")
        assert {proxy["proxy"]: proxy["last_nack"] for proxy in proxies if proxy.get("nacks")} == {}


@asynccontextmanager
async def explicit_mesh(
    work_dir: Path, objects: str | Mapping[str, str], sidecars: Sequence[str]
) -> AsyncIterator[ExplicitMesh]:
    """Serve `objects` (one file, or several by name), with a sidecar for each of `sidecars` (`namespace/workload`)."""
    files = {"objects.yaml": objects} if isinstance(objects, str) else objects
    async with (
        running_mesh(work_dir, files, (), sidecars) as mesh,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http,
    ):
        yield ExplicitMesh(mesh, http)
