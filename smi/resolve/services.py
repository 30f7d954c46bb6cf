"""Services and workloads -> service ports, their endpoints, and the addresses that clients call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from smi.index import Key
from smi.model import BackendPort, Endpoint, EndpointSet, HeadlessEndpoint, PortKey, VirtualAddress
from smi.objects import Allowance, CaptureMode, Service, ServicePort, Workload
from smi.protocol import Protocol, protocol_of
from smi.resolve import codes
from smi.resolve.age import age_key
from smi.resolve.cells import Source
from smi.resolve.declared import Declared
from smi.resolve.findings import Findings
from smi.resolve.members import Member


@dataclass(frozen=True, slots=True)
class ResolvedPort:
    """A service port with its protocol, and who serves it on which of their ports."""

    port: ServicePort
    protocol: Protocol
    targets: tuple[tuple[Member, int], ...]


@dataclass(frozen=True, slots=True)
class ResolvedService:
    """A Service with its TCP ports, each matched to workloads."""

    service: Service
    ports: tuple[ResolvedPort, ...]

    def port(self, number: int) -> ResolvedPort | None:
        return next((each for each in self.ports if each.port.port == number), None)


@dataclass(frozen=True, slots=True)
class Shape:
    """What others need to know of a Service: its TCP ports. Endpoints come and go without changing it."""

    service: Service
    protocols: tuple[tuple[int, Protocol], ...]

    def protocol(self, number: int) -> Protocol | None:
        return next((protocol for port, protocol in self.protocols if port == number), None)


Shapes = Source[Key, Shape]


def protocol_at(key: PortKey, shapes: Shapes) -> Protocol | None:
    """The protocol of a service port, None where there is no such TCP port."""
    shape = shapes.get((key.namespace, key.service))
    return None if shape is None else shape.protocol(key.port)


def resolve_service(
    service: Service, declared: Declared, members: Source[Key, Member], findings: Findings
) -> ResolvedService | None:
    """Match the TCP ports of a Service to workloads. A name for something outside is no Service of the mesh."""
    if service.external_name:
        return None
    behind = [each for each in _behind(service, declared, members) if each.workload.address]
    ports = tuple(_resolve_port(service, port, behind, findings) for port in service.ports if port.transport == "TCP")
    if len(ports) != len(service.ports):
        findings.add(codes.PORT_NOT_TCP, "only TCP ports are part of the mesh; other ports are left alone", service)
    if service.selector and not behind:
        findings.add(codes.SERVICE_WITHOUT_WORKLOADS, f"no workload has the labels of {service.ref}", service)
    return ResolvedService(service, ports)


def shape_of(resolved: ResolvedService) -> Shape:
    return Shape(resolved.service, tuple((each.port.port, each.protocol) for each in resolved.ports))


def _behind(service: Service, declared: Declared, members: Source[Key, Member]) -> Iterator[Member]:
    """The workloads with every label of the selector, by name. An empty selector selects nothing.

    They are found by the rarest of the labels, not by looking at every workload.
    """
    if not service.selector:
        return
    by_label, namespace = declared.workloads_by_label, service.meta.namespace
    labels = [(namespace, *label) for label in service.selector.items()]
    rarest = min(labels, key=lambda label: len(by_label.values.get(label, ())))
    for key in sorted(by_label.of(rarest)):
        member = members.get(key)
        if member is not None and (len(labels) == 1 or service.selector.items() <= member.workload.meta.labels.items()):
            yield member


def _resolve_port(service: Service, port: ServicePort, behind: list[Member], findings: Findings) -> ResolvedPort:
    protocol, guessed = protocol_of(port)
    if guessed:
        findings.add(codes.PROTOCOL_GUESSED, f"port {port.port} declares no protocol: taken as HTTP", service)
    targets = []
    for member in behind:
        number = target_number(port, member.workload)
        if number is None:
            findings.add(
                codes.TARGET_PORT_MISSING,
                f"port {port.port} targets {port.target_port!r}, which {member.workload.ref} does not have",
                service,
            )
        else:
            targets.append((member, number))
    return ResolvedPort(port, protocol, tuple(targets))


def target_number(port: ServicePort, workload: Workload) -> int | None:
    """The workload's port that `port` leads to. In explicit mode only declared ports exist; else any number does."""
    for declared in workload.ports:
        if port.target_port == declared.port or port.target_port == declared.name:  # noqa: PLR1714  # twice as fast
            return declared.port
    if isinstance(port.target_port, int) and (workload.capture is CaptureMode.TRANSPARENT or not workload.sidecar):
        return port.target_port
    return None


