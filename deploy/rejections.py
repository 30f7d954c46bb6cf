"""What proxies have rejected -> diagnostics of the objects that it was made from.

Pure functions. Names of resources say what they belong to (see `translators.names`); the mesh and the declared objects
say which objects had a part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from deploy.rejection_codes import (
    ACCESS_REJECTED,
    GENERAL_REJECTED,
    INBOUND_REJECTED,
    LOCAL_REJECTED,
    OUTBOUND_REJECTED,
)
from smi.codes import Code
from smi.diagnostics import Diagnostic, Location, ObjectRef
from smi.model import Mesh
from smi.objects import MeshObject, Service, TrafficSplit, TrafficTarget, Workload
from translators.names import OTHER_PORTS
from xds.rejections import RejectedResource
from xds.resource import TypeUrl

_MOST_PROXIES = 3
_LONGEST_REASON = 300
_MOST_COUNTED = 50
_BEHAVIOUR = (TypeUrl.ROUTE, TypeUrl.EXTENSION)
"""The types that hold splits and access, and no ports or addresses."""


class Declared(Protocol):
    """The declared objects that are looked up here, by namespace and name."""

    @property
    def services(self) -> Mapping[tuple[str, str], Service]: ...
    @property
    def workloads(self) -> Mapping[tuple[str, str], Workload]: ...
    @property
    def traffic_splits(self) -> Mapping[tuple[str, str], TrafficSplit]: ...
    @property
    def traffic_targets(self) -> Mapping[tuple[str, str], TrafficTarget]: ...


def rejection_diagnostics(
    rejected: Iterable[RejectedResource], mesh: Mesh, declared: Declared, holders: Callable[[str, str], int]
) -> list[Diagnostic]:
    """One finding for each rejected resource and object that had a part in it.

    `holders` tells how many connected proxies are to hold a resource, by its type and name.
    """
    found: list[Diagnostic] = []
    ordered = sorted(rejected, key=lambda one: one.resource)
    splits = _splits_by_root(declared) if ordered else {}
    for number, each in enumerate(ordered):
        code, refs = _causes(each, mesh, splits)
        # Counting asks every connected proxy, so a proxy that rejects everything must not cause it for everything.
        counted = holders(each.resource.type_url, each.resource.name) if number < _MOST_COUNTED else None
        message = _message(each, counted)
        found += [code.diagnostic(message, object=ref, location=_location(ref, declared)) for ref in refs]
        if not refs:
            found.append(code.diagnostic(message))
    return found


def _splits_by_root(declared: Declared) -> dict[tuple[str, str], list[ObjectRef]]:
    found: dict[tuple[str, str], list[ObjectRef]] = {}
    for split in declared.traffic_splits.values():
        found.setdefault((split.meta.namespace, split.service), []).append(split.ref)
    return found


def _causes(
    rejected: RejectedResource, mesh: Mesh, splits: Mapping[tuple[str, str], list[ObjectRef]]
) -> tuple[Code, list[ObjectRef]]:
    kind, *parts = rejected.resource.name.split("/")
    behaviour = rejected.resource.type_url in _BEHAVIOUR
    if kind == "outbound" and len(parts) >= 3:
        root = (parts[0], parts[1])
        return OUTBOUND_REJECTED, (sorted(splits.get(root, ())) if behaviour else []) or [ObjectRef("Service", *root)]
    if kind == "inbound" and len(parts) >= 3:
        targets = _targets("/".join(parts[:3]), parts[3:], mesh) if behaviour else []
        return (ACCESS_REJECTED, targets) if targets else (INBOUND_REJECTED, _workloads(rejected))
    if kind == "local":
        return LOCAL_REJECTED, _workloads(rejected)
    return GENERAL_REJECTED, []


def _targets(class_name: str, port: list[str], mesh: Mesh) -> list[ObjectRef]:
    """The TrafficTargets that apply to a port of a class; to all its ports where the name has none."""
    found = mesh.classes.get(class_name)
    names = {
        grant.name
        for access in (found.access if found is not None else ())
        if not port or port[0] == (OTHER_PORTS if access.port is None else str(access.port))
        for grant in access.grants
    }
    return [ObjectRef("TrafficTarget", *name.split("/", 1)) for name in sorted(names)]


def _workloads(rejected: RejectedResource) -> list[ObjectRef]:
    """Whoever rejects what is its own."""
    return [ObjectRef("Workload", *proxy.split("/", 1)) for proxy in rejected.proxies]


def _message(rejected: RejectedResource, holders: int | None) -> str:
    proxies = ", ".join(rejected.proxies[:_MOST_PROXIES]) + (", ..." if len(rejected.proxies) > _MOST_PROXIES else "")
    kind = rejected.resource.type_url.rpartition(".")[2]
    reason = " ".join(rejected.message.split())[:_LONGEST_REASON]
    of = "" if holders is None else f" of {max(holders, len(rejected.proxies))}"
    noun = "proxy" if not of and len(rejected.proxies) == 1 else "proxies"
    count = f"{len(rejected.proxies)}{of} {noun} ({proxies})"
    return f"{kind} {rejected.resource.name} is rejected by {count}: {reason}"


def _location(ref: ObjectRef, declared: Declared) -> Location | None:
    tables: dict[str, Mapping[tuple[str, str], MeshObject]] = {
        "Service": declared.services,
        "Workload": declared.workloads,
        "TrafficSplit": declared.traffic_splits,
        "TrafficTarget": declared.traffic_targets,
    }
    found = tables[ref.kind].get((ref.namespace, ref.name))
    return None if found is None else found.meta.location
