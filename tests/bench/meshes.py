"""Meshes of any size: one port, ten endpoints, one TrafficTarget for each service, and one client that sees it all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from smi.objects import (
    AccessRule,
    Backend,
    HTTPMatch,
    HTTPRouteGroup,
    MeshObject,
    Meta,
    Service,
    ServicePort,
    Subject,
    TrafficSplit,
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


def client_name(number: int) -> str:
    return f"client-{number}"


def clients(count: int) -> Iterator[MeshObject]:
    """Workloads that are alike and see the whole mesh, behind a Service of their own that nobody may call yet."""
    yield dataclasses.replace(
        service(0),
        meta=Meta(namespace=NAMESPACE, name="front"),
        selector={"app": "client"},
        cluster_ips=("10.95.0.1",),
    )
    for number in range(count):
        yield dataclasses.replace(
            CLIENT,
            meta=Meta(namespace=NAMESPACE, name=client_name(number), labels={"app": "client"}),
            address=f"10.254.{number >> 8}.{number & 255}",
            ports=(WorkloadPort("http", 8080),),
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


def target_of_clients(source: str) -> TrafficTarget:
    """Lets `source` call the clients: it concerns every one of them."""
    return TrafficTarget(
        meta=Meta(namespace=NAMESPACE, name=f"{source}-to-clients"),
        destination=Subject("ServiceAccount", NAMESPACE, "client"),
        rules=(AccessRule("HTTPRouteGroup", "api"),),
        sources=(Subject("ServiceAccount", NAMESPACE, source),),
    )


def split(weight: int, name: str = "split", root: int = 0) -> TrafficSplit:
    """Splits a service between the next two."""
    return TrafficSplit(
        meta=Meta(namespace=NAMESPACE, name=name),
        service=f"service-{root}",
        backends=(Backend(f"service-{root + 1}", weight), Backend(f"service-{root + 2}", 100 - weight)),
    )


def moved(number: int, mark: int) -> Workload:
    """The first workload of a service at the address 10.200.x.y, which says `mark`."""
    return dataclasses.replace(workload(number, 0), address=f"10.200.{mark >> 8}.{mark & 255}")
