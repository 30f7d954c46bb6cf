"""Workloads -> workload classes: what makes two inbound sides equal, and what such a side is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from ca.identity import TrustDomain, WorkloadIdentity
from smi.index import MeshObjects
from smi.model import InboundListener, InboundPort, WorkloadClass
from smi.objects import CaptureMode, TrafficPolicy, Workload
from smi.protocol import Protocol
from smi.resolve import codes
from smi.resolve.access import ResolvedTarget, access_to_other_ports, access_to_port
from smi.resolve.findings import Findings
from smi.resolve.services import ResolvedPort, ServiceTable, age_key
from smi.resolve.settings import mtls_mode, overrides, traffic_policy

_LABELS_OF_ONE_POD = frozenset(
    {
        "pod-template-hash",
        "controller-revision-hash",
        "pod-template-generation",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
    }
)
"""Labels that controllers set to tell pods or revisions apart. They would make a class of every pod."""


def class_name(workload: Workload, selected_labels: frozenset[str]) -> str:
    """A name made only of what the workload itself is: it outlives changes of Services, policies, and settings, so
    that listeners are changed in place and never renamed. Labels count, since they decide which Services select it.
    """
    labels = sorted(
        item for item in workload.meta.labels.items() if item[0] not in _LABELS_OF_ONE_POD or item[0] in selected_labels
    )
    explicit = workload.capture is CaptureMode.EXPLICIT
    parts = (
        workload.capture.value,
        workload.address if explicit else "",
        sorted((p.name, p.port, p.app_port) for p in workload.ports),
        labels,
        overrides(workload.meta.annotations),
    )
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
    return f"{workload.meta.namespace}/{workload.service_account}/{digest}"


def selected_labels(objects: MeshObjects) -> frozenset[str]:
    """The label names that some Service selects on."""
    return frozenset(name for service in objects.services.values() for name in service.selector)


def resolve_class(
    name: str,
    workload: Workload,
    table: ServiceTable,
    targets: Iterable[ResolvedTarget],
    objects: MeshObjects,
    trust_domain: TrustDomain,
    findings: Findings,
) -> WorkloadClass:
    """The inbound side of the class `name`, of which `workload` is any member."""
    everyone = traffic_policy(objects, workload, findings) is TrafficPolicy.PERMISSIVE
    serving = _ports_by_number(workload, table, findings)
    targets = list(targets)
    ports, access = [], []
    for number, (protocol, service_ports) in sorted(serving.items()):
        app_port = next((p.app_port for p in workload.ports if p.port == number), None)
        ports.append(InboundPort(name, number, protocol, workload.capture, app_port))
        access.append(access_to_port(name, number, service_ports | {number}, protocol, everyone, targets))
    _explain_ambiguous_ports(workload, {number: numbers for number, (_, numbers) in serving.items()}, targets, findings)
    if workload.capture is CaptureMode.TRANSPARENT:
        access.append(access_to_other_ports(name, everyone, targets))
    return WorkloadClass(
        name,
        WorkloadIdentity(trust_domain, workload.meta.namespace, workload.service_account),
        InboundListener(
            name,
            workload.capture,
            workload.address if workload.capture is CaptureMode.EXPLICIT else "",
            mtls_mode(objects, workload, findings),
            tuple(ports),
        ),
        tuple(access),
    )


def _explain_ambiguous_ports(
    workload: Workload, serving: Mapping[int, frozenset[int]], targets: Iterable[ResolvedTarget], findings: Findings
) -> None:
    """A number in a TCPRoute means the Service port or the target port, whichever there is; here it is both."""
    for target in targets:
        for number in sorted(target.ports or ()):
            opened = sorted(port for port, service_ports in serving.items() if number in service_ports | {port})
            if number in opened and len(opened) > 1:
                others = ", ".join(str(port) for port in opened if port != number)
                findings.add(
                    codes.PORT_AMBIGUOUS,
                    f"port {number} of TrafficTarget {target.name} is a target port, and a Service port that leads to"
                    f" {others}: both are opened",
                    workload,
                )


def _ports_by_number(
    workload: Workload, table: ServiceTable, findings: Findings
) -> dict[int, tuple[Protocol, frozenset[int]]]:
    """The target ports to listen on, each with its protocol and the service ports that lead to it."""
    serving: dict[int, tuple[Protocol, frozenset[int]]] = {}
    claimed_by: dict[int, ResolvedPort] = {}
    key = (workload.meta.namespace, workload.meta.name)
    for resolved in sorted(table.by_workload.get(key, ()), key=lambda r: (*age_key(r.service), r.port.port)):
        for number in {t.port for t in resolved.targets if (t.workload.meta.namespace, t.workload.meta.name) == key}:
            holder = claimed_by.setdefault(number, resolved)
            if holder.protocol != resolved.protocol:
                findings.add(
                    codes.PROTOCOL_CONFLICT,
                    f"port {number} of {workload.ref} is {holder.protocol} for {holder.service.ref}, which is older",
                    resolved.service,
                )
            known = serving.get(number, (holder.protocol, frozenset()))
            serving[number] = (known[0], known[1] | {resolved.port.port})
    if workload.capture is CaptureMode.EXPLICIT:
        for port in workload.ports:
            serving.setdefault(port.port, (Protocol.TCP, frozenset()))
            if port.app_port is None:
                findings.add(codes.APP_PORT_MISSING, f"port {port.port} has no appPort to forward to", workload)
        usable = {port.port for port in workload.ports if port.app_port is not None}
        serving = {number: known for number, known in serving.items() if number in usable}
    return serving
