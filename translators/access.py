"""Grants -> RBAC, kept out of listeners: HTTP access is in the routes of a target port, TCP access in a filter
configuration of its own. So a revoked grant is enforced on open HTTP connections, and a new one cuts nothing.

Each TrafficTarget is one RBAC policy (principals AND permissions), so that targets never leak into each other.
Source: Envoy's RBAC (config.rbac.v3). Empty means deny everywhere: an empty RBAC filter would fail open.
"""

from __future__ import annotations

from collections.abc import Iterable

from ca.identity import WorkloadIdentity
from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.rbac import v3_pb2 as rbac
from protos.envoy.config.route import v3_pb2 as route
from protos.envoy.extensions.filters.http.rbac import v3_pb2 as http_rbac
from protos.envoy.extensions.filters.network.rbac import v3_pb2 as network_rbac
from protos.envoy.type.matcher import v3_pb2 as matcher
from smi.model import Access, Grant
from smi.objects import HTTPMatch
from translators import names
from translators.http import stale_connection_retry, unlimited
from translators.matching import DISGUISED_PATH, header_matchers, lookalike_headers, path_regex
from translators.packing import extension, packed

HTTP_RBAC = "envoy.filters.http.rbac"
_ANYONE = "everyone"


def deny_all() -> rbac.RBAC:
    """Allows what its policies name, and has none."""
    return rbac.RBAC(action=rbac.RBAC.Action.ALLOW)


def inbound_routes(access: Access) -> route.RouteConfiguration:
    """The routes of one HTTP target port: everything goes to the application, if the rules let it."""
    name = names.inbound_port(access.class_name, access.port)
    action = unlimited(route.RouteAction(cluster=name, retry_policy=stale_connection_retry()))
    made = route.RouteConfiguration(
        name=name,
        virtual_hosts=[
            route.VirtualHost(
                name=name,
                domains=["*"],
                routes=[route.Route(match=route.RouteMatch(prefix="/"), route=action)],
            )
        ],
    )
    rules = _rules(access, opaque=False)
    made.typed_per_filter_config[HTTP_RBAC].CopyFrom(packed(http_rbac.RBACPerRoute(rbac=http_rbac.RBAC(rules=rules))))
    return made


def connection_rules(access: Access) -> core.TypedExtensionConfig:
    """Who may open connections of opaque bytes to one target port."""
    name = names.inbound_port(access.class_name, access.port)
    return extension(name, network_rbac.RBAC(rules=_rules(access, opaque=True), stat_prefix="inbound."))


def _rules(access: Access, *, opaque: bool) -> rbac.RBAC:
    rules = deny_all()
    if access.everyone:
        rules.policies[_ANYONE].CopyFrom(
            rbac.Policy(permissions=[rbac.Permission(any=True)], principals=[rbac.Principal(any=True)])
        )
        return rules
    # A grant of HTTP requests is none of bytes that cannot be looked into.
    for grant in (grant for grant in access.grants if not opaque or grant.http is None):
        rules.policies[grant.name].CopyFrom(
            rbac.Policy(permissions=list(_permissions(grant)), principals=list(_principals(grant.principals)))
        )
    return rules


def _principals(identities: Iterable[WorkloadIdentity]) -> Iterable[rbac.Principal]:
    for identity in identities:
        name = matcher.StringMatcher(exact=str(identity))
        yield rbac.Principal(authenticated=rbac.Principal.Authenticated(principal_name=name))


def _permissions(grant: Grant) -> Iterable[rbac.Permission]:
    if grant.http is not None:
        yield from (_request(match) for match in grant.http)
    elif grant.ports is not None:
        yield from (rbac.Permission(destination_port=port) for port in grant.ports)
    else:
        yield rbac.Permission(any=True)


def _request(match: HTTPMatch) -> rbac.Permission:
    """Requests that `match` means, without those that only look like it to us."""
    rules = [rbac.Permission(header=header) for header in header_matchers(match)]
    if match.path_regex:
        rules.append(_path(path_regex(match.path_regex)))
        rules.append(rbac.Permission(not_rule=_path(matcher.RegexMatcher(regex=DISGUISED_PATH))))
    lookalikes = (rbac.Permission(header=header) for header in lookalike_headers(match))
    rules.extend(rbac.Permission(not_rule=lookalike) for lookalike in lookalikes)
    if not rules:
        return rbac.Permission(any=True)
    return rbac.Permission(and_rules=rbac.Permission.Set(rules=rules))


def _path(regex: matcher.RegexMatcher) -> rbac.Permission:
    return rbac.Permission(url_path=matcher.PathMatcher(path=matcher.StringMatcher(safe_regex=regex)))
