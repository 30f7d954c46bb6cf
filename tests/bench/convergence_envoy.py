"""`convergence_envoy`: from an event at the index to the new answer on the wire at the last of many real Envoys.

An edit turns a split from one version of a store to the other, which a request through each Envoy shows. The floor
does the same to the same Envoys: each has a second listener that leads to the same clusters, whose routes come from a
bare server that writes the same bytes (see `envoy_floor`). Blocks of edits alternate, so that noise hits both alike.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from deploy.demo.ports import HeldPorts
from deploy.live_mesh import LiveMesh
from protos.envoy.config.bootstrap.v3_pb2 import Bootstrap
from protos.envoy.config.core.v3_pb2 import ApiConfigSource, ApiVersion, ConfigSource, GrpcService
from protos.envoy.config.route.v3_pb2 import RouteConfiguration
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpConnectionManager, Rds
from smi.files import FileChange
from smi.index import Upsert
from smi.model import WorkloadKey
from smi.objects import MeshObject, TrafficSplit
from tests.bench import meshes
from tests.bench.envoy_bootstrap import control_plane_cluster, http_listener
from tests.bench.envoy_floor import ROUTES, FloorProcess, response
from tests.bench.envoy_mesh import NAMESPACE, application, client, client_key, service, split
from tests.bench.envoy_plane import Child, PlaneProcess
from tests.bench.envoy_polling import Poller
from tests.bench.envoys import Amend, envoys, wait_until
from tests.bench.records import Must, Record, say
from xds.resource import TypeUrl
from xds.store import Store

_FLOOR_CLUSTER = "floor"
_QUIET = 0.03
"""Seconds between edits, in which what an edit left to do is done."""


@dataclass(frozen=True, slots=True)
class Size:
    """`services`: those in the index beside the ones of the Envoys. `edits`: of each side, in `blocks`."""

    envoys: int
    services: int
    edits: int
    blocks: int


SIZES = (Size(envoys=4, services=100, edits=20, blocks=2), Size(envoys=30, services=1_000, edits=200, blocks=4))
VERSIONS = ("a", "b")


def measure(*, quick: bool = False) -> Iterator[Record]:
    """p50 and p90 in milliseconds of an edit, ours and the floor's."""
    size = SIZES[0] if quick else SIZES[1]
    say(f"convergence_envoy: {size.envoys} Envoys, {size.edits} edits")
    ours, floor, asking = _seconds(size)
    for name, number in (("p50", 50), ("p90", 90)):
        found, least = (statistics.quantiles(each, n=100)[number - 1] * 1e3 for each in (ours, floor))
        params = {"quantile": name, "envoys": size.envoys, "services": size.services, "edits": size.edits}
        params["asking_ms"] = round(asking * 1e3, 1)
        yield Record("convergence_envoy", found, "ms", least, params, Must(ratio=1.5))


def _seconds(size: Size) -> tuple[list[float], list[float], float]:
    """Seconds of each edit, ours and the floor's; and how long it takes to ask all when there is nothing new."""
    with tempfile.TemporaryDirectory() as name, closing(HeldPorts()) as ports:
        directory = Path(name)
        local = {client_key(number): ports.take() for number in range(size.envoys)}
        beside = {key: ports.take() for key in local}
        applications = {ports.take(): version for version in VERSIONS}
        objects = [*_objects(applications, local), *meshes.mesh(size.services)]
        written = [response(routes) for routes in _routes(objects)]
        with (
            PlaneProcess(directory / "state", objects, local) as plane,
            FloorProcess(directory / "floor", written[0]) as floor,
            envoys(directory, ports) as started,
        ):
            started.start_application(applications)
            amend = _with_floor(floor, beside)
            for key in local:
                started.start(key, directory / "state", plane.port, amend=amend)
            started.wait_ready()
            wait_until(lambda: plane.synced() == size.envoys, "all Envoys to be in sync")
            with Poller(local.values()) as at_ours, Poller(beside.values()) as at_floor:
                sides = (
                    _Side(at_floor, floor, written),
                    _Side(at_ours, plane, [(Upsert(_split(version)),) for version in VERSIONS]),
                )
                asking = statistics.median(_asking(at_ours) for _ in range(20))
                for _ in range(size.blocks):
                    for side in sides:
                        side.edit(size.edits // size.blocks)
        least, ours = (side.seconds for side in sides)
        return ours, least, asking


def _asking(poller: Poller) -> float:
    begin = time.monotonic()
    return poller.until_all(VERSIONS[0].encode()) - begin


@dataclass(slots=True)
class _Side:
    """One of the two that are compared: whom to tell what, for each version, and whom to ask then."""

    poller: Poller
    child: Child
    messages: Sequence[object]
    seconds: list[float] = field(default_factory=list)

    def edit(self, count: int) -> None:
        """Turn from one version to the other, `count` times; an even one leaves it as it was."""
        for number in range(count):
            turn = (number + 1) % len(VERSIONS)
            self.child.tell(self.messages[turn])
            last = self.poller.until_all(VERSIONS[turn].encode())
            self.seconds.append(last - self.child.answer())
            time.sleep(_QUIET)


def _split(version: str) -> TrafficSplit:
    return split("store", [(f"store-{each}", 100 * (each == version)) for each in VERSIONS])


def _objects(applications: Mapping[int, str], local: Mapping[WorkloadKey, int]) -> Iterator[MeshObject]:
    for port, version in applications.items():
        yield application(f"store-{version}", port, {"version": version})
        yield service(f"store-{version}", {"version": version})
    yield service("store", {"version": "a"})
    yield _split("a")
    for key, port in local.items():
        yield client(key, {"store": port})


def _routes(objects: list[MeshObject]) -> Iterator[RouteConfiguration]:
    """The routes that the control plane makes of each edit."""
    store = Store()
    live = LiveMesh(store)
    live.take(FileChange(tuple(map(Upsert, objects)), ()))
    for version in VERSIONS:
        live.take(FileChange((Upsert(_split(version)),), ()))
        found = store.record(str(client_key(0))).lookup(TypeUrl.ROUTE, f"outbound/{NAMESPACE}/store/80")
        assert found is not None
        yield RouteConfiguration.FromString(found.body)


def _with_floor(floor: FloorProcess, ports: Mapping[WorkloadKey, int]) -> Amend:
    """Adds the floor's listener and its server to a bootstrap."""
    cluster = control_plane_cluster(_FLOOR_CLUSTER, floor.port, floor.bundle)
    source = ConfigSource(
        api_config_source=ApiConfigSource(
            api_type=ApiConfigSource.DELTA_GRPC,
            transport_api_version=ApiVersion.V3,
            grpc_services=[GrpcService(envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=_FLOOR_CLUSTER))],
        ),
        resource_api_version=ApiVersion.V3,
        initial_fetch_timeout=Duration(seconds=0),
    )

    def amend(key: WorkloadKey, made: Bootstrap) -> None:
        rds = Rds(config_source=source, route_config_name=ROUTES)
        manager = HttpConnectionManager(stat_prefix="floor", rds=rds)
        made.static_resources.clusters.append(cluster)
        made.static_resources.listeners.append(http_listener("floor", ports[key], manager))

    return amend
