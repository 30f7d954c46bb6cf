"""The cells of sidecars: their classes, their scopes, and what each of them gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from smi.index import Key
from smi.model import LocalListener, PortKey, ProxyModel, WorkloadClass, WorkloadKey
from smi.resolve.access import ResolvedTarget, resolve_target
from smi.resolve.cells import Derived, Graph, Source
from smi.resolve.classes import resolve_class
from smi.resolve.declared import Declared
from smi.resolve.findings import Findings
from smi.resolve.members import Member
from smi.resolve.port_cells import PortCells
from smi.resolve.reaches import ReachSpec, check_places, check_size, local_listeners
from smi.resolve.scopes import Least, Scopes, ScopeShift

T = TypeVar("T", bound=tuple[str, ...])


class ProxyCells:
    """Everything that is known of workloads with a sidecar, as derived tables, and the scopes in use."""

    def __init__(self, graph: Graph, declared: Declared, members: Derived[Key, Member], ports: PortCells) -> None:
        self._graph = graph
        self._declared = declared
        self._members = members
        self._ports = ports
        self._targets: Derived[Key, ResolvedTarget] = Derived(graph, self._target)
        self._classmates: dict[str, Least[Key]] = {}
        self._representatives: dict[str, Key] = {}
        self._representative: Source[str, Key] = Source(graph, self._representatives)
        self.classes: Derived[str, WorkloadClass] = Derived(graph, self._class, output=True)
        self.proxies: Derived[WorkloadKey, ProxyModel] = Derived(graph, self._proxy, output=True)
        self.scopes = Scopes(ports.leads.values)
        self._scopemates: dict[str, Least[WorkloadKey]] = {}
        self._regrouped: dict[str, None] = {}
        declared.traffic_targets.follow(self._targets.touch)
        members.follow(self._member_changed)
        self._representative.follow(self.classes.touch)

    def settle_scopes(self, leads: Mapping[PortKey, tuple[PortKey, ...] | None]) -> dict[str, ScopeShift]:
        """What `leads`, the changes of where calls may be sent, and the changes of proxies do to each scope."""
        shifts = self.scopes.settle(leads)
        self._check_sizes({**shifts, **self._regrouped})
        self._regrouped.clear()
        return shifts

    def _target(self, key: Key, findings: Findings) -> ResolvedTarget | None:
        target = self._declared.traffic_targets.values.get(key)
        return None if target is None else resolve_target(target, self._declared, findings)

    def _class(self, name: str, findings: Findings) -> WorkloadClass | None:
        representative = self._representatives.get(name)
        member = None if representative is None else self._members.get(representative)
        if member is None or member.identity is None:
            return None
        workload = member.workload
        destination = (workload.meta.namespace, workload.service_account)
        found = [self._targets.get(key) for key in self._declared.targets_by_destination.of(destination)]
        targets = sorted((each for each in found if each is not None), key=lambda each: each.age)
        return resolve_class(name, workload, member.identity, targets, self._declared, findings)

    def _proxy(self, key: WorkloadKey, findings: Findings) -> ProxyModel | None:
        member = self._members.values.get(key)
        if member is None or member.identity is None or member.reach is None:
            return None
        workload = member.workload
        local: tuple[LocalListener, ...] = ()
        if member.reach.places:
            check_places(workload, self._declared, findings)
        if workload.upstreams:
            local = local_listeners(workload, self._ports.protocol_at, self._declared, findings)
        return ProxyModel(key, member.identity, member.class_name, workload.capture, member.reach.name, local)

    # -- what follows what, beyond equal keys

    def _member_changed(self, key: Key, old: Member | None, new: Member | None) -> None:
        proxy = WorkloadKey(*key)
        self.proxies.touch(proxy)
        self._reach_changed(proxy, old.reach if old else None, new.reach if new else None)
        before, now = (old.class_name if old else ""), (new.class_name if new else "")
        if before != now:
            if before:
                self._classmates[before].discard(key)
                self._choose(before)
            if now and _group(self._classmates, now).add(key):
                self._choose(now)

    def _choose(self, name: str) -> None:
        """Let the first of a class stand for it."""
        old, new = self._representatives.get(name), self._classmates[name].first()
        if new is None:
            del self._classmates[name]
            self._representatives.pop(name, None)
        elif new != old:
            self._representatives[name] = new
        if new != old:
            self._representative.changed(name, old, new)

    def _reach_changed(self, key: WorkloadKey, old: ReachSpec | None, new: ReachSpec | None) -> None:
        if old is new or old == new:
            return
        if new is not None:
            self.scopes.hold(new)
            _group(self._scopemates, new.name).add(key)
            self._regrouped[new.name] = None
        if old is not None:
            self.scopes.release(old)
            self._scopemates[old.name].discard(key)
            self._regrouped[old.name] = None

    def _check_sizes(self, names: Iterable[str]) -> None:
        """Report scopes that are too large for a small sidecar: once for each, however many workloads share it."""
        for name in names:
            scope, found = self.scopes.by_name.get(name), Findings()
            if scope is None:
                self._scopemates.pop(name, None)
            else:
                first = self._scopemates[name].first()
                workload = None if first is None else self._declared.workloads.values.get(first)
                if workload is not None:
                    check_size(workload, len(scope.services), self._declared, found)
            self._graph.findings.replace((self, name), found)


def _group(groups: dict[str, Least[T]], name: str) -> Least[T]:
    group = groups.get(name)
    if group is None:
        group = groups[name] = Least()
    return group
