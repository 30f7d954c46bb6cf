"""Decides as Envoy's RBAC engine does, for the parts of it that Tulle uses; any other part is NotUnderstoodError.

Source: Envoy's config.rbac.v3: a request is allowed when some policy has both a permission and a principal that match.
"""

from __future__ import annotations

from collections.abc import Iterable

from protos.envoy.config.rbac.v3_pb2 import RBAC, Permission, Policy, Principal
from protos.envoy.type.matcher.v3_pb2 import MetadataMatcher
from tests.simulator import matching
from tests.simulator.asked import Asked
from tests.simulator.matching import Test
from tests.simulator.strictness import NotUnderstoodError, only, same

_ANYBODY = ""


def allows(rules: RBAC, asked: Asked) -> bool:
    return compiled(rules)(asked)


def compiled(rules: RBAC) -> Test:
    """Whether `rules` allow something."""
    only(rules, "policies")
    same("RBAC.action", rules.action, RBAC.ALLOW)
    return _any(_policy(policy) for policy in rules.policies.values())


def _policy(policy: Policy) -> Test:
    only(policy, "permissions", "principals")
    permitted = _any(map(_permission, policy.permissions))
    callers = {_principal(each) for each in policy.principals}
    if _ANYBODY in callers:
        return permitted
    return lambda asked: asked.caller in callers and permitted(asked)


def _principal(principal: Principal) -> str:
    """The SPIFFE ID that is meant."""
    match principal.WhichOneof("identifier"):
        case "any" if principal.any:
            return _ANYBODY
        case "authenticated":
            only(principal.authenticated, "principal_name")
            only(principal.authenticated.principal_name, "exact")
            if principal.authenticated.principal_name.exact:
                return principal.authenticated.principal_name.exact
    raise NotUnderstoodError(f"principal {principal}")


def _permission(permission: Permission) -> Test:
    match permission.WhichOneof("rule"):
        case "any" if permission.any:
            return lambda _: True
        case "and_rules":
            return _all(map(_permission, permission.and_rules.rules))
        case "not_rule":
            inner = _permission(permission.not_rule)
            return lambda asked: not inner(asked)
        case "destination_port":
            port = permission.destination_port
            return lambda asked: asked.port == port
    return _of_request(permission)


def _of_request(permission: Permission) -> Test:
    match permission.WhichOneof("rule"):
        case "url_path":
            return matching.url_path(permission.url_path)
        case "header":
            return matching.header(permission.header)
        case "metadata":
            return _metadata(permission.metadata)
    raise NotUnderstoodError(f"permission {permission}")


def _metadata(asked_for: MetadataMatcher) -> Test:
    """What shadow rules have found."""
    only(asked_for, "filter", "path", "value")
    only(asked_for.value, "string_match")
    only(asked_for.value.string_match, "exact")
    place = (asked_for.filter, *(each.key for each in asked_for.path))
    same("metadata", place, ("envoy.filters.http.rbac", "shadow_engine_result"))
    expected = asked_for.value.string_match.exact
    return lambda asked: asked.shadowed == expected


def _any(tests: Iterable[Test]) -> Test:
    found = list(tests)
    return lambda asked: any(test(asked) for test in found)


def _all(tests: Iterable[Test]) -> Test:
    found = list(tests)
    return lambda asked: all(test(asked) for test in found)
