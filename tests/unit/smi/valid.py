"""One valid document of every kind at every version, with every field."""

from __future__ import annotations

from typing import Any

from smi.conversion import VERSIONS, convert
from smi.versions import KINDS

NEWEST: dict[str, dict[str, Any]] = {
    "TrafficTarget": {
        "destination": {"kind": "ServiceAccount", "name": "api", "namespace": "shop"},
        "rules": [
            {"kind": "HTTPRouteGroup", "name": "r", "matches": ["m"]},
            {"kind": "UDPRoute", "name": "u"},
            {"kind": "TCPRoute", "name": "t"},
        ],
        "sources": [{"kind": "ServiceAccount", "name": "s", "namespace": "n"}],
    },
    "HTTPRouteGroup": {
        "matches": [
            {"name": "m", "pathRegex": "/a", "methods": ["GET", "PUT"], "headers": {"x": "y", "host": "a.*"}},
            {"name": "n", "headers": [{"x": "y"}, {"z": "z"}]},
        ]
    },
    "TCPRoute": {"matches": {"ports": [80, 81]}},
    "UDPRoute": {"matches": {"ports": [53]}},
    "TrafficSplit": {
        "service": "web",
        "backends": [{"service": "web-1", "weight": 90}, {"service": "web-2", "weight": 10}],
        "matches": [{"kind": "HTTPRouteGroup", "name": "r"}],
    },
    "Service": {
        "selector": {"app": "web"},
        "clusterIP": "10.96.0.1",
        "clusterIPs": ["10.96.0.1"],
        "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}],
    },
    "Workload": {
        "serviceAccountName": "web",
        "address": "10.0.0.1",
        "ports": [{"name": "http", "port": 80, "appPort": 8080}],
        "upstreams": [{"service": "web", "port": 80, "localPort": 9000}],
    },
    "MeshConfig": {
        "trustDomain": "mesh.example",
        "trafficPolicy": "smi",
        "mtls": "strict",
        "egress": "allow",
        "emptyRules": "deny",
        "plaintextUpstreams": "allow",
        "certificates": {"lifetime": "24h"},
    },
}


def documents() -> dict[str, dict[str, Any]]:
    """By kind and version."""
    made = {}
    for kind in KINDS:
        newest = next(iter(kind.decoders))
        document: dict[str, Any] = {
            "apiVersion": f"{kind.group}/{newest}".removeprefix("/"),
            "kind": kind.name,
            "metadata": {"name": "default", "labels": {"app": "a"}, "annotations": {"a": "b"}},
        }
        if kind.has_namespace:
            document["metadata"]["namespace"] = "shop"
        if kind.name in NEWEST:
            document["spec"] = NEWEST[kind.name]
        for version in kind.decoders:
            same = (kind.group, kind.name) not in VERSIONS
            made[f"{kind.name} {version}"] = document if same else convert(document, version)
    return made
