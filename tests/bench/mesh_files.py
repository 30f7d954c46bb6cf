"""The meshes of the benchmark as the files that people would write: a file for each service and one for the rest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from smi.objects import HTTPRouteGroup, MeshObject, Service, TrafficSplit, TrafficTarget, Workload
from tests.bench import meshes

SPLIT_SERVICE = 3
"""The service whose split is in a file of its own, and the only one that is edited there."""


def write_mesh(directory: Path, services: int, clients: int) -> None:
    """`services` of `meshes.mesh`, clients, and two splits: "split", and that of `write_split`."""
    for number in range(services):
        _write(directory / f"service-{number}.yaml", meshes.service_objects(number))
    rest = [*meshes.mesh(0), *meshes.clients(clients), meshes.split(90)]
    _write(directory / "rest.yaml", rest)
    write_split(directory, 50)


def write_split(directory: Path, weight: int) -> None:
    _write(directory / "split.yaml", [meshes.split(weight, "split-in-file", SPLIT_SERVICE)])


def _write(path: Path, objects: Iterable[MeshObject]) -> None:
    path.write_text(yaml.dump_all(map(manifest, objects), Dumper=yaml.CSafeDumper, sort_keys=False))


def manifest(item: MeshObject) -> dict[str, Any]:
    """What a person would write for `item`."""
    version, spec = _body(item)
    metadata = {"name": item.meta.name, "namespace": item.meta.namespace, "labels": dict(item.meta.labels)}
    return {"apiVersion": version, "kind": type(item).__name__, "metadata": metadata, "spec": spec}


def _body(item: MeshObject) -> tuple[str, dict[str, Any]]:
    match item:
        case Service():
            ports = [{"name": each.name, "port": each.port, "targetPort": each.target_port} for each in item.ports]
            return "v1", {"ports": ports, "selector": dict(item.selector), "clusterIP": item.cluster_ips[0]}
        case Workload():
            ports = [{"name": each.name, "port": each.port} for each in item.ports]
            return "tulle.dev/v1alpha1", {
                "serviceAccountName": item.service_account,
                "address": item.address,
                "ports": ports,
                "capture": item.capture.value,
            }
        case TrafficSplit():
            backends = [{"service": each.service, "weight": each.weight} for each in item.backends]
            return "split.smi-spec.io/v1alpha4", {"service": item.service, "backends": backends}
        case HTTPRouteGroup():
            matches = [
                {"name": each.name, "pathRegex": each.path_regex, "methods": list(each.methods)}
                for each in item.matches
            ]
            return "specs.smi-spec.io/v1alpha4", {"matches": matches}
        case TrafficTarget():
            subject, *_ = item.sources
            return "access.smi-spec.io/v1alpha3", {
                "destination": {"kind": item.destination.kind, "name": item.destination.name},
                "rules": [{"kind": each.kind, "name": each.name} for each in item.rules],
                "sources": [{"kind": subject.kind, "name": subject.name, "namespace": subject.namespace}],
            }
    raise TypeError(f"no manifest for a {type(item).__name__}")
