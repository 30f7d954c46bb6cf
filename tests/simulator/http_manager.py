"""An HTTP connection manager: how it changes a request, and the rules that it asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from protos.envoy.extensions.filters.http.header_mutation.v3_pb2 import HeaderMutation
from protos.envoy.extensions.filters.http.rbac import v3_pb2 as http_rbac
from protos.envoy.extensions.filters.http.router.v3_pb2 import Router
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpConnectionManager
from tests.simulator import paths, rbac
from tests.simulator.asked import Asked
from tests.simulator.headers import Cleaning, cleaning
from tests.simulator.matching import Test
from tests.simulator.strictness import NotUnderstoodError, is_a, only, same, unpacked

_KEEP = (HttpConnectionManager.IMPLEMENTATION_SPECIFIC_DEFAULT, HttpConnectionManager.KEEP_UNCHANGED)


@dataclass(frozen=True, slots=True)
class Manager:
    """`routes`: the name of an RDS resource, or the bytes of routes of its own. `rules`: by name of the filter, what
    holds unless routes bring others; None lets everything pass. `cleaning`: by name of the filter, what is done to
    headers before that, to which routes add. `shadow`: shadow rules, which come before the rules and decide nothing.
    """

    routes: str | bytes
    rules: tuple[tuple[str, Test | None], ...]
    cleaning: tuple[tuple[str, Cleaning], ...]
    shadow: Test | None
    canonical: bool
    merge_slashes: bool
    unescape_slashes: bool

    def shadowed(self, asked: Asked) -> Asked:
        """The request with what shadow rules find."""
        if self.shadow is None:
            return asked
        return replace(asked, shadowed="allowed" if self.shadow(asked) else "denied")

    def normalised(self, asked: Asked) -> Asked:
        """The request as its filters and routes see it. Raises BadPathError."""
        if not (self.canonical or self.merge_slashes or self.unescape_slashes):
            return asked
        path = paths.normalised(
            asked.path,
            unescape_slashes=self.unescape_slashes,
            canonical=self.canonical,
            merge_slashes=self.merge_slashes,
        )
        return asked if path == asked.path else replace(asked, path=path)


@lru_cache(maxsize=1 << 14)
def manager(body: bytes) -> Manager:
    """What an HttpConnectionManager, as it is sent, means."""
    made = HttpConnectionManager.FromString(body)
    only(
        made,
        *("rds", "route_config", "http_filters"),
        *("normalize_path", "merge_slashes", "path_with_escaped_slashes_action"),
        # What is logged and counted, limits, ages and forms of HTTP, what the other side is told of the client.
        *("stat_prefix", "access_log", "common_http_protocol_options", "http_protocol_options"),
        *("server_header_transformation", "stream_idle_timeout", "proxy_100_continue", "skip_xff_append"),
        *("upgrade_configs", "forward_client_cert_details", "set_current_client_cert_details"),
    )
    only(made.common_http_protocol_options, "max_headers_count")
    only(made.http_protocol_options, "accept_http_10", "enable_trailers", "default_host_for_http_10")
    for upgrade in made.upgrade_configs:
        only(upgrade, "upgrade_type")
        same("upgrade_type", upgrade.upgrade_type, "websocket")
    same("slashes", made.path_with_escaped_slashes_action, *_KEEP, HttpConnectionManager.UNESCAPE_AND_FORWARD)
    *filters, router = made.http_filters
    only(router, "name", "typed_config")
    only(unpacked(router.typed_config, Router), "suppress_envoy_headers")
    rules: list[tuple[str, Test | None]] = []
    cleaned: list[tuple[str, Cleaning]] = []
    shadow: Test | None = None
    for each in filters:
        only(each, "name", "typed_config")
        if is_a(each.typed_config, HeaderMutation) and not rules:
            mutation = unpacked(each.typed_config, HeaderMutation)
            only(mutation, "mutations")
            cleaned.append((each.name, cleaning(mutation.mutations)))
            continue
        if not is_a(each.typed_config, http_rbac.RBAC):
            raise NotUnderstoodError(f"HTTP filter {each.typed_config.type_url}")
        base = unpacked(each.typed_config, http_rbac.RBAC)
        if base.HasField("shadow_rules") and shadow is None and not rules:
            only(base, "shadow_rules")
            shadow = rbac.compiled(base.shadow_rules)
            continue
        only(base, "rules")
        rules.append((each.name, rbac.compiled(base.rules) if base.HasField("rules") else None))
    return Manager(
        routes=made.rds.route_config_name or made.route_config.SerializeToString(deterministic=True),
        rules=tuple(rules),
        cleaning=tuple(cleaned),
        shadow=shadow,
        canonical=made.normalize_path.value,
        merge_slashes=made.merge_slashes,
        unescape_slashes=made.path_with_escaped_slashes_action == HttpConnectionManager.UNESCAPE_AND_FORWARD,
    )
