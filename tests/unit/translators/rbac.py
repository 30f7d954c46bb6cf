"""Decides as Envoy's RBAC engine does, for the parts of it that Tulle uses; any other part fails the test.

Source: Envoy's config.rbac.v3: a request is allowed when some policy has both a permission and a principal that match.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import re2

from protos.envoy.config.rbac.v3_pb2 import RBAC, Permission, Principal
from protos.envoy.config.route.v3_pb2 import HeaderMatcher


@dataclass(frozen=True)
class Call:
    """A request, or with neither path nor headers a connection. `caller` is the SPIFFE ID proved, if any."""

    caller: str | None
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    port: int = 0


def allows(rules: RBAC, call: Call) -> bool:
    assert rules.action == RBAC.ALLOW
    assert not rules.HasField("audit_logging_options")
    return any(
        any(_permits(one, call) for one in policy.permissions) and any(_is(one, call) for one in policy.principals)
        for policy in rules.policies.values()
    )


def _is(principal: Principal, call: Call) -> bool:
    match principal.WhichOneof("identifier"):
        case "any":
            return True
        case "authenticated":
            return call.caller is not None and principal.authenticated.principal_name.exact == call.caller
    raise AssertionError(f"unknown principal {principal}")


def _permits(permission: Permission, call: Call) -> bool:
    match permission.WhichOneof("rule"):
        case "any":
            return True
        case "and_rules":
            return all(_permits(one, call) for one in permission.and_rules.rules)
        case "not_rule":
            return not _permits(permission.not_rule, call)
        case "destination_port":
            return permission.destination_port == call.port
        case "url_path":
            return _matches(permission.url_path.path.safe_regex.regex, call.path.partition("?")[0])
        case "header":
            return _has(permission.header, call)
    raise AssertionError(f"unknown permission {permission}")


def _has(header: HeaderMatcher, call: Call) -> bool:
    value = call.headers.get(header.name)
    if header.WhichOneof("header_match_specifier") == "present_match":
        return (value is not None) == header.present_match
    return value is not None and _matches(header.string_match.safe_regex.regex, value)


def _matches(regex: str, text: str) -> bool:
    assert regex, "an empty expression would be an unset one"
    return re2.fullmatch(regex, text) is not None
