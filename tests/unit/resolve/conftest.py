"""Objects in one line each, and the mesh model that they come to.

`mk_*` build declared objects with the defaults of a small HTTP mesh: namespace `ns`, selector `app: <name>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import dedent

from ca.identity import TrustDomain, WorkloadIdentity
from smi.codes import Code
from smi.decode import decode
from smi.diagnostics import Diagnostic
from smi.documents import parse
from smi.index import MeshIndex, MeshObjects, Upsert
from smi.model import Access, Frontend, MeshSnapshot, PortKey, WorkloadClass, WorkloadKey
from smi.objects import (
    AccessRule,
    Backend,
    CaptureMode,
    HTTPMatch,
    HTTPRouteGroup,
    MatchRef,
    MeshConfig,
    MeshObject,
    Meta,
    Namespace,
    Service,
    ServicePort,
    Subject,
    TCPRoute,
    TrafficSplit,
    TrafficTarget,
    Upstream,
    Workload,
    WorkloadPort,
)
from smi.resolve import resolve

NS = "ns"
ADDRESS = "10.0.0.1"


def mk_meta(
    name: str,
    *,
    namespace: str = NS,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    created: str = "",
) -> Meta:
    return Meta(namespace=namespace, name=name, labels=labels or {}, annotations=annotations or {}, created=created)


def mk_namespace(name: str = NS, /, **annotations: str | None) -> Namespace:
    """`traffic_policy="smi"` is the annotation `tulle.dev/traffic-policy: smi`."""
    return Namespace(meta=mk_meta(name, namespace="", annotations=mk_annotations(**annotations)))


def mk_annotations(**annotations: str | None) -> dict[str, str]:
    """None is no annotation."""
    given = {key.replace("_", "-"): value for key, value in annotations.items() if value is not None}
    return {f"tulle.dev/{key}": value for key, value in given.items()}


def mk_port(port: int = 80, target: int | str | None = None, *, name: str = "http") -> ServicePort:
    return ServicePort(name, port, port if target is None else target)


def mk_service(
    name: str,
    *ports: ServicePort,
    namespace: str = NS,
    selector: Mapping[str, str] | None = None,
    ips: tuple[str, ...] = (),
    headless: bool = False,
    external_name: str = "",
    created: str = "",
) -> Service:
    return Service(
        meta=mk_meta(name, namespace=namespace, created=created),
        ports=ports or (mk_port(),),
        selector={"app": name} if selector is None else selector,
        cluster_ips=ips,
        headless=headless,
        external_name=external_name,
    )


def mk_workload(
    name: str,
    *ports: WorkloadPort,
    namespace: str = NS,
    account: str = "",
    address: str = ADDRESS,
    labels: Mapping[str, str] | None = None,
    sidecar: bool = True,
    upstreams: tuple[Upstream, ...] = (),
    explicit: bool = False,
    traffic_policy: str | None = None,
    mtls: str | None = None,
    reaches: str | None = None,
) -> Workload:
    """A transparent workload labelled `app: <name>` and with a service account of its name."""
    labels = {"app": name} if labels is None else labels
    annotations = mk_annotations(traffic_policy=traffic_policy, mtls=mtls, reaches=reaches)
    return Workload(
        meta=mk_meta(name, namespace=namespace, labels=labels, annotations=annotations),
        service_account=account or name,
        address=address,
        ports=ports,
        upstreams=upstreams,
        sidecar=sidecar,
        capture=CaptureMode.EXPLICIT if explicit else CaptureMode.TRANSPARENT,
    )


def mk_split(
    root: str, backends: Mapping[str, int], *, name: str = "split", matches: tuple[str, ...] = (), created: str = ""
) -> TrafficSplit:
    return TrafficSplit(
        meta=mk_meta(name, created=created),
        service=root,
        backends=tuple(Backend(service, weight) for service, weight in backends.items()),
        matches=tuple(MatchRef("HTTPRouteGroup", group) for group in matches),
    )


def mk_routes(name: str, *matches: HTTPMatch) -> HTTPRouteGroup:
    return HTTPRouteGroup(meta=mk_meta(name), matches=matches)


def mk_match(name: str, path: str = "", *methods: str, **headers: str) -> HTTPMatch:
    pairs = tuple((key.replace("_", "-"), value) for key, value in headers.items())
    return HTTPMatch(name, path or f"/{name}", methods, pairs)


def mk_tcp_route(name: str, *ports: int) -> TCPRoute:
    return TCPRoute(meta=mk_meta(name), ports=ports)


def mk_target(
    name: str, rules: tuple[AccessRule, ...], *, to: str = "server", sources: tuple[str, ...] = ("client",)
) -> TrafficTarget:
    return TrafficTarget(
        meta=mk_meta(name),
        destination=Subject("ServiceAccount", NS, to),
        rules=rules,
        sources=tuple(Subject("ServiceAccount", NS, source) for source in sources),
    )


def http_rule(group: str, *matches: str) -> AccessRule:
    """Without `matches`: all of the group."""
    return AccessRule("HTTPRouteGroup", group, matches or None)


def tcp_rule(route: str) -> AccessRule:
    return AccessRule("TCPRoute", route)


def mk_config(**settings: object) -> MeshConfig:
    return MeshConfig(meta=mk_meta("default", namespace=""), **settings)  # type: ignore[arg-type]


def identity(account: str, namespace: str = NS) -> WorkloadIdentity:
    return WorkloadIdentity(TrustDomain("cluster.local"), namespace, account)


def key(service: str, port: int = 80, namespace: str = NS) -> PortKey:
    return PortKey(namespace, service, port)


def mk_objects(*objects: MeshObject) -> MeshObjects:
    index = MeshIndex()
    index.apply(Upsert(one) for one in objects)
    return index.snapshot()


def mk_mesh(*objects: MeshObject) -> MeshSnapshot:
    return resolve(mk_objects(*objects))


@dataclass(frozen=True)
class Written:
    """What a text comes to: the mesh, and the codes of everything that is wrong with it, each once."""

    mesh: MeshSnapshot
    codes: set[str]


def mk_written(*texts: str) -> Written:
    """The mesh of documents as a person writes them."""
    decoded = [decode(document) for text in texts for document in parse(dedent(text), "mesh.yaml")[0]]
    mesh = mk_mesh(*(outcome.object for outcome in decoded if outcome.object is not None))
    found = [finding for outcome in decoded for finding in outcome.diagnostics] + list(mesh.diagnostics)
    return Written(mesh, {finding.code for finding in found})


def reported(mesh: MeshSnapshot, code: Code) -> list[Diagnostic]:
    return [diagnostic for diagnostic in mesh.diagnostics if diagnostic.code == code.code]


def class_of(mesh: MeshSnapshot, workload: str, namespace: str = NS) -> WorkloadClass:
    return mesh.classes[mesh.proxies[WorkloadKey(namespace, workload)].class_name]


def access_of(mesh: MeshSnapshot, workload: str, port: int | None) -> Access:
    """The access table of one target port; of all ports that no Service names, with None."""
    return next(access for access in class_of(mesh, workload).access if access.port == port)


def addresses_of(mesh: MeshSnapshot, service: str, port: int = 80) -> list[tuple[str, int, bool]]:
    """(address, port, whether a sidecar is there) of each endpoint."""
    return [(one.address, one.port, one.in_mesh) for one in mesh.endpoints[key(service, port)].endpoints]


def shares_of(frontend: Frontend) -> list[dict[str, int]]:
    """The backends of each rule, by Service name and weight."""
    return [{backend.key.service: backend.weight for backend in rule.backends} for rule in frontend.rules]
