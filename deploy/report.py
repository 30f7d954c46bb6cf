"""The mesh model as data for people: what `/debug/mesh` shows."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.findings import as_json
from smi.diagnostics import Diagnostic
from smi.model import Access, Frontend, Grant, Mesh, Rule
from smi.objects import HTTPMatch


def mesh_report(mesh: Mesh, diagnostics: Iterable[Diagnostic]) -> dict[str, object]:
    """Services with their rules and endpoints, workloads with who may use them, and what is wrong."""
    return {
        "trust_domain": str(mesh.settings.trust_domain),
        "egress": mesh.settings.egress.value,
        "services": {str(key): _service(mesh, frontend) for key, frontend in sorted(mesh.frontends.items())},
        "workloads": {
            str(proxy.key): {
                "identity": str(proxy.identity),
                "class": proxy.class_name,
                "capture": proxy.capture.value,
                "reach": proxy.reach,
                "local": {f"{one.address}:{one.port}": str(one.key) for one in proxy.local},
            }
            for proxy in mesh.proxies.values()
        },
        "classes": {
            name: {
                "mtls": found.listener.mtls.value,
                "ports": {str(access.port or "other"): _access(access) for access in found.access},
            }
            for name, found in sorted(mesh.classes.items())
        },
        "diagnostics": [as_json(each) for each in diagnostics],
    }


def _service(mesh: Mesh, frontend: Frontend) -> dict[str, object]:
    address = mesh.addresses.get(frontend.key)
    return {
        "protocol": frontend.protocol.value,
        "addresses": list(address.addresses) if address else [],
        "identities": [str(identity) for identity in mesh.backends[frontend.key].identities],
        "endpoints": [
            {"address": one.address, "port": one.port, "in_mesh": one.in_mesh}
            for one in mesh.endpoints[frontend.key].endpoints
        ],
        "rules": [_rule(rule) for rule in frontend.rules],
    }


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "matches": [_match(match) for match in rule.matches] or "everything else",
        "backends": {str(backend.key): backend.weight for backend in rule.backends},
    }


def _access(access: Access) -> dict[str, object]:
    return {
        "protocol": access.protocol.value,
        "policy": "permissive" if access.everyone else "smi",
        "grants": {grant.name: _grant(grant) for grant in access.grants},
    }


def _grant(grant: Grant) -> dict[str, object]:
    return {
        "sources": [str(identity) for identity in grant.principals],
        "requests": "any" if grant.http is None else [_match(match) for match in grant.http],
        "ports": "any" if grant.ports is None else list(grant.ports),
    }


def _match(match: HTTPMatch) -> dict[str, object]:
    return {
        "name": match.name,
        "path_regex": match.path_regex or "any",
        "methods": list(match.methods) or "any",
        "headers": dict(match.headers),
    }
