"""Resources of a proxy -> a static bootstrap that Envoy can check without a control plane.

What comes by RDS, EDS and ECDS is put where it is referred to; the two secrets are static ones. So Envoy checks
every field of every resource that a listener leads to, the expressions and the names of clusters included.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from ca.authority import Authority, create_intermediate, create_root
from ca.identity import TrustDomain, WorkloadIdentity
from ca.secrets import identity_secret, trust_secret
from deploy.configuration import Configuration
from deploy.sidecar.bootstrap import runtime_layers
from deploy.sidecar.envoy import find_envoy
from tests.golden.scenarios import as_dict
from xds.resource import Resource, TypeUrl

Node = Any  # JSON
ByName = dict[str, Node]


def assert_envoy_takes(configuration: Configuration, folder: Path) -> None:
    """Fails unless a real Envoy loads what each proxy is sent. `folder` gets the bootstraps."""
    envoy = find_envoy().path
    for key in configuration.views:
        bootstrap = folder / f"{key.namespace}.{key.name}.json"
        bootstrap.write_text(json.dumps(static_bootstrap(configuration.of_proxy(key))))
        command: list[str | Path] = [envoy, "--mode", "validate", "--config-path", bootstrap, "--log-level", "error"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{key}: {done.stdout}{done.stderr}"


def static_bootstrap(resources: Iterable[Resource]) -> dict[str, Any]:
    """The bootstrap, as JSON."""
    found: dict[TypeUrl, ByName] = {kind: {} for kind in TypeUrl}
    for each in resources:
        found[each.type_url][each.name] = as_dict(each)
    listeners = [_inlined(node, found) for node in found[TypeUrl.LISTENER].values()]
    clusters = [_inlined(node, found) for node in found[TypeUrl.CLUSTER].values()]
    layers = [MessageToDict(layer, preserving_proto_field_name=True) for layer in runtime_layers()]
    return {
        "static_resources": {"listeners": listeners, "clusters": clusters, "secrets": _secrets()},
        "layered_runtime": {"layers": layers},
    }


def _inlined(node: Node, found: dict[TypeUrl, ByName]) -> Node:
    if isinstance(node, list):
        return [_inlined(item, found) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _inlined(value, found) for key, value in node.items()}
    if "rds" in made:
        made["route_config"] = found[TypeUrl.ROUTE][made.pop("rds")["route_config_name"]]
    if "config_discovery" in made:
        del made["config_discovery"]
        made["typed_config"] = found[TypeUrl.EXTENSION][made["name"]]["typed_config"]
    if made.get("type") == "EDS":
        del made["eds_cluster_config"]
        made |= {"type": "STATIC", "load_assignment": found[TypeUrl.ENDPOINT][made["name"]]}
    made.pop("sds_config", None)
    return made


def _secrets() -> list[dict[str, Any]]:
    now, domain = datetime.now(UTC), TrustDomain("cluster.local")
    root = create_root(domain, now)
    authority = Authority(root, create_intermediate(root, now))
    svid = authority.issue(WorkloadIdentity(domain, "ns", "sa").spiffe_id, timedelta(hours=1), now)
    secrets = (identity_secret(svid), trust_secret(authority.bundle))
    return [MessageToDict(secret, preserving_proto_field_name=True) for secret in secrets]
