"""The mesh model, kept current: which cells there are, and what follows what."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ca.identity import TrustDomain
from smi.diagnostics import Diagnostic
from smi.index import Key, MeshIndex, ObjectEvent
from smi.model import (
    BackendPort,
    EndpointSet,
    Frontend,
    HeadlessEndpoint,
    LocalListener,
    MeshSettings,
    MeshSnapshot,
    PortKey,
    ProxyModel,
    VirtualAddress,
    WorkloadClass,
    WorkloadKey,
)
from smi.objects import MeshConfig, TrafficSplit
from smi.protocol import Protocol
from smi.resolve import codes
from smi.resolve.access import ResolvedTarget, resolve_target
from smi.resolve.age import age_key
from smi.resolve.cells import Derived, Graph, Members, Source
from smi.resolve.classes import resolve_class
from smi.resolve.declared import Declared
from smi.resolve.findings import Findings
from smi.resolve.members import Member, resolve_member
from smi.resolve.reaches import ReachSpec, check_places, check_size, local_listeners
from smi.resolve.scopes import Least, Scopes, ScopeShift
from smi.resolve.services import (
    ResolvedPort,
    ResolvedService,
    Shape,
    backend_of,
    endpoints_of,
    headless_addresses,
    headless_endpoints,
    protocol_at,
    resolve_service,
    shape_of,
    virtual_address,
)
from smi.resolve.splits import leads_to, resolve_frontend, resolve_splits


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """Which slices of the mesh model have changed, with what they were before (None: they were not there)."""

    settings: bool
    backends: Mapping[PortKey, BackendPort | None]
    endpoints: Mapping[PortKey, EndpointSet | None]
    frontends: Mapping[PortKey, Frontend | None]
    addresses: Mapping[PortKey, VirtualAddress | None]
    headless: Mapping[PortKey, tuple[HeadlessEndpoint, ...] | None]
    classes: Mapping[str, WorkloadClass | None]
    proxies: Mapping[WorkloadKey, ProxyModel | None]
    scopes: Mapping[str, ScopeShift]


class MeshModel:
    """What the declared objects come to, slice by slice. `apply` takes changes; reading is by attributes that follow.

    A change costs what depends on it, never the size of the mesh; a change of MeshConfig costs everything.
    """

    def __init__(self) -> None:
        self._index = MeshIndex()
        graph = self._graph = Graph()
        declared = self._declared = Declared(graph, self._index)
        self._trust_domain: str | None = None
        self.settings = _settings(declared.config)

        self._members: Derived[Key, Member] = Derived(graph, self._member)
        declared.workloads.follow(self._members.touch)
        self._services: Derived[Key, ResolvedService] = Derived(graph, self._service)
        declared.services.follow(self._services.touch)
        self._shapes: Derived[Key, Shape] = Derived(graph, self._shape)
        self._services.follow(self._shapes.touch)
        self._headless_holders: Members[tuple[str, int], PortKey] = Members(graph)
        self._splits: Derived[Key, tuple[TrafficSplit, ...]] = Derived(graph, self._splits_of)
        declared.splits_by_root.follow(self._splits.touch)
        self._endpoints: Derived[PortKey, EndpointSet] = Derived(graph, self._endpoint_set, output=True)
        self._backends: Derived[PortKey, BackendPort] = Derived(graph, self._backend, output=True)
        self._headless: Derived[PortKey, tuple[HeadlessEndpoint, ...]] = Derived(
            graph, self._headless_endpoints, output=True
        )
        self._services.follow(self._service_changed)
        self._frontends: Derived[PortKey, Frontend] = Derived(graph, self._frontend, output=True)
        self._leads: Derived[PortKey, tuple[PortKey, ...]] = Derived(graph, self._leads_to, output=True)
        self._addresses: Derived[PortKey, VirtualAddress] = Derived(graph, self._virtual_address, output=True)
        self._shapes.follow(self._shape_changed)
        self._targets: Derived[Key, ResolvedTarget] = Derived(graph, self._target)
        declared.traffic_targets.follow(self._targets.touch)
        self._classmates: dict[str, Least[Key]] = {}
        self._representatives: dict[str, Key] = {}
        self._representative: Source[str, Key] = Source(graph, self._representatives)
        self._classes: Derived[str, WorkloadClass] = Derived(graph, self._class, output=True)
        self._representative.follow(self._classes.touch)
        self._proxies: Derived[WorkloadKey, ProxyModel] = Derived(graph, self._proxy, output=True)
        self._members.follow(self._member_changed)
        self._scopes = Scopes(self._leads.values)
        self._scopemates: dict[str, Least[WorkloadKey]] = {}
        self._regrouped: dict[str, None] = {}

        self.backends: Mapping[PortKey, BackendPort] = self._backends.values
        self.endpoints: Mapping[PortKey, EndpointSet] = self._endpoints.values
        self.frontends: Mapping[PortKey, Frontend] = self._frontends.values
        self.addresses: Mapping[PortKey, VirtualAddress] = self._addresses.values
        self.headless: Mapping[PortKey, tuple[HeadlessEndpoint, ...]] = self._headless.values
        self.classes: Mapping[str, WorkloadClass] = self._classes.values
        self.proxies: Mapping[WorkloadKey, ProxyModel] = self._proxies.values
        self.scopes = self._scopes.by_name
        self.scopes_with_frontend: Mapping[PortKey, Mapping[str, None]] = self._scopes.with_frontend
        self.scopes_with_backend: Mapping[PortKey, Mapping[str, None]] = self._scopes.with_backend

    # -- from outside

    @property
    def certificate_lifetime(self) -> float:
        return self._declared.config.certificate_lifetime

    def apply(self, events: Iterable[ObjectEvent]) -> ModelChange | None:
        """Take the events in their order; None when they change no object."""
        changes = self._index.apply(events)
        if not changes:
            return None
        reconfigured = self._reconfigure()
        for change in changes:
            self._declared.take(change)
        self._graph.settle()
        leads = self._leads.drain()
        scopes = self._scopes.settle(leads)
        self._check_sizes({**scopes, **self._regrouped})
        self._regrouped.clear()
        return ModelChange(
            settings=reconfigured,
            backends=self._backends.drain(),
            endpoints=self._endpoints.drain(),
            frontends=self._frontends.drain(),
            addresses=self._addresses.drain(),
            headless=self._headless.drain(),
            classes=self._classes.drain(),
            proxies=self._proxies.drain(),
            scopes=scopes,
        )

    def fix_trust_domain(self) -> None:
        """From now on the trust domain stays what it is: every identity and the root itself carry it."""
        self._trust_domain = self._declared.config.trust_domain

    def appeared(self) -> tuple[Diagnostic, ...]:
        """What was found wrong since the last call, and was not known before."""
        fresh = self._graph.findings.appeared
        found = tuple(map(self._located, fresh))
        fresh.clear()
        return found

    @property
    def findings_version(self) -> int:
        """Another number whenever `diagnostics()` has changed."""
        return self._graph.findings.version

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Everything that is wrong with what was declared, sorted by place."""
        return tuple(sorted(map(self._located, self._graph.findings), key=Diagnostic.sort_key))

    def snapshot(self) -> MeshSnapshot:
        """The whole model at this moment."""
        return MeshSnapshot(
            settings=self.settings,
            certificate_lifetime=self.certificate_lifetime,
            backends=dict(self.backends),
            endpoints=dict(self.endpoints),
            frontends=dict(self.frontends),
            addresses=dict(self.addresses),
            headless=dict(self.headless),
            classes=dict(self.classes),
            reaches={name: scope.reach() for name, scope in self.scopes.items()},
            proxies=dict(self.proxies),
            diagnostics=self.diagnostics(),
        )

    def _located(self, finding: Diagnostic) -> Diagnostic:
        about = None if finding.object is None else self._index.get(finding.object)
        return finding if about is None else dataclasses.replace(finding, location=about.meta.location)

    def _reconfigure(self) -> bool:
        """Follow MeshConfig. Every cell may depend on it."""
        wanted, found = self._index.config, Findings()
        if self._trust_domain is not None and wanted.trust_domain != self._trust_domain:
            message = f"trustDomain is {self._trust_domain} until the control plane is started anew"
            found.add(codes.TRUST_DOMAIN_FIXED, message, wanted)
            wanted = dataclasses.replace(wanted, trust_domain=self._trust_domain)
        self._graph.findings.replace((self, "config"), found)
        if wanted == self._declared.config:
            return False
        self._declared.config = wanted
        self.settings = _settings(wanted)
        self._graph.invalidate()
        return True

    # -- cells

    def _member(self, key: Key, findings: Findings) -> Member | None:
        workload = self._declared.workloads.values.get(key)
        return None if workload is None else resolve_member(workload, self._declared, findings)

    def _service(self, key: Key, findings: Findings) -> ResolvedService | None:
        service = self._declared.services.values.get(key)
        return None if service is None else resolve_service(service, self._declared, self._members, findings)

    def _shape(self, key: Key, _: Findings) -> Shape | None:
        resolved = self._services.values.get(key)
        return None if resolved is None else shape_of(resolved)

    def _splits_of(self, root: Key, findings: Findings) -> tuple[TrafficSplit, ...] | None:
        if root not in self._declared.splits_by_root.values:
            return None
        return resolve_splits(root, self._declared, findings)

    def _port(self, key: PortKey) -> tuple[ResolvedService, ResolvedPort] | None:
        resolved = self._services.values.get((key.namespace, key.service))
        port = None if resolved is None else resolved.port(key.port)
        return None if resolved is None or port is None else (resolved, port)

    def _endpoint_set(self, key: PortKey, findings: Findings) -> EndpointSet | None:
        found = self._port(key)
        if found is None:
            return None
        resolved, port = found
        return endpoints_of(key, resolved.service, port, self._declared.config.plaintext_upstreams, findings)

    def _backend(self, key: PortKey, _: Findings) -> BackendPort | None:
        found = self._port(key)
        return None if found is None else backend_of(key, found[0].service, found[1])

    def _headless_endpoints(self, key: PortKey, _: Findings) -> tuple[HeadlessEndpoint, ...] | None:
        found = self._port(key)
        if found is None or not found[0].service.headless:
            return None
        return headless_endpoints(key, found[1], self._declared.config.plaintext_upstreams, self._headless_holder)

    def _headless_holder(self, address: tuple[str, int]) -> PortKey | None:
        """Whose an address is: the oldest headless Service's."""
        wanting = []
        for key in self._headless_holders.of(address):
            service = self._declared.services.get((key.namespace, key.service))
            if service is not None:
                wanting.append((age_key(service), key))
        return min(wanting)[1] if wanting else None

    def _frontend(self, key: PortKey, findings: Findings) -> Frontend | None:
        service = (key.namespace, key.service)
        shape = self._shapes.values.get(service)
        protocol = None if shape is None else shape.protocol(key.port)
        if protocol is None:
            return None
        splits = self._splits.get(service) or ()
        return resolve_frontend(key, protocol, splits, self._shapes, self._declared, findings)

    def _leads_to(self, key: PortKey, _: Findings) -> tuple[PortKey, ...] | None:
        service = (key.namespace, key.service)
        shape = self._shapes.values.get(service)
        if shape is None or shape.protocol(key.port) is None:
            return None
        return leads_to(key, self._splits.get(service) or (), self._shapes)

    def _virtual_address(self, key: PortKey, findings: Findings) -> VirtualAddress | None:
        shape = self._shapes.values.get((key.namespace, key.service))
        if shape is None or shape.protocol(key.port) is None:
            return None
        return virtual_address(key, shape, self._declared, self._is_root, findings)

    def _is_root(self, service: Key) -> bool:
        return self._splits.get(service) is not None

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
            local = local_listeners(workload, self._protocol_at, self._declared, findings)
        return ProxyModel(key, member.identity, member.class_name, workload.capture, member.reach.name, local)

    def _protocol_at(self, key: PortKey) -> Protocol | None:
        return protocol_at(key, self._shapes)

    # -- what follows what, beyond equal keys

    def _service_changed(self, key: Key, old: ResolvedService | None, new: ResolvedService | None) -> None:
        for port in _ports(key, old) | _ports(key, new):
            self._endpoints.touch(port)
            self._backends.touch(port)
            if (old is not None and old.service.headless) or (new is not None and new.service.headless):
                self._headless.touch(port)
        before, now = dict(headless_addresses(old)), dict(headless_addresses(new))
        for address, port in before.items():
            if now.get(address) != port:
                self._headless_holders.discard(address, port)
        for address, port in now.items():
            if before.get(address) != port:
                self._headless_holders.add(address, port)

    def _shape_changed(self, key: Key, old: Shape | None, new: Shape | None) -> None:
        numbers = {number for shape in (old, new) if shape is not None for number, _ in shape.protocols}
        for number in numbers:
            port = PortKey(*key, number)
            self._frontends.touch(port)
            self._leads.touch(port)
            self._addresses.touch(port)

    def _member_changed(self, key: Key, old: Member | None, new: Member | None) -> None:
        proxy = WorkloadKey(*key)
        self._proxies.touch(proxy)
        self._reach_changed(proxy, old.reach if old else None, new.reach if new else None)
        before, now = (old.class_name if old else ""), (new.class_name if new else "")
        if before != now:
            if before:
                self._classmates[before].discard(key)
                self._choose(before)
            if now:
                self._classmates.setdefault(now, Least()).add(key)
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
        if old == new:
            return
        if new is not None:
            self._scopes.hold(new)
            self._scopemates.setdefault(new.name, Least()).add(key)
            self._regrouped[new.name] = None
        if old is not None:
            self._scopes.release(old)
            self._scopemates[old.name].discard(key)
            self._regrouped[old.name] = None

    def _check_sizes(self, names: Iterable[str]) -> None:
        """Report scopes that are too large for a small sidecar: once for each, however many workloads share it."""
        for name in names:
            scope, found = self.scopes.get(name), Findings()
            if scope is None:
                self._scopemates.pop(name, None)
            else:
                first = self._scopemates[name].first()
                workload = None if first is None else self._index.workloads.get(first)
                if workload is not None:
                    check_size(workload, len(scope.services), self._declared, found)
            self._graph.findings.replace((self, name), found)


def _settings(config: MeshConfig) -> MeshSettings:
    return MeshSettings(TrustDomain(config.trust_domain), config.egress)


def _ports(key: Key, resolved: ResolvedService | None) -> set[PortKey]:
    return set() if resolved is None else {PortKey(*key, each.port.port) for each in resolved.ports}
