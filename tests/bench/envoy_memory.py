"""`envoy_memory`: what one real Envoy needs, in memory and in time, for all services of a mesh, and for twenty."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.ports import HeldPorts
from smi.model import WorkloadKey
from smi.objects import Meta, Workload
from tests.bench import meshes
from tests.bench.envoy_plane import PlaneProcess
from tests.bench.envoys import RunningEnvoy, envoys, wait_until
from tests.bench.records import Record, say

_SETTLED = 5
"""Equal looks at the resident set, a pause apart, until it counts as settled."""


@dataclass(frozen=True, slots=True)
class Size:
    """`services` are in the mesh, and in the view of one Envoy; `scoped` in that of another."""

    services: int
    scoped: int


SIZES = (Size(services=100, scoped=20), Size(services=1_000, scoped=20))


def measure(*, quick: bool = False) -> Iterator[Record]:
    """Two records for each view: megabytes resident, and seconds from the start of the process until it is ready.

    The Envoys are in transparent mode, one at a time, since each binds the ports of the redirect.
    """
    for size in SIZES[:1] if quick else SIZES[1:]:
        say(f"envoy_memory: {size.services} services")
        views = ((_client("everything", None), size.services), (_client("narrow", size.scoped), size.scoped))
        with (
            tempfile.TemporaryDirectory() as directory,
            closing(HeldPorts()) as ports,
            PlaneProcess(
                Path(directory, "state"),
                (*meshes.mesh(size.services), *(workload for workload, _ in views)),
                [_key(workload) for workload, _ in views],
            ) as plane,
        ):
            for workload, in_view in views:
                with envoys(Path(directory), ports) as started:
                    state = Path(directory, "state")
                    envoy = started.start(_key(workload), state, plane.port, capture="transparent")
                    seconds = _until_ready(envoy)
                    wait_until(lambda: plane.synced() == 1, "Envoy to be in sync")
                    if plane.rejections():
                        raise RuntimeError("Envoy rejected its configuration: are ports 15001 and 15006 free?")
                    params = {"services": size.services, "in_view": in_view}
                    yield Record("envoy_memory", _settled_bytes(envoy) / 1e6, "MB", None, params)
                    yield Record("envoy_ready", seconds, "s", None, params)
                wait_until(lambda: plane.synced() == 0, "the control plane to see that Envoy is gone")


def _client(name: str, scoped: int | None) -> Workload:
    places = "" if scoped is None else ", ".join(f"{meshes.NAMESPACE}/service-{each}" for each in range(scoped))
    annotations = {"tulle.dev/reaches": places} if places else {}
    return dataclasses.replace(meshes.CLIENT, meta=Meta(namespace="memory", name=name, annotations=annotations))


def _key(workload: Workload) -> WorkloadKey:
    return WorkloadKey(workload.meta.namespace, workload.meta.name)


def _until_ready(envoy: RunningEnvoy) -> float:
    wait_until(envoy.ready, "Envoy to be ready", within=60)
    return time.monotonic() - envoy.started


def _settled_bytes(envoy: RunningEnvoy) -> int:
    """The resident set, once it stands still."""
    seen: list[int] = []

    def settled() -> bool:
        seen.append(envoy.resident_bytes())
        return len(seen) >= _SETTLED and len(set(seen[-_SETTLED:])) == 1

    wait_until(settled, "the memory of Envoy to settle")
    return seen[-1]
