"""Services and workloads -> service ports, their endpoints, and the addresses that clients call."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

from ca.identity import TrustDomain, WorkloadIdentity
from smi.index import MeshObjects
from smi.model import BackendPort, Endpoint, EndpointSet, HeadlessEndpoint, PortKey, VirtualAddress
from smi.objects import Allowance, CaptureMode, MeshObject, Service, ServicePort, Workload
from smi.protocol import Protocol, protocol_of
from smi.resolve import codes
from smi.resolve.findings import Findings
from smi.resolve.selection import Selection


@dataclass(frozen=True, slots=True)
class Target:
    """One workload behind a service port, and the number of the port there."""

    workload: Workload
    port: int


@dataclass(frozen=True, slots=True)
class ResolvedPort:
    """A service port with its protocol and the workloads that serve it."""

    service: Service
    port: ServicePort
    protocol: Protocol
    targets: tuple[Target, ...]

    @property
    def key(self) -> PortKey:
        return PortKey(self.service.meta.namespace, self.service.meta.name, self.port.port)


@dataclass(slots=True)
class ServiceTable:
    """Everything about services that the other resolvers and the snapshot need."""

    ports: dict[PortKey, ResolvedPort] = field(default_factory=dict)
    by_workload: dict[tuple[str, str], list[ResolvedPort]] = field(default_factory=dict)


def age_key(thing: MeshObject) -> tuple[str, str, str]:
    """Orders objects that claim the same thing: the oldest first, then by name. Objects from files have no age."""
    return (thing.meta.created, thing.meta.namespace, thing.meta.name)


def resolve_services(objects: MeshObjects, findings: Findings) -> ServiceTable:
    """Match every TCP service port to its workloads, in order of age so that conflicts have one outcome."""
    table = ServiceTable()
    selection = Selection(objects.workloads.values())
    for service in sorted(objects.services.values(), key=age_key):
        if service.external_name:
            continue
        behind = selection.behind(service.meta.namespace, service.selector)
        resolved = [_resolve_port(service, port, behind, findings) for port in service.ports if port.transport == "TCP"]
        for one in resolved:
            table.ports[one.key] = one
            for workload in {(t.workload.meta.namespace, t.workload.meta.name) for t in one.targets}:
                table.by_workload.setdefault(workload, []).append(one)
        _explain_unused(service, behind, findings)
    return table


def _explain_unused(service: Service, behind: list[Workload], findings: Findings) -> None:
    if any(port.transport != "TCP" for port in service.ports):
        findings.add(codes.PORT_NOT_TCP, "only TCP ports are part of the mesh; other ports are left alone", service)
    if service.selector and not behind:
        findings.add(codes.SERVICE_WITHOUT_WORKLOADS, f"no workload has the labels of {service.ref}", service)


def _resolve_port(service: Service, port: ServicePort, behind: list[Workload], findings: Findings) -> ResolvedPort:
    protocol, guessed = protocol_of(port)
    if guessed:
        findings.add(codes.PROTOCOL_GUESSED, f"port {port.port} declares no protocol: taken as HTTP", service)
    targets = []
    for workload in behind:
        number = _target_number(port, workload)
        if number is None:
            findings.add(
                codes.TARGET_PORT_MISSING,
                f"port {port.port} targets {port.target_port!r}, which {workload.ref} does not have",
                service,
            )
        else:
            targets.append(Target(workload, number))
    return ResolvedPort(service, port, protocol, tuple(targets))


def _target_number(port: ServicePort, workload: Workload) -> int | None:
    """The workload's port that `port` leads to. In explicit mode only declared ports exist; else any number does."""
    for declared in workload.ports:
        if port.target_port in (declared.port, declared.name):
            return declared.port
    if isinstance(port.target_port, int) and (workload.capture is CaptureMode.TRANSPARENT or not workload.sidecar):
        return port.target_port
    return None


def endpoints_of(resolved: ResolvedPort, plaintext: Allowance, findings: Findings) -> EndpointSet:
    """The endpoints of a port. Those without a sidecar are left out where the mesh refuses plaintext upstreams."""
    endpoints = set()
    for target in resolved.targets:
        workload = target.workload
        if not workload.sidecar and plaintext is Allowance.DENY:
            findings.add(
                codes.PLAINTEXT_ENDPOINT_DENIED,
                f"{workload.ref} has no sidecar, and plaintextUpstreams is deny: it gets no traffic",
                resolved.service,
            )
        else:
            if not workload.sidecar:
                findings.add(
                    codes.PLAINTEXT_ENDPOINT,
                    f"{workload.ref} has no sidecar: it is sent plaintext",
                    resolved.service,
                )
            endpoints.add(Endpoint(workload.address, target.port, workload.sidecar))
    return EndpointSet(resolved.key, tuple(sorted(endpoints)))


def backend_of(resolved: ResolvedPort, trust_domain: TrustDomain) -> BackendPort:
    """How to speak to a port, and the identities that may answer: those of all workloads behind it."""
    identities = {
        WorkloadIdentity(trust_domain, t.workload.meta.namespace, t.workload.service_account)
        for t in resolved.targets
        if t.workload.sidecar
    }
    return BackendPort(resolved.key, resolved.protocol, tuple(sorted(identities)), resolved.service.headless)


def virtual_addresses(
    table: ServiceTable, split: Container[tuple[str, str]], findings: Findings
) -> Iterator[VirtualAddress]:
    """Which port is served at which virtual address; of two Services on one address the older has it.

    A Service without a selector is served by nothing that is known here: unless it is in `split`, the names of root
    services, calls to it are passed through to whatever serves its address.
    """
    taken: dict[tuple[str, int], Service] = {}
    for resolved in table.ports.values():
        service, mine = resolved.service, []
        if not service.selector and (service.meta.namespace, service.meta.name) not in split:
            continue
        for address in service.cluster_ips:
            holder = taken.setdefault((address, resolved.port.port), service)
            if holder is service:
                mine.append(address)
            else:
                findings.add(
                    codes.ADDRESS_CONFLICT,
                    f"{address}:{resolved.port.port} already belongs to {holder.ref}, which keeps it",
                    service,
                )
        if mine:
            yield VirtualAddress(resolved.key, resolved.protocol, tuple(mine))


def headless_endpoints(
    resolved: ResolvedPort, plaintext: Allowance, taken: dict[tuple[str, int], PortKey]
) -> tuple[HeadlessEndpoint, ...]:
    """The endpoints that clients of a headless Service call directly, refused ones included: without a listener of
    theirs they would be unknown destinations, and passed through.

    `taken` remembers whose address is whose: several headless Services may select the same workloads, and one
    listener serves them all.
    """
    mine = []
    for target in resolved.targets:
        workload = target.workload
        endpoint = Endpoint(workload.address, target.port, workload.sidecar)
        if taken.setdefault((endpoint.address, endpoint.port), resolved.key) == resolved.key:
            refused = not workload.sidecar and plaintext is Allowance.DENY
            mine.append(HeadlessEndpoint(resolved.key, resolved.protocol, endpoint, refused))
    return tuple(sorted(set(mine), key=lambda each: each.endpoint))
