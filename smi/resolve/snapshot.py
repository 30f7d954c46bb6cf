"""Puts the resolvers together: all objects -> the mesh model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ca.identity import IdentityError, TrustDomain, WorkloadIdentity
from smi.index import MeshObjects
from smi.model import (
    HeadlessEndpoint,
    MeshSettings,
    MeshSnapshot,
    PortKey,
    ProxyModel,
    Reach,
    WorkloadClass,
    WorkloadKey,
)
from smi.objects import Allowance, TrafficSplit
from smi.resolve import codes
from smi.resolve.access import ResolvedTarget, resolve_targets
from smi.resolve.addresses import without_taken_addresses
from smi.resolve.classes import class_name, resolve_class, selected_labels
from smi.resolve.findings import Findings
from smi.resolve.reaches import check_places, check_size, known_places, local_listeners, resolve_reach
from smi.resolve.services import (
    ServiceTable,
    backend_of,
    endpoints_of,
    headless_endpoints,
    resolve_services,
    virtual_addresses,
)
from smi.resolve.splits import resolve_frontend, split_backends, splits_by_root


def resolve(objects: MeshObjects) -> MeshSnapshot:
    """The mesh model of `objects`: a pure function, blind to the order in which objects were read."""
    findings = Findings()
    settings = MeshSettings(TrustDomain(objects.config.trust_domain), objects.config.egress)
    objects = _with_identities(objects, settings.trust_domain, findings)
    objects = without_taken_addresses(objects, findings)
    table = resolve_services(objects, findings)
    splits = splits_by_root(objects, findings)
    endpoints = {
        key: endpoints_of(port, objects.config.plaintext_upstreams, findings) for key, port in table.ports.items()
    }
    frontends = {
        key: resolve_frontend(port, splits.get((key.namespace, key.service), ()), table, objects, findings)
        for key, port in table.ports.items()
    }
    proxies, reaches, classes = _resolve_proxies(objects, settings, table, splits, findings)
    return MeshSnapshot(
        settings=settings,
        certificate_lifetime=objects.config.certificate_lifetime,
        backends={key: backend_of(port, settings.trust_domain) for key, port in table.ports.items()},
        endpoints=endpoints,
        frontends=frontends,
        addresses={address.key: address for address in virtual_addresses(table, splits, findings)},
        headless=_headless(table, objects.config.plaintext_upstreams),
        classes=classes,
        reaches=reaches,
        proxies=proxies,
        diagnostics=findings.diagnostics(),
    )


def _headless(table: ServiceTable, plaintext: Allowance) -> dict[PortKey, tuple[HeadlessEndpoint, ...]]:
    taken: dict[tuple[str, int], PortKey] = {}
    return {
        key: headless_endpoints(port, plaintext, taken) for key, port in table.ports.items() if port.service.headless
    }


def _resolve_proxies(
    objects: MeshObjects,
    settings: MeshSettings,
    table: ServiceTable,
    splits: dict[tuple[str, str], list[TrafficSplit]],
    findings: Findings,
) -> tuple[dict[WorkloadKey, ProxyModel], dict[str, Reach], dict[str, WorkloadClass]]:
    targets = resolve_targets(objects, settings.trust_domain, findings)
    labels = selected_labels(objects)
    places = known_places(objects)
    proxies: dict[WorkloadKey, ProxyModel] = {}
    reaches: dict[str, Reach] = {}
    classes: dict[str, WorkloadClass] = {}

    def closure(frontends: Iterable[PortKey]) -> frozenset[PortKey]:
        chosen = frozenset(frontends)
        return chosen.union(*(split_backends(splits.get((k.namespace, k.service), ()), k, table) for k in chosen))

    for workload in sorted(objects.workloads.values(), key=lambda w: (w.meta.namespace, w.meta.name)):
        if not workload.sidecar:
            continue
        destination = (workload.meta.namespace, workload.service_account)
        name = class_name(workload, labels)
        if name not in classes:
            mine: list[ResolvedTarget] = targets.get(destination, [])
            classes[name] = resolve_class(name, workload, table, mine, objects, settings.trust_domain, findings)
        reach = resolve_reach(workload, table, objects, closure, reaches)
        if reach.name not in reaches:
            reaches[reach.name] = reach
            check_size(workload, reach, objects, findings)
        check_places(workload, places, objects, findings)
        key = WorkloadKey(workload.meta.namespace, workload.meta.name)
        proxies[key] = ProxyModel(
            key,
            classes[name].identity,
            name,
            workload.capture,
            reach.name,
            local_listeners(workload, table, objects, findings),
        )
    return proxies, reaches, classes


def _with_identities(objects: MeshObjects, trust_domain: TrustDomain, findings: Findings) -> MeshObjects:
    """`objects` without the workloads that have a sidecar and can have no identity: nothing may lead to them."""
    workloads = {}
    for key, workload in objects.workloads.items():
        try:
            if workload.sidecar:
                WorkloadIdentity(trust_domain, workload.meta.namespace, workload.service_account)
            workloads[key] = workload
        except IdentityError as error:
            findings.add(codes.IDENTITY_INVALID, str(error), workload)
    return dataclasses.replace(objects, workloads=workloads)
