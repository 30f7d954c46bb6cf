"""The objects of a small shop of transparent workloads, as a person would write them."""

from __future__ import annotations

CLIENT, THIEF = "shop/client-0", "shop/thief-0"
V1, V2 = "shop/server-v1-0", "shop/server-v2-0"
PLAIN, OUTSIDE = "shop/plain-0", "shop/outside-0"

VIRTUAL, VIRTUAL_V1, VIRTUAL_V2 = "10.96.1.1", "10.96.1.2", "10.96.1.3"
ANSWERED_PORTS = ("http:8080", "echo:9000", "greet:9001")
HEADLESS_PORTS = ("http:8081", "echo:9100", "greet:9101")
UNNAMED_PORT = 7000

WORKLOADS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: client-0, namespace: shop}
spec: {serviceAccountName: client, address: 10.99.1.1}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: thief-0, namespace: shop}
spec: {serviceAccountName: thief, address: 10.99.1.2}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: server-v1-0, namespace: shop, labels: {app: server, version: v1, stateful: set}}
spec: {serviceAccountName: server, address: 10.99.2.1}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: server-v2-0, namespace: shop, labels: {app: server, version: v2, stateful: set}}
spec: {serviceAccountName: server, address: 10.99.2.2}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: plain-0, namespace: shop, labels: {stateful: set}}
spec: {address: 10.99.3.1, sidecar: false}
"""

OUTSIDER = """
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: outside-0, namespace: shop}
spec: {address: 10.99.4.1, sidecar: false}
"""
"""Declared only until it has its network namespace: then nobody in the mesh knows of it."""


def service(name: str, address: str, selector: str) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  clusterIP: {address}
  selector: {selector}
  ports:
    - {{name: http, port: 80, targetPort: 8080}}
    - {{name: tcp-echo, port: 90, targetPort: 9000}}
    - {{name: tcp-server-first, port: 91, targetPort: 9001}}
"""


SERVICES = "---".join(
    [
        service("server", VIRTUAL, "{app: server}"),
        service("server-v1", VIRTUAL_V1, "{app: server, version: v1}"),
        service("server-v2", VIRTUAL_V2, "{app: server, version: v2}"),
        """
apiVersion: v1
kind: Service
metadata: {name: each, namespace: shop}
spec:
  clusterIP: None
  selector: {stateful: set}
  ports:
    - {name: http, port: 80, targetPort: 8081}
    - {name: tcp-echo, port: 90, targetPort: 9100}
    - {name: tcp-server-first, port: 91, targetPort: 9101}
""",
    ]
)

ACCESS = """
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: all-but-admin, namespace: shop}
spec:
  matches:
    - {name: public, pathRegex: "/(public.*)?$", methods: [GET]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: streams, namespace: shop}
spec:
  matches: {ports: [9000, 9001, 9100, 9101]}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: requests, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: server, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: all-but-admin}]
  sources: [{kind: ServiceAccount, name: client, namespace: shop}]
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: streams, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: server, namespace: shop}
  rules: [{kind: TCPRoute, name: streams}]
  sources: [{kind: ServiceAccount, name: client, namespace: shop}]
"""


def split(v1: int, v2: int) -> str:
    """A TrafficSplit of the root service."""
    return f"""
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {{name: canary, namespace: shop}}
spec:
  service: server
  backends:
    - {{service: server-v1, weight: {v1}}}
    - {{service: server-v2, weight: {v2}}}
"""
