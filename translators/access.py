"""Grants -> RBAC, kept out of listeners: HTTP access is in the routes of a target port, TCP access in a filter
configuration of its own. So a revoked grant is enforced on open HTTP connections, and a new one cuts nothing.

Each TrafficTarget is one RBAC policy (principals AND permissions), so that targets never leak into each other.
Source: Envoy's RBAC (config.rbac.v3). Empty means deny everywhere: an empty RBAC filter would fail open.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.rbac import v3_pb2 as rbac
from protos.envoy.config.route import v3_pb2 as route
from protos.envoy.extensions.filters.http.rbac import v3_pb2 as http_rbac
from protos.envoy.extensions.filters.network.rbac import v3_pb2 as network_rbac
from protos.envoy.type.matcher import v3_pb2 as matcher
from smi.model import Access, Grant
from smi.objects import HTTPMatch
from translators import names
from translators.disguises import plain_path
from translators.headers import HEADERS, cleaning
from translators.http import stale_connection_retry, unlimited
from translators.matching import header_matchers, lookalike_headers, path_regex
from translators.packing import extension, pack, packed
from translators.routes import ANY_HOST, ANY_REQUEST

HTTP_RBAC = "envoy.filters.http.rbac"
_ANYONE = "everyone"
DENY_ALL = rbac.RBAC(action=rbac.RBAC.ALLOW)
"""Allows what its policies name, and has none. ALLOW is what an action is by default."""
_ANYTHING = rbac.Permission(any=True)
_EVERYONE = rbac.Policy(permissions=[_ANYTHING], principals=[rbac.Principal(any=True)])
_STAT_PREFIX = "inbound."
_NO_CONNECTIONS = packed(network_rbac.RBAC(rules=DENY_ALL, stat_prefix=_STAT_PREFIX))
_TO_APPLICATION = unlimited(route.RouteAction(cluster="", retry_policy=stale_connection_retry()))
_ROUTES = route.RouteConfiguration(
    virtual_hosts=[
        route.VirtualHost(name=ANY_HOST, domains=["*"], routes=[route.Route(match=ANY_REQUEST, route=_TO_APPLICATION)])
    ]
)
"""The routes of any target port, without names and rules."""


def inbound_routes(access: Access) -> route.RouteConfiguration:
    """The routes of one HTTP target port: everything goes to the application, if the rules let it."""
    made = route.RouteConfiguration()
    made.CopyFrom(_ROUTES)
    made.name = names.inbound_port(access.class_name, access.port)
    made.virtual_hosts[0].routes[0].route.cluster = made.name
    rules = http_rbac.RBACPerRoute()
    _set_rules(rules.rbac.rules, access, opaque=False)
    pack(rules, made.typed_per_filter_config[HTTP_RBAC])
    if cleaned := cleaning(access):
        pack(cleaned, made.typed_per_filter_config[HEADERS])
    return made


def connection_rules(access: Access) -> core.TypedExtensionConfig:
    """Who may open connections of opaque bytes to one target port."""
    name = names.inbound_port(access.class_name, access.port)
    if not access.everyone and all(grant.http is not None for grant in access.grants):
        return core.TypedExtensionConfig(name=name, typed_config=_NO_CONNECTIONS)
    made = network_rbac.RBAC(stat_prefix=_STAT_PREFIX)
    _set_rules(made.rules, access, opaque=True)
    return extension(name, made)


def _set_rules(rules: rbac.RBAC, access: Access, *, opaque: bool) -> None:
    rules.SetInParent()  # or no rules at all would be set, which allows everything
    if access.everyone:
        rules.policies[_ANYONE].CopyFrom(_EVERYONE)
        return
    # A grant of HTTP requests is none of bytes that cannot be looked into.
    for grant in access.grants:
        if not opaque or grant.http is None:
            policy = rules.policies[grant.name]
            policy.permissions.extend(_permissions(grant))
            for identity in grant.principals:
                policy.principals.add().authenticated.principal_name.exact = str(identity)


def _permissions(grant: Grant) -> Iterable[rbac.Permission]:
    if grant.http is not None:
        return map(_request, grant.http)
    if grant.ports is not None:
        return (rbac.Permission(destination_port=port) for port in grant.ports)
    return [_ANYTHING]


@lru_cache(maxsize=1024)
def _request(match: HTTPMatch) -> rbac.Permission:
    """Requests that `match` means, without those that only look like it to us. To be copied, not changed."""
    rules = [rbac.Permission(header=header) for header in header_matchers(match)]
    if match.path_regex:
        path = matcher.StringMatcher(safe_regex=path_regex(match.path_regex))
        rules.append(rbac.Permission(url_path=matcher.PathMatcher(path=path)))
        rules.append(plain_path())
    lookalikes = (rbac.Permission(header=header) for header in lookalike_headers(match))
    rules.extend(rbac.Permission(not_rule=lookalike) for lookalike in lookalikes)
    if not rules:
        return _ANYTHING
    return rbac.Permission(and_rules=rbac.Permission.Set(rules=rules))
