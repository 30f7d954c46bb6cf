"""Random meshes as documents, nasty on purpose: few names and ports, so that objects meet, collide, or point nowhere.

Every document is one that is in force as written: what broken ones do is tested where they are decoded.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.oracle.layout import ACCOUNTS, NAMESPACES, TARGET_NAMES, TARGET_PORTS, Host, Layout
from tests.oracle.matches import random_match

Document = dict[str, Any]
SERVICES, GROUPS, TCP_ROUTES = ("a", "b", "c", "d"), ("g0", "g1", "g2"), ("t0", "t1")
SERVICE_PORTS = (80, TARGET_PORTS[0], TARGET_PORTS[2])
"""Two of them are target ports as well."""
ROUTE_KINDS = ("TCPRoute", "TCPRoute", "TCPRoute", "UDPRoute")
"""Of a route with ports."""
MATCH_NAMES = ("m0", "m1", "m2", "m3")
_AGES = ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z")


def random_mesh(random: Random, layout: Layout, services_of: str = "") -> list[Document]:
    """The documents of one mesh. The names of its Services end in `services_of`."""
    made: list[Document] = []
    for namespace in NAMESPACES:
        settings = _settings(random, often=0.15)
        if settings:
            made.append(_document("v1", "Namespace", "", namespace, annotations=settings))
    if random.random() < 0.15:
        spec = {
            "trafficPolicy": random.choice(("smi", "smi", "permissive")),
            "mtls": random.choice(("strict", "permissive")),
        }
        if random.random() < 0.5:
            spec["emptyRules"] = random.choice(("allow", "deny"))
        if layout.varied:
            spec["plaintextUpstreams"] = random.choice(("allow", "deny"))
        made.append(_document("tulle.dev/v1alpha1", "MeshConfig", "", "default", spec=spec))
    services = [
        _service(random, namespace, name + services_of)
        for namespace in NAMESPACES
        for name in _some(random, SERVICES, 2)
    ]
    for number, service in enumerate(services, 1):
        service["spec"]["clusterIP"] = f"10.96.0.{number}"
    workloads = [_workload(random, host, layout.varied, services) for host in layout.hosts]
    for namespace in NAMESPACES:
        made += [_group(random, namespace, name) for name in _some(random, GROUPS, 2)]
        made += [_tcp_route(random, namespace, name) for name in _some(random, TCP_ROUTES, 1)]
        made += [_target(random, namespace, f"target-{n}") for n in range(random.choice((1, 2, 3, 4, 5)))]
        roots = [each["metadata"]["name"] for each in services if each["metadata"]["namespace"] == namespace]
        made += [_split(random, namespace, f"split-{n}", roots) for n in range(random.choice((0, 1, 2, 2, 3)))]
    return [*services, *workloads, *made]


def as_yaml(documents: list[Document]) -> str:
    """Documents as text that a control plane reads, each on a line of its own (JSON is YAML)."""
    return "\n---\n".join(json.dumps(document) for document in documents) + "\n"


def _document(version: str, kind: str, namespace: str, name: str, *, spec: Any = None, **meta: Any) -> Document:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **meta}
    made = {"apiVersion": version, "kind": kind, "metadata": metadata}
    return made if spec is None else {**made, "spec": spec}


def _some(random: Random, names: tuple[str, ...], least: int) -> list[str]:
    return random.sample(names, random.randint(least, len(names)))


def _settings(random: Random, *, often: float) -> dict[str, str]:
    made = {}
    if random.random() < often:
        made["tulle.dev/traffic-policy"] = random.choice(("permissive", "permissive", "smi", "nonsense"))
    if random.random() < often * 2:
        made["tulle.dev/mtls"] = random.choice(("permissive", "permissive", "strict", "nonsense"))
    return made


def _service(random: Random, namespace: str, name: str) -> Document:
    ports = []
    for number in _some_ports(random, SERVICE_PORTS):
        target: int | str = random.choice((random.choice(TARGET_PORTS), random.choice(TARGET_NAMES)))
        protocol = random.choice(("http", "http", "http", "tcp"))
        ports.append({"name": f"{protocol}-{number}", "port": number, "targetPort": target})
    if random.random() < 0.1:
        ports.append({"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"})
    selector = random.choice(
        ({"app": "x"}, {"app": "x"}, {"app": "x"}, {"app": "y"}, {"app": "x", "track": "new"}, None)
    )
    spec = {"ports": ports, **({"selector": selector} if selector else {})}
    return _document("v1", "Service", namespace, name, spec=spec, creationTimestamp=random.choice(_AGES))


def _some_ports(random: Random, ports: tuple[int, ...]) -> list[int]:
    """Most Services have port 80, so that most backends of splits have the root's port."""
    return sorted({80, *random.sample(ports, 2)} if random.random() < 0.8 else {*random.sample(ports, 2)})


