"""A mesh as people write it: a shop whose rules show one idea each, and ways to change it."""

from __future__ import annotations

from pathlib import Path

from smi.files import FileSource
from smi.model import PortKey
from smi.policy import Account, Call, Decision, Outcome, Policy
from smi.resolve.mesh import MeshModel

SHOP = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.1
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-db, port: 5432}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web, address: 10.0.0.1}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: buyer-0, namespace: people, labels: {app: buyer}}
spec: {serviceAccountName: buyer, address: 10.0.0.9}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: routes, namespace: shop}
spec:
  matches:
    - {name: books, pathRegex: /books, methods: [GET]}
    - {name: staff, pathRegex: /staff, headers: {x-role: "^chef$"}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: buyers, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: web, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: routes}]
  sources: [{kind: ServiceAccount, name: buyer, namespace: people}]
"""
NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {tulle.dev/traffic-policy: permissive}}
"""
SECOND = """
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: shop, labels: {{app: web}}{annotations}}}
spec: {{serviceAccountName: {account}, address: 10.0.0.{host}{more}}}
"""
BUYER = Account("people", "buyer")
STRANGER = Account("people", "stranger")


def policy_of(directory: Path, *documents: str) -> Policy:
    """The policy of the documents, each of them a file: 0.yaml, 1.yaml, ..."""
    for position, text in enumerate(documents):
        (directory / f"{position}.yaml").write_text(text)
    mesh = MeshModel()
    mesh.apply(FileSource(directory).load().events)
    return Policy(mesh)


def call(
    path: str = "/books",
    method: str = "GET",
    *,
    source: Account = BUYER,
    to: str = "web",
    port: int = 80,
    namespace: str = "shop",
    **headers: str,
) -> Call:
    """Underscores in names of headers are dashes."""
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Call(source, PortKey(namespace, to, port), method, path, pairs)


def told(decision: Decision) -> str:
    """All reasons of all servers as one text, with what they cite."""
    lines = [decision.route.text, *(str(each) for each in decision.route.cited)]
    for server in decision.servers:
        for reason in server.reasons:
            lines += [reason.text, *(f"{each} at {each.location}" for each in reason.cited)]
    return "\n".join(line for line in lines if line)


def outcomes(decision: Decision) -> dict[str, str]:
    """What comes of the calls by backend and account, with the share of each."""
    return {
        f"{backend.key.service}:{server.account.name}": f"{server.outcome.value} {server.share}"
        for backend in decision.backends
        for server in backend.servers
    }


def is_allowed(decision: Decision) -> bool:
    """Wholly allowed or wholly denied, and which."""
    shares = {outcome: decision.share_of(outcome) for outcome in Outcome}
    assert sum(shares.values()) == 1
    assert set(shares.values()) == {0, 1}
    return shares[Outcome.ALLOWED] == 1


def target(rules: str, **fields: str) -> str:
    """Another TrafficTarget for the web, at v1alpha1, which knows a port and may be without rules."""
    port = f", port: {fields['port']}" if "port" in fields else ""
    return f"""
apiVersion: access.smi-spec.io/v1alpha1
kind: TrafficTarget
metadata: {{name: more, namespace: shop}}
destination: {{kind: ServiceAccount, name: web, namespace: shop{port}}}
specs: [{rules}]
sources: [{{kind: ServiceAccount, name: buyer, namespace: people}}]
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {{name: db, namespace: shop}}
spec: {{matches: {{ports: [5432]}}}}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {{name: any, namespace: shop}}
spec: {{}}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: UDPRoute
metadata: {{name: udp, namespace: shop}}
spec: {{matches: {{ports: [5432]}}}}
"""


def leaf(name: str, *, account: str = "", protocol: str = "http", workload: str = "", annotation: str = "") -> str:
    """A service of its own with one workload."""
    annotations = f", annotations: {{{annotation}}}" if annotation else ""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  clusterIP: 10.96.1.{len(name)}
  selector: {{app: {name}}}
  ports: [{{name: {protocol}, port: 80, targetPort: 8080}}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {{name: {workload or name}-0, namespace: shop, labels: {{app: {name}}}{annotations}}}
spec: {{serviceAccountName: {account or name}, address: 10.0.1.{len(name)}}}
"""


def split(name: str = "split", *, matches: str = "", **weights: int) -> str:
    backends = ", ".join(f"{{service: {service}, weight: {weight}}}" for service, weight in weights.items())
    group = f"matches: [{{kind: HTTPRouteGroup, name: {matches}}}]" if matches else ""
    return f"""
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {{name: {name}, namespace: shop}}
spec:
  service: web
  backends: [{backends}]
  {group}
"""


def second(host: int, *, account: str = "web", annotation: str = "", more: str = "") -> str:
    annotations = f", annotations: {{{annotation}}}" if annotation else ""
    return SECOND.format(name=f"web-{host}", account=account, annotations=annotations, host=host, more=more)
