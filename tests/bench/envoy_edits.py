"""What is done to the mesh of `zero_loss`: changes in a random order that a seed decides, none of which may be felt.

Every client asks four addresses all the time: `split` (a root service whose split changes), `moving` (a service whose
endpoints change), `first` and `second` (addresses that services take over from each other). Beside them, services and
their addresses come and go.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from smi.index import Delete, ObjectEvent, Upsert
from smi.model import WorkloadKey
from smi.objects import MeshConfig, MeshObject, Meta, TrafficPolicy, Workload
from tests.bench.envoy_mesh import NAMESPACE, application, client, meshed, service, split

ASKED = ("split", "moving", "first", "second")
BESIDE = ("beside-0", "beside-1", "beside-2")
VERSIONS = ("a", "b", "c")
_POOL = {"app": "pool"}
SERVERS = tuple(WorkloadKey(NAMESPACE, f"server-{number}") for number in range(2))


@dataclass(frozen=True, slots=True)
class Ports:
    """On loopback: of each client, one for each address; of each application; of each server's sidecar."""

    clients: Mapping[WorkloadKey, Mapping[str, int]]
    applications: Mapping[str, int]
    servers: Mapping[WorkloadKey, int]


class ChangingMesh:
    """The objects as they are, and ways to change them. An edit is one atomic change: its events."""

    def __init__(self, ports: Ports, seed: int) -> None:
        self._ports = ports
        self._random = random.Random(seed)
        self._owners = {"split": "store", "moving": "moving", "first": "first", "second": "second"}
        self._inside = [self._members()[0], SERVERS[0].name]
        self._names = 0

    def objects(self) -> Iterator[MeshObject]:
        """The mesh at the beginning."""
        yield MeshConfig(meta=Meta(namespace="", name="default"), traffic_policy=TrafficPolicy.PERMISSIVE)
        for version in VERSIONS:
            yield application(version, self._ports.applications[version], {"version": version})
            yield service(f"store-{version}", {"version": version})
        yield service("store", {"version": "a"})
        yield split("store", [("store-a", 1), ("store-b", 1)])
        yield service("moving", {"in": "yes"})
        # Keeps the ports of the servers' sidecars what they are, in the moving service or not.
        yield service("pool", _POOL)
        yield from map(self._member, self._members())
        for owner in ("first", "second"):
            yield service(owner, {"version": "a"})
        yield from self._clients()

    def edits(self, splits: int) -> list[str]:
        """The kinds of all edits in the order in which to make them: `splits` of them are splits."""
        kinds = ["split"] * splits
        for kind in ("move", "beside", "rename", "swap"):
            kinds += [kind] * max(2, splits // 12)
        self._random.shuffle(kinds)
        return kinds

    def edit(self, kind: str) -> tuple[ObjectEvent, ...]:
        """Make an edit of this kind."""
        make = {
            "split": self._split,
            "move": self._move,
            "beside": self._come_or_go,
            "rename": self._rename,
            "swap": self._swap,
        }
        return tuple(make[kind]())

    def _split(self) -> Iterator[ObjectEvent]:
        """Other weights, and often other backends: their clusters come and go."""
        chosen = self._random.sample(VERSIONS, self._random.randint(1, 3))
        weights = [(f"store-{version}", self._random.choice((0, 1, 10, 90))) for version in chosen[1:]]
        yield Upsert(split("store", [(f"store-{chosen[0]}", 10), *weights]))

    def _move(self) -> Iterator[ObjectEvent]:
        """One endpoint leaves while another joins."""
        leaving = self._random.choice(self._inside)
        joining = self._random.choice([name for name in self._members() if name not in self._inside])
        self._inside = [joining if name == leaving else name for name in self._inside]
        for name in (leaving, joining):
            yield Upsert(self._member(name))

    def _come_or_go(self) -> Iterator[ObjectEvent]:
        """A service is added with an address of its own, or removed with it."""
        address = self._random.choice(BESIDE)
        owner = self._owners.pop(address, None)
        if owner is None:
            self._owners[address] = owner = self._new_name()
            yield Upsert(service(owner, {"version": self._random.choice(VERSIONS)}))
        else:
            yield Delete(service(owner, {}).ref)
        yield from map(Upsert, self._clients())

    def _rename(self) -> Iterator[ObjectEvent]:
        """A service that is new takes an address, and the one that had it is gone."""
        address = self._random.choice(("first", "second"))
        left, self._owners[address] = self._owners[address], self._new_name()
        yield Upsert(service(self._owners[address], {"version": self._random.choice(VERSIONS)}))
        yield Delete(service(left, {}).ref)
        yield from map(Upsert, self._clients())

    def _swap(self) -> Iterator[ObjectEvent]:
        """Two services exchange their addresses."""
        owners = self._owners
        owners["first"], owners["second"] = owners["second"], owners["first"]
        yield from map(Upsert, self._clients())

    def _clients(self) -> Iterator[Workload]:
        for key, ports in self._ports.clients.items():
            yield client(key, {owner: ports[address] for address, owner in self._owners.items()})

    def _members(self) -> list[str]:
        """Who may be an endpoint of the moving service."""
        return [*(name for name in self._ports.applications if name.startswith("plain")), *(k.name for k in SERVERS)]

    def _member(self, name: str) -> Workload:
        labels = {**_POOL, "in": "yes" if name in self._inside else "no"}
        port = self._ports.applications[name]
        key = WorkloadKey(NAMESPACE, name)
        return (
            meshed(key, self._ports.servers[key], port, labels) if key in SERVERS else application(name, port, labels)
        )

    def _new_name(self) -> str:
        self._names += 1
        return f"service-{self._names}"
