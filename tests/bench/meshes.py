"""Meshes of any size: one port, ten endpoints, one TrafficTarget for each service, and one client that sees it all."""

from __future__ import annotations

from collections.abc import Iterator

from smi.objects import (
    AccessRule,
    HTTPMatch,
    HTTPRouteGroup,
    MeshObject,
    Meta,
    Service,
    ServicePort,
    Subject,
    TrafficTarget,
    Workload,
    WorkloadPort,
)

ENDPOINTS = 10
NAMESPACE = "shop"
CLIENT = Workload(
    meta=Meta(namespace=NAMESPACE, name="client", labels={"app": "client"}),
    service_account="client",
    address="10.255.0.1",
)


def mesh(services: int) -> Iterator[MeshObject]:
    """The objects of a mesh with `services` services."""
    yield CLIENT
    yield HTTPRouteGroup(meta=Meta(namespace=NAMESPACE, name="api"), matches=(HTTPMatch("api", "/api", ("GET",)),))
    for number in range(services):
        yield from service_objects(number)


def service_objects(number: int) -> Iterator[MeshObject]:
    """A service, its workloads, and who may call it."""
    yield service(number)
    for index in range(ENDPOINTS):
        yield workload(number, index)
    yield target(number, "client")


def service(number: int) -> Service:
    return Service(
        meta=Meta(namespace=NAMESPACE, name=f"service-{number}"),
        ports=(ServicePort("http", 80, "http"),),
        selector={"app": f"app-{number}"},
        cluster_ips=(f"10.{96 + number // 65536}.{number // 256 % 256}.{number % 256}",),
    )


def workload(number: int, index: int) -> Workload:
    return Workload(
        meta=Meta(namespace=NAMESPACE, name=f"workload-{number}-{index}", labels={"app": f"app-{number}"}),
        service_account=f"account-{number}",
        address=f"10.{index}.{number // 256}.{number % 256}",
        ports=(WorkloadPort("http", 8080),),
    )


def target(number: int, source: str) -> TrafficTarget:
    return TrafficTarget(
        meta=Meta(namespace=NAMESPACE, name=f"{source}-to-{number}"),
        destination=Subject("ServiceAccount", NAMESPACE, f"account-{number}"),
        rules=(AccessRule("HTTPRouteGroup", "api"),),
        sources=(Subject("ServiceAccount", NAMESPACE, source),),
    )
