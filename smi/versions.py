"""The one place that knows which kinds exist, in which API groups and versions, and what decodes each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from smi.decode_access import TRAFFIC_TARGETS, decode_traffic_target
from smi.decode_config import decode_mesh_config
from smi.decode_core import decode_namespace, decode_service, decode_service_account
from smi.decode_specs import (
    HTTP_ROUTE_GROUPS,
    TCP_ROUTES,
    decode_http_route_group,
    decode_tcp_route,
    decode_udp_route,
)
from smi.decode_split import TRAFFIC_SPLITS, decode_traffic_split
from smi.decode_workload import decode_workload
from smi.fields import Fields
from smi.names import is_label, is_subdomain
from smi.objects import MeshObject, Meta

Decoder = Callable[[Fields, Meta], MeshObject | None]
"""Gets the root of a document whose metadata was read; gives the object, or None when it cannot be in force."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of one API group ("" is Kubernetes' core group).

    `decoders` maps each accepted version to what reads it, the newest first. `has_namespace` is False for kinds of the
    whole cluster. `valid_name` is the rule for the object's name.
    """

    group: str
    name: str
    decoders: Mapping[str, Decoder]
    has_namespace: bool = True
    valid_name: Callable[[str], bool] = is_subdomain

    @property
    def accepted(self) -> str:
        """The accepted values of apiVersion, for people."""
        newest, *older = self.decoders
        text = f"{self.group}/{newest}".removeprefix("/")
        return f"{text} or {', '.join(older)}" if older else text


def _each(decode: Callable[..., MeshObject | None], shapes: Mapping[str, Any]) -> Mapping[str, Decoder]:
    """One decoder for every version, told what shape the version has."""
    return {version: partial(decode, shape=shape) for version, shape in shapes.items()}


KINDS = (
    Kind("", "Namespace", {"v1": decode_namespace}, has_namespace=False, valid_name=is_label),
    Kind("", "ServiceAccount", {"v1": decode_service_account}),
    Kind("", "Service", {"v1": decode_service}, valid_name=is_label),
    Kind("tulle.dev", "Workload", {"v1alpha1": decode_workload}),
    Kind("tulle.dev", "MeshConfig", {"v1alpha1": decode_mesh_config}, has_namespace=False),
    Kind("split.smi-spec.io", "TrafficSplit", _each(decode_traffic_split, TRAFFIC_SPLITS)),
    Kind("access.smi-spec.io", "TrafficTarget", _each(decode_traffic_target, TRAFFIC_TARGETS)),
    Kind("specs.smi-spec.io", "HTTPRouteGroup", _each(decode_http_route_group, HTTP_ROUTE_GROUPS)),
    Kind("specs.smi-spec.io", "TCPRoute", _each(decode_tcp_route, TCP_ROUTES)),
    Kind("specs.smi-spec.io", "UDPRoute", {"v1alpha4": decode_udp_route}),
)

NOT_BUILT = frozenset({("access.smi-spec.io", "IdentityBinding")})
"""Kinds of SMI that exist and are not acted on."""

DRAFTS = frozenset(
    {("access.smi-spec.io", "v1alpha4"), ("specs.smi-spec.io", "v1alpha5"), ("split.smi-spec.io", "v1alpha5")}
)
"""Versions that the specification drafted and never released."""

_BY_KEY = {(kind.group, kind.name): kind for kind in KINDS}


def find_kind(group: str, name: str) -> Kind | None:
    """The kind `name` of an API group; None when it is not read."""
    return _BY_KEY.get((group, name))
