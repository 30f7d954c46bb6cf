"""Paths in disguise: whether the path of a request could be read in two ways is found out once, before any rule.

Rules that name a path ask for the answer, so the long expression stands once in a listener and not beside each path.
RBAC's shadow rules decide nothing, and leave what they would have decided in the request's metadata. Sources:
Envoy's HTTP filter `rbac` (`shadow_rules`, dynamic metadata `shadow_engine_result`), `smi.paths`.
"""

from __future__ import annotations

from protos.envoy.config.rbac import v3_pb2 as rbac
from protos.envoy.extensions.filters.http.rbac import v3_pb2 as http_rbac
from protos.envoy.extensions.filters.network.http_connection_manager import v3_pb2 as hcm
from protos.envoy.type.matcher import v3_pb2 as matcher
from smi.paths import DISGUISED_PATH
from translators.packing import packed

DISGUISES = "disguises"
"""The name of the filter."""
_PLAIN = "allowed"


def disguise_filter() -> hcm.HttpFilter:
    """The filter that finds out. It lets everything pass."""
    regex = matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=DISGUISED_PATH))
    disguised = rbac.Permission(url_path=matcher.PathMatcher(path=regex))
    plain = rbac.Policy(permissions=[rbac.Permission(not_rule=disguised)], principals=[rbac.Principal(any=True)])
    made = http_rbac.RBAC(shadow_rules=rbac.RBAC(policies={"plain": plain}))
    return hcm.HttpFilter(name=DISGUISES, typed_config=packed(made))


def plain_path() -> rbac.Permission:
    """Requests whose path can be read in one way only. Where nobody has found out, there are none."""
    return rbac.Permission(
        metadata=matcher.MetadataMatcher(
            filter="envoy.filters.http.rbac",
            path=[matcher.MetadataMatcher.PathSegment(key="shadow_engine_result")],
            value=matcher.ValueMatcher(string_match=matcher.StringMatcher(exact=_PLAIN)),
        )
    )
