"""The mesh of the real Envoys: clients in explicit mode, and a store in versions that answer with their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from smi.model import WorkloadKey
from smi.objects import (
    Backend,
    CaptureMode,
    Meta,
    Service,
    ServicePort,
    TrafficSplit,
    Upstream,
    Workload,
    WorkloadPort,
)

NAMESPACE = "fleet"
PORT = 80


def client_key(number: int) -> WorkloadKey:
    return WorkloadKey(NAMESPACE, f"client-{number}")


def client(key: WorkloadKey, local_ports: Mapping[str, int]) -> Workload:
    """A client that reaches services (by name) on local ports."""
    return Workload(
        meta=Meta(namespace=key.namespace, name=key.name),
        service_account="client",
        address="127.0.0.1",
        capture=CaptureMode.EXPLICIT,
        upstreams=tuple(Upstream(NAMESPACE, service, PORT, port) for service, port in local_ports.items()),
    )


def service(name: str, labels: Mapping[str, str]) -> Service:
    """An HTTP service of the workloads with `labels`."""
    return Service(
        meta=Meta(namespace=NAMESPACE, name=name),
        ports=(ServicePort("http", PORT, "http"),),
        selector=labels,
    )


def application(name: str, port: int, labels: Mapping[str, str]) -> Workload:
    """A process without a sidecar that serves `port`."""
    return Workload(
        meta=Meta(namespace=NAMESPACE, name=name, labels=labels),
        address="127.0.0.1",
        ports=(WorkloadPort("http", port),),
        sidecar=False,
    )


def meshed(key: WorkloadKey, port: int, app_port: int, labels: Mapping[str, str]) -> Workload:
    """A process that serves `app_port`, behind a sidecar that serves `port` in its place."""
    return Workload(
        meta=Meta(namespace=key.namespace, name=key.name, labels=labels),
        service_account="server",
        address="127.0.0.1",
        capture=CaptureMode.EXPLICIT,
        ports=(WorkloadPort("http", port, app_port),),
    )


def split(root: str, backends: Iterable[tuple[str, int]]) -> TrafficSplit:
    """A split of `root`, called like it."""
    return TrafficSplit(
        meta=Meta(namespace=NAMESPACE, name=root),
        service=root,
        backends=tuple(Backend(name, weight) for name, weight in backends),
    )
