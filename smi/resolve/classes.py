"""Workload classes: what the inbound side of equal workloads is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ca.identity import WorkloadIdentity
from smi.model import InboundListener, InboundPort, WorkloadClass
from smi.objects import CaptureMode, Service, TrafficPolicy, Workload
from smi.protocol import Protocol, protocol_of
from smi.resolve import codes
from smi.resolve.access import ResolvedTarget, access_to_other_ports, access_to_port
from smi.resolve.declared import Declared
from smi.resolve.findings import Findings
from smi.resolve.services import services_of, target_number
from smi.resolve.settings import mtls_mode, traffic_policy


def resolve_class(
    name: str,
    workload: Workload,
    identity: WorkloadIdentity,
    targets: list[ResolvedTarget],
    declared: Declared,
    findings: Findings,
) -> WorkloadClass:
    """The inbound side of the class `name`, of which `workload` is any member."""
    everyone = traffic_policy(declared, workload, findings) is TrafficPolicy.PERMISSIVE
    if everyone and targets:
        message = f"TrafficTargets for {workload.service_account} play no part: its policy is permissive"
        findings.add(codes.POLICY_PERMISSIVE, message, workload)
    serving = _ports_by_number(workload, declared, findings)
    ports, access = [], []
    for number, (protocol, service_ports) in sorted(serving.items()):
        app_port = next((p.app_port for p in workload.ports if p.port == number), None)
        ports.append(InboundPort(name, number, protocol, workload.capture, app_port))
        access.append(access_to_port(name, number, service_ports | {number}, protocol, everyone, targets))
    _explain_ambiguous_ports(workload, {number: numbers for number, (_, numbers) in serving.items()}, targets, findings)
    if workload.capture is CaptureMode.TRANSPARENT:
        access.append(access_to_other_ports(name, everyone, targets))
    address = workload.address if workload.capture is CaptureMode.EXPLICIT else ""
    mtls = mtls_mode(declared, workload, findings)
    return WorkloadClass(
        name, identity, InboundListener(name, workload.capture, address, mtls, tuple(ports)), tuple(access)
    )


def _explain_ambiguous_ports(
    workload: Workload, serving: Mapping[int, frozenset[int]], targets: Iterable[ResolvedTarget], findings: Findings
) -> None:
    """A number that names a port means a Service port or a target port, whichever there is; here it is both."""
    for target in targets:
        for number in sorted(target.named_ports()):
            meant = (port for port, numbers in serving.items() if number in numbers | {port})
            opened = sorted(port for port in meant if target.covers(serving[port] | {port}))
            if number in opened and len(opened) > 1:
                others = ", ".join(str(port) for port in opened if port != number)
                findings.add(
                    codes.PORT_AMBIGUOUS,
                    f"port {number} of TrafficTarget {target.name} is a target port, and a Service port that leads to"
                    f" {others}: both are opened",
                    workload,
                )


def _ports_by_number(
    workload: Workload, declared: Declared, findings: Findings
) -> dict[int, tuple[Protocol, frozenset[int]]]:
    """The target ports to listen on, each with its protocol and the service ports that lead to it.

    Of two Services that lead to one target port, the older says what is spoken there.
    """
    serving: dict[int, tuple[Protocol, frozenset[int]]] = {}
    spoken_by: dict[int, tuple[Protocol, Service]] = {}
    for service in services_of(workload, declared):
        for port in sorted((each for each in service.ports if each.transport == "TCP"), key=lambda each: each.port):
            number = target_number(port, workload)
            if number is None:
                continue
            protocol, _ = protocol_of(port)
            said, holder = spoken_by.setdefault(number, (protocol, service))
            if said != protocol:
                message = f"port {number} of {workload.ref} is {said} for {holder.ref}, which is older"
                findings.add(codes.PROTOCOL_CONFLICT, message, service)
            _, service_ports = serving.get(number, (said, frozenset()))
            serving[number] = (said, service_ports | {port.port})
    if workload.capture is CaptureMode.EXPLICIT:
        for declared_port in workload.ports:
            serving.setdefault(declared_port.port, (Protocol.TCP, frozenset()))
            if declared_port.app_port is None:
                message = f"port {declared_port.port} has no appPort to forward to"
                findings.add(codes.APP_PORT_MISSING, message, workload)
        usable = {port.port for port in workload.ports if port.app_port is not None}
        serving = {number: known for number, known in serving.items() if number in usable}
    return serving
