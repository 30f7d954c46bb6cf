"""Random meshes in real sidecars that stay: each mesh is served, waited for, and asked the calls of its case."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deploy.demo.waiting import eventually
from tests.envoy.running_mesh import RunningMesh
from tests.oracle.calls import Call
from tests.oracle.cases import Case, objects_of, random_case
from tests.oracle.expectation import disjoint, expected, expected_in_plaintext
from tests.oracle.layout import Layout
from tests.oracle.meshes import as_yaml
from tests.oracle.oracle import Oracle
from tests.oracle.real_hosts import Outcome, applications, outcome, real_layout

UPSTREAMS = 24
"""As many TCP ports as the Services of a random mesh can have."""
OF_A_SPLIT = 12
"""How often a call is made that a split divides."""
_AT_ONCE = 12
_STILL = r"^(listener_manager.total_listeners_warming|cluster_manager.warming_clusters)$"


@dataclass
class Tally:
    """What all calls together came to. `surplus` and `variance` are of the parts of splits: how many more calls than
    expected the largest of them got, and the variance of that. A part that is too large for what it is would be less.
    """

    outcomes: Counter[int] = field(default_factory=Counter)
    surplus: float = 0.0
    variance: float = 0.0
    divided: int = 0


@dataclass(frozen=True)
class RealMeshes:
    """Running sidecars of a layout."""

    mesh: RunningMesh
    layout: Layout

    async def serve(self, case: Case) -> None:
        """Put the mesh of a case in force everywhere. Its Services are told from those of others by their names."""
        self.mesh.write("mesh.yaml", as_yaml([*case.documents]))
        services = {
            f"{meta['namespace']}/{meta['name']}"
            for meta in (each["metadata"] for each in case.documents if each["kind"] == "Service")
        }

        async def read() -> bool:
            known = (await self.mesh.debug("/debug/mesh"))["services"]
            return {name.rpartition("/")[0] for name in known} == services

        await eventually(read, f"mesh {case.seed} to be read", within=20)
        await eventually(self._in_force, f"mesh {case.seed} to be in force", within=20)

    async def _in_force(self) -> bool:
        """All sidecars hold what they should, and none of it is warming."""
        if not await self.mesh.all_synced():
            return False
        pages = await asyncio.gather(*(self.mesh.admin(each, f"/stats?filter={_STILL}") for each in self.mesh.sidecars))
        values = [line.rpartition(": ")[2] for page in pages for line in page.splitlines()]
        return values == ["0"] * (2 * len(self.mesh.sidecars)) and await self.mesh.all_synced()

    async def disagreements(self, case: Case, tally: Tally) -> list[str]:
        """Make the calls of a case that is in force; tells those whose outcome the oracle does not expect.

        Sidecars apply what they have accepted a moment later, in each of their threads. So a mesh that disagrees is
        asked again until all its calls agree, and then once more; what is still wrong then is told.
        """
        oracle = Oracle(objects_of(case.documents))
        found = await self._try(case, oracle, tally)
        if not found:
            return []

        async def agrees() -> bool:
            return not await self._try(case, oracle, Tally())

        try:
            await eventually(agrees, "agreement", within=5)
        except TimeoutError:
            return await self._try(case, oracle, Tally())
        return await self._try(case, oracle, tally)

    async def _try(self, case: Case, oracle: Oracle, tally: Tally) -> list[str]:
        gate = asyncio.Semaphore(_AT_ONCE)
        found = await asyncio.gather(*(self._call(oracle, call, gate, tally) for call in case.calls))
        return [each for each in found if each is not None]

    async def _call(self, oracle: Oracle, call: Call, gate: asyncio.Semaphore, tally: Tally) -> str | None:
        """Make one call, several times where a split divides it; tells what was wrong."""
        if call.source is None:
            return await self._call_in_plaintext(oracle, call, gate, tally)
        host = oracle.objects.workloads[call.source]
        wanted = (*call.service, call.port)
        upstream = next(up for up in host.upstreams if (up.namespace, up.service, up.port) == wanted)
        parts = expected(oracle, call)
        times = OF_A_SPLIT if len(parts) > 1 else 1

        async def once() -> Outcome:
            async with gate:
                return await outcome("127.0.0.1", upstream.local_port, call.request)

        seen = Counter(await asyncio.gather(*(once() for _ in range(times))))
        tally.outcomes.update({status: n for (status, _), n in seen.items()})
        may_be = frozenset[Outcome]().union(*parts)
        if not seen.keys() <= may_be:
            return f"{call}\n    saw {dict(seen)}, expected {sorted(may_be, key=str)}"
        if len(parts) > 1 and disjoint(parts):
            part, share = max(parts.items(), key=lambda each: each[1])
            tally.divided += times
            tally.surplus += sum(n for each, n in seen.items() if each in part) - float(times * share)
            tally.variance += float(times * share * (1 - share))
        return None

    async def _call_in_plaintext(self, oracle: Oracle, call: Call, gate: asyncio.Semaphore, tally: Tally) -> str | None:
        """Each endpoint of the Service is called, as if by somebody who knows its address."""
        for place in oracle.places(call.service, call.port):
            async with gate:
                seen = await outcome(oracle.objects.workloads[place[0]].address, place[1], call.request)
            tally.outcomes[seen[0]] += 1
            may_be = expected_in_plaintext(oracle, call, place)
            if seen not in may_be:
                return f"{call}\n    saw {seen} at {place}, expected {sorted(may_be, key=str)}"
        return None


@asynccontextmanager
async def real_meshes(work_dir: Path) -> AsyncIterator[RealMeshes]:
    """A control plane and sidecars, with some mesh."""
    mesh = RunningMesh(work_dir)
    try:
        layout = real_layout(mesh.ports, UPSTREAMS)
        mesh.write("mesh.yaml", as_yaml([*random_case(0, 0, layout).documents]))
    except BaseException:
        mesh.ports.close()
        raise
    async with mesh, applications(layout):
        starting = (mesh.start_sidecar("/".join(host.key)) for host in layout.hosts)
        await asyncio.gather(*starting)
        await eventually(partial(mesh.all_synced), "all sidecars to hold what they should", within=60)
        yield RealMeshes(mesh, layout)
