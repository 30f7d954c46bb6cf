"""The mesh model, kept current: objects in, changes of slices out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from smi.diagnostics import Diagnostic
from smi.index import Key, MeshIndex, ObjectEvent
from smi.model import (
    BackendPort,
    EndpointSet,
    Frontend,
    HeadlessEndpoint,
    MeshSettings,
    MeshSnapshot,
    PortKey,
    ProxyModel,
    VirtualAddress,
    WorkloadClass,
    WorkloadKey,
)
from smi.objects import ForeignDomain, MeshConfig
from smi.resolve import codes
from smi.resolve.cells import Derived, Graph
from smi.resolve.declared import Declared
from smi.resolve.findings import Findings
from smi.resolve.members import Member, resolve_member
from smi.resolve.port_cells import PortCells
from smi.resolve.proxy_cells import ProxyCells
from smi.resolve.scopes import Scope, ScopeShift


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
        self._graph = Graph()
        self._declared = Declared(self._graph, self._index)
        self._trust_domain: str | None = None
        self._members: Derived[Key, Member] = Derived(self._graph, self._member)
        self._declared.workloads.follow(self._members.touch)
        ports = self._ports = PortCells(self._graph, self._declared, self._members)
        proxies = self._proxies = ProxyCells(self._graph, self._declared, self._members, ports)

        self.settings = MeshSettings(self._declared.trust_domain, self._declared.config.egress)
        self.federation: tuple[ForeignDomain, ...] = ()
        """Other trust domains that are believed; they change nothing but the trust bundle."""
        self.backends: Mapping[PortKey, BackendPort] = ports.backends.values
        self.endpoints: Mapping[PortKey, EndpointSet] = ports.endpoints.values
        self.frontends: Mapping[PortKey, Frontend] = ports.frontends.values
        self.addresses: Mapping[PortKey, VirtualAddress] = ports.addresses.values
        self.headless: Mapping[PortKey, tuple[HeadlessEndpoint, ...]] = ports.headless.values
        self.classes: Mapping[str, WorkloadClass] = proxies.classes.values
        self.proxies: Mapping[WorkloadKey, ProxyModel] = proxies.proxies.values
        self.scopes: Mapping[str, Scope] = proxies.scopes.by_name
        self.scopes_with_frontend: Mapping[PortKey, Mapping[str, None]] = proxies.scopes.with_frontend
        self.scopes_with_backend: Mapping[PortKey, Mapping[str, None]] = proxies.scopes.with_backend

    @property
    def objects(self) -> MeshIndex:
        """What is declared, to look into."""
        return self._index

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
        ports, proxies = self._ports, self._proxies
        return ModelChange(
            settings=reconfigured,
            backends=ports.backends.drain(),
            endpoints=ports.endpoints.drain(),
            frontends=ports.frontends.drain(),
            addresses=ports.addresses.drain(),
            headless=ports.headless.drain(),
            classes=proxies.classes.drain(),
            proxies=proxies.proxies.drain(),
            scopes=proxies.settle_scopes(ports.leads.drain()),
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
        self.federation = self._foreign(wanted, found)
        # No cell depends on whom else the mesh believes.
        wanted = dataclasses.replace(wanted, federation=())
        self._graph.findings.replace((self, "config"), found)
        if wanted == self._declared.config:
            return False
        self._declared.configure(wanted)
        self.settings = MeshSettings(self._declared.trust_domain, wanted.egress)
        self._graph.invalidate()
        return True

    def _foreign(self, wanted: MeshConfig, findings: Findings) -> tuple[ForeignDomain, ...]:
        """The trust domains to believe beside the one that is in force."""
        foreign = tuple(each for each in wanted.federation if each.trust_domain != wanted.trust_domain)
        if foreign != wanted.federation:
            message = f"federation: {wanted.trust_domain} is the trust domain of this mesh until it is started anew"
            findings.add(codes.TRUST_DOMAIN_FIXED, message, wanted)
        return foreign

    def _member(self, key: Key, findings: Findings) -> Member | None:
        workload = self._declared.workloads.values.get(key)
        return None if workload is None else resolve_member(workload, self._declared, findings)