def _workload(random: Random, host: Host, varied: bool, services: list[Document]) -> Document:
    namespace, name = host.key
    labels = {"app": random.choice(("x", "x", "x", "y"))}
    if random.random() < 0.4:
        labels["track"] = "new"
    explicit = not varied or random.random() < 0.6
    ports: list[Document] = []
    for number, port_name in zip(TARGET_PORTS, random.sample(TARGET_NAMES, 3), strict=True):
        if random.random() < 0.85:
            ports.append({"name": port_name, "port": number})
            if explicit:
                ports[-1]["appPort"] = host.app_ports[number]
    spec: Document = {"serviceAccountName": host.account, "address": host.address, "ports": ports}
    if varied and random.random() < 0.1:
        spec["serviceAccountName"] = random.choice(("one", "two", "three"))
    if varied and random.random() < 0.1:
        spec["sidecar"] = False
    spec["capture"] = "explicit" if explicit else "transparent"
    if explicit and host.local_ports:
        called = [(each["metadata"], port) for each in services for port in each["spec"]["ports"]]
        tcp = [(meta, port) for meta, port in called if port.get("protocol", "TCP") == "TCP"]
        spec["upstreams"] = [
            {"service": f"{meta['namespace']}/{meta['name']}", "port": port["port"], "localPort": local}
            for (meta, port), local in zip(tcp, host.local_ports, strict=False)
        ]
        if len(tcp) > len(host.local_ports):
            raise ValueError(f"{host.key} has {len(host.local_ports)} local ports for {len(tcp)} upstreams")
    return _document(
        "tulle.dev/v1alpha1",
        "Workload",
        namespace,
        name,
        spec=spec,
        labels=labels,
        annotations=_settings(random, often=0.06),
    )


def _group(random: Random, namespace: str, name: str) -> Document:
    matches = [random_match(random, each) for each in random.sample(MATCH_NAMES, random.choice((0, 1, 1, 2, 2, 3)))]
    version = _version(random, "v1alpha4", "v1alpha3", "v1alpha2", "v1alpha1")
    made = _document(f"specs.smi-spec.io/{version}", "HTTPRouteGroup", namespace, name)
    return made | ({"spec": {"matches": matches}} if version >= "v1alpha3" else {"matches": matches})


def _tcp_route(random: Random, namespace: str, name: str) -> Document:
    if random.random() < 0.15:
        version = random.choice(("v1alpha1", "v1alpha2", "v1alpha3"))
        return _document(f"specs.smi-spec.io/{version}", "TCPRoute", namespace, name)
    spec: Document = random.choice(({}, {"matches": {"ports": []}}, {"matches": {"ports": _numbers(random)}}))
    return _document("specs.smi-spec.io/v1alpha4", random.choice(ROUTE_KINDS), namespace, name, spec=spec)


def _numbers(random: Random) -> list[int]:
    """Service ports, target ports, and one that is nothing."""
    return random.sample((*SERVICE_PORTS, TARGET_PORTS[1], 1), random.choice((1, 2)))


def _target(random: Random, namespace: str, name: str) -> Document:
    everyone = sorted({(key[0], account) for key, account in ACCOUNTS.items()})
    sources = [
        {"kind": "ServiceAccount", "namespace": where, "name": who}
        for where, who in random.sample(everyone, random.choice((0, 1, 2, 2, 3, 3, 4)))
    ]
    if random.random() < 0.1:
        sources.append({"kind": "ServiceAccount", "name": "one"})
    destination: Document = {"kind": "ServiceAccount", "name": random.choice(("one", "one", "two"))}
    if random.random() < 0.7:
        destination["namespace"] = namespace
    if random.random() < 0.15:
        destination["port"] = random.choice(_numbers(random))
    version = _version(random, "v1alpha3", "v1alpha2", "v1alpha1")
    rules = [_rule(random, version) for _ in range(random.choice((0, 1, 1, 1, 1, 2, 2, 2, 3)))]
    if version == "v1alpha1":
        made = _document("access.smi-spec.io/v1alpha1", "TrafficTarget", namespace, name)
        return made | {"destination": destination, "specs": rules, "sources": sources}
    spec = {"destination": destination, "rules": rules, "sources": sources}
    if version == "v1alpha2" and not rules:
        del spec["rules"]
    return _document(f"access.smi-spec.io/{version}", "TrafficTarget", namespace, name, spec=spec)


def _rule(random: Random, version: str) -> Document:
    kind = random.choice(("HTTPRouteGroup", "HTTPRouteGroup", "TCPRoute"))
    if version == "v1alpha3" and random.random() < 0.1:
        kind = "UDPRoute"
    if kind != "HTTPRouteGroup":
        return {"kind": kind, "name": random.choice((*TCP_ROUTES, *TCP_ROUTES, "missing"))}
    rule: Document = {"kind": kind, "name": random.choice((*GROUPS, *GROUPS, *GROUPS, "missing"))}
    if random.random() < 0.3:
        rule["matches"] = random.sample((*MATCH_NAMES, "unknown"), random.choice((0, 1, 2, 3, 3)))
    return rule


def _split(random: Random, namespace: str, name: str, roots: list[str]) -> Document:
    services = (*roots, *roots, *roots, *roots, "missing")
    version = _version(random, "v1alpha4", "v1alpha3", "v1alpha2", "v1alpha1")
    weights = ("0", "1", "500m", "1k", "1e1", 3, "0.25") if version == "v1alpha1" else (0, 1, 1, 1, 9, 50, 2**31 - 1)
    backends = [
        {"service": random.choice(services), "weight": random.choice(weights)}
        for _ in range(random.choice((1, 2, 2, 3, 4)))
    ]
    spec: Document = {"service": random.choice(services), "backends": backends}
    if random.random() < 0.4 and version >= "v1alpha3":
        spec["matches"] = [
            {"kind": "HTTPRouteGroup", "name": random.choice((*GROUPS, *GROUPS, *GROUPS, "missing"))}
            for _ in range(random.choice((0, 1, 1, 2)))
        ]
    age = {"creationTimestamp": random.choice(_AGES)}
    return _document(f"split.smi-spec.io/{version}", "TrafficSplit", namespace, name, spec=spec, **age)


def _version(random: Random, newest: str, *older: str) -> str:
    return newest if random.random() < 0.6 else random.choice(older)
