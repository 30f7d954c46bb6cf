"""What random cases have found, each as the smallest mesh that shows it: the oracle, and everybody who must agree."""

from __future__ import annotations

from fractions import Fraction

import pytest
import yaml

from tests.oracle.agreement import same
from tests.oracle.calls import Call, Request, Verdict
from tests.oracle.cases import objects_of
from tests.oracle.judges import Court, Envoys, Policy
from tests.oracle.oracle import Oracle

COURTS = [Oracle, Envoys, Policy]

GUARDED = """
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: api}, ports: [{name: http-80, port: 80}]}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: api-0, namespace: shop, labels: {app: api}}
spec: {serviceAccountName: api, address: 10.0.0.1}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: routes, namespace: shop}
spec: {matches: [MATCH]}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: self, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: api, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: routes}]
  sources: [{kind: ServiceAccount, name: api, namespace: shop}]
"""
ME, PLACE = ("shop", "api-0"), (("shop", "api-0"), 80)


@pytest.mark.parametrize("court", COURTS)
@pytest.mark.parametrize(
    ("match", "request_", "allowed"),
    [
        # Envoy's RBAC is content when one of several lines fits.
        ("{name: m, headers: {x-role: ^admin$}}", Request(headers=(("x-role", "admin"),)), True),
        ("{name: m, headers: {x-role: ^admin$}}", Request(headers=(("x-role", "admin"), ("x-role", "user"))), False),
        (
            "{name: m, headers: {x-role: '^user,admin$'}}",
            Request(headers=(("x-role", "user"), ("x-role", "admin"))),
            True,
        ),
        # Envoy leaves two slashes of a path of nothing else.
        ("{name: m, pathRegex: ^/$}", Request("/%2F"), False),
        ("{name: m, pathRegex: ^//$}", Request("/%2F"), True),
        # Parameters of dot segments are dropped with them.
        ("{name: m, pathRegex: ^/b$}", Request("/a/..;x=1/b"), True),
    ],
)
def test_requests(court: Court, match: str, request_: Request, allowed: bool) -> None:
    objects = objects_of([*yaml.safe_load_all(GUARDED.replace("MATCH", match))])
    expected = Verdict({"api": Fraction(1)}, {"api": {PLACE: allowed}})
    assert court(objects).decide(Call(ME, ("shop", "api"), 80, request_)) == expected


ROOT_WITHOUT_SELECTOR = """
apiVersion: v1
kind: Service
metadata: {name: root, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http-80, port: 80}]}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: client-0, namespace: shop}
spec: {address: 10.0.0.1}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: split, namespace: shop}
spec:
  service: root
  backends: [{service: a, weight: 1}]
  matches: [{kind: HTTPRouteGroup, name: missing}]
"""


@pytest.mark.parametrize("court", COURTS)
def test_a_split_out_of_force_leaves_a_root_without_selector_alone(court: Court) -> None:
    """Calls to it pass through to whatever has the address, as without the split."""
    objects = objects_of([*yaml.safe_load_all(ROOT_WITHOUT_SELECTOR)])
    said = court(objects).decide(Call(("shop", "client-0"), ("shop", "root"), 80))
    assert same(said, Verdict({"passthrough": Fraction(1)}, {}))


BEYOND_32_BITS = """
apiVersion: v1
kind: Service
metadata: {name: root, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http-80, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {ports: [{name: http-80, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: shop}
spec: {ports: [{name: http-80, port: 80}]}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: client-0, namespace: shop}
spec: {address: 10.0.0.1}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: split, namespace: shop}
spec:
  service: root
  backends: [{service: a, weight: 2147483647}, {service: b, weight: 2147483647}, {service: a, weight: 2147483647}]
"""


@pytest.mark.parametrize("court", COURTS)
def test_weights_beyond_32_bits_keep_their_ratio(court: Court) -> None:
    objects = objects_of([*yaml.safe_load_all(BEYOND_32_BITS)])
    said = court(objects).decide(Call(("shop", "client-0"), ("shop", "root"), 80))
    assert same(said, Verdict({"a": Fraction(2, 3), "b": Fraction(1, 3)}, {"a": {}, "b": {}}))
