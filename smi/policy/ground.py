"""What the declared objects come to, as far as decisions need it: who serves a service port, which splits rule it, and
which TrafficTargets are for an account. Found with the resolver's own functions, so that the two never differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from smi.index import Key, MeshIndex, ObjectChange
from smi.model import PortKey, Rule
from smi.objects import MeshObject, TrafficSplit, TrafficTarget, Workload
from smi.policy.decision import Account, Cited
from smi.protocol import Protocol
from smi.resolve.access import ResolvedTarget, resolve_target
from smi.resolve.age import age_key
from smi.resolve.cells import Graph, Source
from smi.resolve.declared import Declared
from smi.resolve.findings import Findings
from smi.resolve.members import Member, resolve_member
from smi.resolve.services import ResolvedService, Shape, resolve_service, services_of, shape_of, target_number
from smi.resolve.splits import resolve_frontend, resolve_splits


class Server(NamedTuple):
    """A workload that serves a service port, and on which of its ports."""

    member: Member
    port: int

    @property
    def workload(self) -> Workload:
        return self.member.workload

    @property
    def account(self) -> Account:
        return Account(self.workload.meta.namespace, self.workload.service_account)


class Ground:
    """The objects of `index` as they are now; later changes are not followed."""

    def __init__(self, index: MeshIndex) -> None:
        graph, objects = Graph(), index.snapshot()
        self.objects = objects
        self.declared = Declared(graph, index)
        for event in objects.events():
            meta = event.object.meta
            key: Any = (meta.namespace, meta.name) if meta.namespace else meta.name
            self.declared.take(ObjectChange(event.ref.kind, key, None, event.object))
        self._members: dict[Key, Member] = {}
        for key, workload in objects.workloads.items():
            member = resolve_member(workload, self.declared, Findings())
            if member is not None:
                self._members[key] = member
        members = Source(graph, self._members)
        self._services: dict[Key, ResolvedService] = {}
        for key, service in objects.services.items():
            resolved = resolve_service(service, self.declared, members, Findings())
            if resolved is not None:
                self._services[key] = resolved
        self._shapes: Source[Key, Shape] = Source(graph, {key: shape_of(each) for key, each in self._services.items()})
        self._targets: dict[Key, ResolvedTarget | None] = {}

    @property
    def members(self) -> Iterable[Member]:
        """All workloads that are part of the mesh, those without a sidecar included."""
        return self._members.values()

    def ports(self, service: Key) -> tuple[int, ...]:
        """The TCP ports of a service of the mesh, sorted; none where there is no such service."""
        resolved = self._services.get(service)
        return () if resolved is None else tuple(sorted(each.port.port for each in resolved.ports))

    def servers(self, key: PortKey) -> tuple[Server, ...]:
        """The workloads behind a service port, by name. Of several at one address and port, the first."""
        resolved = self._services.get((key.namespace, key.service))
        port = None if resolved is None else resolved.port(key.port)
        found: dict[tuple[str, int, bool], Server] = {}
        for member, number in port.targets if port else ():
            place = (member.workload.address, number, member.workload.sidecar)
            found.setdefault(place, Server(member, number))
        return tuple(found.values())

    def numbers(self, workload: Workload, port: int) -> frozenset[int]:
        """By which numbers rules may name a port of a workload: its own, and those of the services that lead there."""
        services = services_of(workload, self.declared)
        ports = (each for service in services for each in service.ports if each.transport == "TCP")
        return frozenset({port} | {each.port for each in ports if target_number(each, workload) == port})

    def splits(self, key: PortKey, protocol: Protocol) -> Iterator[tuple[TrafficSplit, Rule]]:
        """The splits in force at a service port, each with the rule that it makes there, in order."""
        for split in resolve_splits((key.namespace, key.service), self.declared, Findings()) or ():
            rules = resolve_frontend(key, protocol, (split,), self._shapes, self.declared, Findings()).rules
            if not split.matches or rules[0].matches:
                yield split, rules[0]

    def targets_for(self, account: Account) -> Iterator[tuple[TrafficTarget, ResolvedTarget | None]]:
        """The TrafficTargets whose destination is `account`, the oldest first. None: it can grant nothing."""
        keys = self.declared.targets_by_destination.of((account.namespace, account.name))
        for target in sorted((self.objects.traffic_targets[key] for key in keys), key=age_key):
            yield target, self.resolved(target)

    def resolved(self, target: TrafficTarget) -> ResolvedTarget | None:
        """The target with its routes looked up; None if it can grant nothing."""
        key = (target.meta.namespace, target.meta.name)
        if key not in self._targets:
            self._targets[key] = resolve_target(target, self.declared, Findings())
        return self._targets[key]


def cite(about: MeshObject, match: str = "") -> Cited:
    """An object to rest a reason on."""
    return Cited(about.ref, about.meta.location, match)