def services_of(workload: Workload, declared: Declared) -> list[Service]:
    """The Services that select a workload, whether it can be sent to yet or not; the oldest first."""
    labels, found = workload.meta.labels, {}
    for label in labels.items():
        for key in declared.services_by_label.of((workload.meta.namespace, *label)):
            service = declared.services.get(key)
            if service is not None and service.selector.items() <= labels.items():
                found[key] = service
    return sorted(found.values(), key=age_key)


def endpoints_of(
    key: PortKey, service: Service, resolved: ResolvedPort, plaintext: Allowance, findings: Findings
) -> EndpointSet:
    """The endpoints of a port. Those without a sidecar are left out where the mesh refuses plaintext upstreams."""
    endpoints = set()
    for member, number in resolved.targets:
        workload = member.workload
        if not workload.sidecar and plaintext is Allowance.DENY:
            message = f"{workload.ref} has no sidecar, and plaintextUpstreams is deny: it gets no traffic"
            findings.add(codes.PLAINTEXT_ENDPOINT_DENIED, message, service)
            continue
        if not workload.sidecar:
            findings.add(codes.PLAINTEXT_ENDPOINT, f"{workload.ref} has no sidecar: it is sent plaintext", service)
        endpoints.add(Endpoint(workload.address, number, workload.sidecar))
    return EndpointSet(key, tuple(sorted(endpoints)))


def backend_of(key: PortKey, service: Service, resolved: ResolvedPort, plaintext: Allowance) -> BackendPort:
    """How to speak to a port, and the identities that may answer: those of all workloads behind it."""
    identities = {member.identity for member, _ in resolved.targets if member.identity is not None}
    return BackendPort(
        key,
        resolved.protocol,
        tuple(identities) if len(identities) < 2 else tuple(sorted(identities)),  # comparing them is slow
        service.headless,
        plaintext is Allowance.ALLOW and any(not member.workload.sidecar for member, _ in resolved.targets),
    )


def virtual_address(
    key: PortKey, shape: Shape, declared: Declared, is_split: Callable[[PortKey], bool], findings: Findings
) -> VirtualAddress | None:
    """The virtual addresses at which a port is served; of two Services on one address the older has it.

    A Service without a selector is served by nothing that is known here: unless a split is in force on this port,
    calls to it are passed through to whatever serves its address.
    """
    service, protocol = shape.service, shape.protocol(key.port)
    if protocol is None or not _is_served(service, key.port, is_split):
        return None
    mine = []
    for address in service.cluster_ips:
        wanting = declared.services_by_address.get((address, key.port)) or ()
        holder = service if len(wanting) < 2 else _holder(wanting, key.port, declared, is_split) or service
        if holder is service or holder.ref == service.ref:
            mine.append(address)
        else:
            message = f"{address}:{key.port} already belongs to {holder.ref}, which keeps it"
            findings.add(codes.ADDRESS_CONFLICT, message, service)
    return VirtualAddress(key, protocol, tuple(mine)) if mine else None


def _holder(
    wanting: Iterable[Key], port: int, declared: Declared, is_split: Callable[[PortKey], bool]
) -> Service | None:
    services = (declared.services.get(key) for key in wanting)
    served = (each for each in services if each is not None and _is_served(each, port, is_split))
    return min(served, key=age_key, default=None)


def _is_served(service: Service, port: int, is_split: Callable[[PortKey], bool]) -> bool:
    return bool(service.selector) or is_split(PortKey(service.meta.namespace, service.meta.name, port))


def headless_endpoints(
    key: PortKey,
    resolved: ResolvedPort,
    plaintext: Allowance,
    holder: Callable[[tuple[str, int]], PortKey | None],
) -> tuple[HeadlessEndpoint, ...]:
    """The endpoints that clients of a headless Service call directly, refused ones included: without a listener of
    theirs they would be unknown destinations, and passed through.

    `holder` says whose an address is: several headless Services may select the same workloads, and one listener
    serves them all.
    """
    mine = set()
    for member, number in resolved.targets:
        workload = member.workload
        if holder((workload.address, number)) == key:
            refused = not workload.sidecar and plaintext is Allowance.DENY
            endpoint = Endpoint(workload.address, number, workload.sidecar)
            mine.add(HeadlessEndpoint(key, resolved.protocol, endpoint, refused))
    return tuple(sorted(mine, key=lambda each: each.endpoint))


def headless_addresses(resolved: ResolvedService | None) -> Iterable[tuple[tuple[str, int], PortKey]]:
    """What a headless Service would have listeners for: (address, port), and the first port that leads there."""
    if resolved is None or not resolved.service.headless:
        return ()
    meta = resolved.service.meta
    found: dict[tuple[str, int], PortKey] = {}
    for each in resolved.ports:
        for member, number in each.targets:
            found.setdefault((member.workload.address, number), PortKey(meta.namespace, meta.name, each.port.port))
    return found.items()
