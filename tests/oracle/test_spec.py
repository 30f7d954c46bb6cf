"""The oracle itself: the examples of the specification, and what the specification says they mean."""

from __future__ import annotations

from fractions import Fraction

import pytest
import yaml

from smi.index import Key
from tests.oracle.calls import Call, Request
from tests.oracle.cases import objects_of
from tests.oracle.oracle import Oracle
from tests.oracle.paths import has_two_readings, made_plain

API = """
apiVersion: v1
kind: Service
metadata: {name: api, namespace: default}
spec: {selector: {app: api}, ports: [{name: http, port: 8080}, {name: http-admin, port: 9090}]}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: api-0, namespace: default, labels: {app: api}}
spec: {serviceAccountName: api-service, address: 10.0.0.1}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: website-0, namespace: default}
spec: {serviceAccountName: website-service, address: 10.0.0.2}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: prometheus-0, namespace: default}
spec: {serviceAccountName: prometheus, address: 10.0.0.3}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: api-service-routes, namespace: default}
spec:
  matches:
    - {name: api, pathRegex: /api, methods: ["*"]}
    - {name: metrics, pathRegex: /metrics, methods: [GET]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: api-service-port, namespace: default}
spec: {matches: {ports: [8080]}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: api-service-metrics, namespace: default}
spec:
  destination: {kind: ServiceAccount, name: api-service, namespace: default}
  rules:
    - {kind: TCPRoute, name: api-service-port}
    - {kind: HTTPRouteGroup, name: api-service-routes, matches: [metrics]}
  sources: [{kind: ServiceAccount, name: prometheus, namespace: default}]
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: api-service-api, namespace: default}
spec:
  destination: {kind: ServiceAccount, name: api-service, namespace: default}
  rules:
    - {kind: TCPRoute, name: api-service-port}
    - {kind: HTTPRouteGroup, name: api-service-routes, matches: [api]}
  sources: [{kind: ServiceAccount, name: website-service, namespace: default}]
"""
"""The example of access v1alpha3, with workloads of its accounts."""

BIRDS = """
apiVersion: v1
kind: Service
metadata: {name: birds, namespace: default}
spec: {ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: blue-birds, namespace: default}
spec: {selector: {app: blue}, ports: [{name: http, port: 1024}]}
---
apiVersion: v1
kind: Service
metadata: {name: green-birds, namespace: default}
spec: {selector: {app: green}, ports: [{name: http, port: 8080, targetPort: 8081}]}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: birds, namespace: default}
spec:
  service: birds
  backends: [{service: blue-birds, weight: 50}, {service: green-birds, weight: 50}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: green-0, namespace: default, labels: {app: green}}
spec: {address: 10.0.0.1}
"""
"""The example of split v1alpha4: "Traffic destined for birds:8080 will only ever be forwarded to port 8080 on
green-birds."
"""
WEBSITE, PROMETHEUS = ("default", "website-0"), ("default", "prometheus-0")


def allowed(source: Key | None, path: str, method: str = "GET", port: int = 8080) -> bool:
    oracle = Oracle(objects_of([*yaml.safe_load_all(API)]))
    verdict = oracle.decide(Call(source, ("default", "api"), port, Request(path, method)))
    assert verdict.shares == {"api": 1}
    (answer,) = verdict.endpoints["api"].values()
    return answer


@pytest.mark.parametrize(
    ("source", "path", "method", "port", "expected"),
    [
        (WEBSITE, "/api", "GET", 8080, True),
        (WEBSITE, "/api/v1", "DELETE", 8080, True),
        (WEBSITE, "/v1/api", "GET", 8080, False),
        (WEBSITE, "/metrics", "GET", 8080, False),
        (WEBSITE, "/api", "GET", 9090, False),
        (PROMETHEUS, "/metrics", "GET", 8080, True),
        (PROMETHEUS, "/metrics", "POST", 8080, False),
        (PROMETHEUS, "/api", "GET", 8080, False),
        (("default", "api-0"), "/api", "GET", 8080, False),
        (None, "/api", "GET", 8080, False),
    ],
)
def test_the_example_of_access(source: Key | None, path: str, method: str, port: int, expected: bool) -> None:
    assert allowed(source, path, method, port) is expected


def test_the_example_of_splits() -> None:
    oracle = Oracle(objects_of([*yaml.safe_load_all(BIRDS)]))
    verdict = oracle.decide(Call(("default", "green-0"), ("default", "birds"), 8080))
    assert verdict.shares == {"green-birds": Fraction(1)}
    assert list(verdict.endpoints["green-birds"]) == [(("default", "green-0"), 8081)]


@pytest.mark.parametrize(
    ("target", "plain"),
    [
        ("/a/b?c=/d/../e", "/a/b"),
        ("/a/../b", "/b"),
        ("/../..", "/"),
        ("/a/.", "/a/"),
        ("/a/b/..", "/a/"),
        ("/a//b//", "/a/b/"),
        ("//%2f", "//"),
        ("/a/..;x=1/b", "/b"),
        ("/a/%2e%2e;x=1/b", "/a/..;x=1/b"),
        ("/public//../admin", "/public/admin"),
        ("/%61%2Fb%2fc", "/a/b/c"),
        ("/a%2f%2e%2e%5cb", "/b"),
        ("/a\\b", "/a/b"),
        ("/a%20b;c", "/a%20b;c"),
    ],
)
def test_paths_are_made_plain(target: str, plain: str) -> None:
    assert made_plain(target) == plain


@pytest.mark.parametrize(
    ("path", "two"),
    [("/a/..;/b", True), ("/a/%252e%252e/b", True), ("/a%252Fb", True), ("/a;b/c", False), ("/a/..b", False)],
)
def test_paths_with_two_readings_are_known(path: str, two: bool) -> None:
    assert has_two_readings(path) is two
