"""The cells of service ports: who serves them, what is called, and where."""

from __future__ import annotations

from smi.index import Key
from smi.model import BackendPort, EndpointSet, Frontend, HeadlessEndpoint, PortKey, VirtualAddress
from smi.objects import TrafficSplit
from smi.protocol import Protocol
from smi.resolve.age import age_key
from smi.resolve.cells import Derived, Graph, Members
from smi.resolve.declared import Declared
from smi.resolve.findings import Findings
from smi.resolve.members import Member
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
from smi.resolve.splits import is_split, leads_to, resolve_frontend, resolve_splits


class PortCells:
    """Everything that is known by service port, as derived tables. `leads`: where calls to a port may be sent."""

    def __init__(self, graph: Graph, declared: Declared, members: Derived[Key, Member]) -> None:
        self._declared = declared
        self._members = members
        self._services: Derived[Key, ResolvedService] = Derived(graph, self._service)
        self._shapes: Derived[Key, Shape] = Derived(graph, self._shape)
        self._headless_holders: Members[tuple[str, int], PortKey] = Members(graph)
        self._splits: Derived[Key, tuple[TrafficSplit, ...]] = Derived(graph, self._splits_of)
        self.endpoints: Derived[PortKey, EndpointSet] = Derived(graph, self._endpoint_set, output=True)
        self.backends: Derived[PortKey, BackendPort] = Derived(graph, self._backend, output=True)
        self.headless: Derived[PortKey, tuple[HeadlessEndpoint, ...]] = Derived(
            graph, self._headless_endpoints, output=True
        )
        self.frontends: Derived[PortKey, Frontend] = Derived(graph, self._frontend, output=True)
        self.leads: Derived[PortKey, tuple[PortKey, ...]] = Derived(graph, self._leads_to, output=True)
        self.addresses: Derived[PortKey, VirtualAddress] = Derived(graph, self._virtual_address, output=True)
        declared.services.follow(self._services.touch)
        declared.splits_by_root.follow(self._splits.touch)
        self._services.follow(self._shapes.touch)
        self._services.follow(self._service_changed)
        self._shapes.follow(self._shape_changed)

    def protocol_at(self, key: PortKey) -> Protocol | None:
        """What is spoken at a service port, None where there is none; the cell that asks depends on it."""
        return protocol_at(key, self._shapes)

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
        if found is None:
            return None
        return backend_of(key, found[0].service, found[1], self._declared.config.plaintext_upstreams)

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
        return virtual_address(key, shape, self._declared, self._is_split, findings)

    def _is_split(self, key: PortKey) -> bool:
        return is_split(self.frontends.get(key))

    # -- what follows what, beyond equal keys

    def _service_changed(self, key: Key, old: ResolvedService | None, new: ResolvedService | None) -> None:
        for port in _ports(key, old) | _ports(key, new):
            self.endpoints.touch(port)
            self.backends.touch(port)
            if (old is not None and old.service.headless) or (new is not None and new.service.headless):
                self.headless.touch(port)
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
            self.frontends.touch(port)
            self.leads.touch(port)
            self.addresses.touch(port)


def _ports(key: Key, resolved: ResolvedService | None) -> set[PortKey]:
    return set() if resolved is None else {PortKey(*key, each.port.port) for each in resolved.ports}
