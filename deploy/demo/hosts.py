"""Where workloads are, and what names their applications know: read from a directory of objects."""

from __future__ import annotations

from pathlib import Path

from smi.files import FileSource
from smi.index import MeshIndex, MeshObjects


def addresses_of_workloads(directory: Path) -> dict[str, str]:
    """The address of each workload, by `namespace/workload`."""
    return {f"{each.meta.namespace}/{each.meta.name}": each.address for each in _objects(directory).workloads.values()}


def names_of_services(directory: Path, namespace: str) -> dict[str, str]:
    """Every name by which a process of `namespace` may call a Service, with the Service's first virtual address.

    They are the names that Kubernetes' DNS would know; within its own namespace a Service needs no suffix.
    """
    known = {}
    for service in _objects(directory).services.values():
        if not service.cluster_ips:
            continue
        qualified = f"{service.meta.name}.{service.meta.namespace}"
        names = [qualified, f"{qualified}.svc", f"{qualified}.svc.cluster.local"]
        if service.meta.namespace == namespace:
            names.append(service.meta.name)
        known.update(dict.fromkeys(names, service.cluster_ips[0]))
    return known


def _objects(directory: Path) -> MeshObjects:
    index = MeshIndex()
    index.apply(FileSource(directory).load().events)
    return index.snapshot()
