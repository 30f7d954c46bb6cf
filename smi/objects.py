"""The objects people declare, as frozen values: exactly the words of SMI and of Kubernetes.

Decoding normalises them (defaults filled in, headers in one form, weights as whole numbers), so that nothing behind
it knows about API versions. Lists that have no order of their own keep the order in which they were written.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from smi.diagnostics import Location, ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What every object has. `created` is RFC 3339 text or empty: it orders objects that claim the same thing.

    Where it is written is no part of the value: an object that moved in its file is the same.
    """

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    location: Location | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshObject:
    """Base of all kinds: the class name is the kind."""

    meta: Meta

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(type(self).__name__, self.meta.namespace, self.meta.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace(MeshObject):
    """A Kubernetes Namespace (its own `meta.namespace` is empty)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount(MeshObject):
    """A Kubernetes ServiceAccount."""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service. `target_port` is a number, or the name of a workload port; it defaults to `port`."""

    name: str
    port: int
    target_port: int | str
    transport: str = "TCP"
    app_protocol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(MeshObject):
    """A Kubernetes Service. `cluster_ips` is empty for headless services and where none was given."""

    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)
    cluster_ips: tuple[str, ...] = ()
    headless: bool = False
    external_name: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadPort:
    """A port that a workload serves. With `app_port`, the sidecar has `port` and forwards to 127.0.0.1:app_port."""

    name: str
    port: int
    app_port: int | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """Explicit mode: port `port` of a Service is reached by the application on 127.0.0.1:`local_port`."""

    namespace: str
    service: str
    port: int
    local_port: int


class CaptureMode(enum.StrEnum):
    """How an application's traffic reaches its sidecar: through declared local ports, or by a redirect."""

    EXPLICIT = "explicit"
    TRANSPARENT = "transparent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload(MeshObject):
    """`tulle.dev/v1alpha1` Workload: one process (or pod) with an address."""

    service_account: str = "default"
    address: str = ""
    ports: tuple[WorkloadPort, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    sidecar: bool = True
    capture: CaptureMode = CaptureMode.TRANSPARENT


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend of a TrafficSplit: a Service of the split's namespace and its relative weight, 0 or more."""

    service: str
    weight: int


@dataclass(frozen=True, slots=True)
class MatchRef:
    """Names an HTTPRouteGroup in a TrafficSplit's `matches`."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSplit(MeshObject):
    """SMI TrafficSplit. `service` is the root service, in the object's namespace."""

    service: str
    backends: tuple[Backend, ...]
    matches: tuple[MatchRef, ...] = ()


@dataclass(frozen=True, slots=True)
class HTTPMatch:
    """One match of an HTTPRouteGroup. Empty `path_regex`: any path. Empty `methods`: any method, as for `*`.

    `headers` are (lower-case name, RE2 pattern with search semantics) and all of them must match.
    """

    name: str
    path_regex: str = ""
    methods: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteGroup(MeshObject):
    """SMI HTTPRouteGroup. Matches whose regexes RE2 refuses are left out by decoding, with a diagnostic."""

    matches: tuple[HTTPMatch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TCPRoute(MeshObject):
    """SMI TCPRoute. Empty `ports`: every port."""

    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UDPRoute(MeshObject):
    """SMI UDPRoute. Empty `ports`: every port. Known and shown, and not enforced by sidecars."""

    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """A source or destination of a TrafficTarget. `namespace` is filled in by decoding."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class AccessRule:
    """A rule of a TrafficTarget: a route of the object's namespace. `matches` None: every match of the group."""

    kind: str
    name: str
    matches: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficTarget(MeshObject):
    """SMI TrafficTarget. It has all its rules, also those of kind UDPRoute, which grant nothing.

    `port` limits every rule to that Service port or target port. `ruleless`: it was written without rules in a
    version where that is allowed, and grants everything if MeshConfig says so.
    """

    destination: Subject
    rules: tuple[AccessRule, ...]
    sources: tuple[Subject, ...]
    port: int | None = None
    ruleless: bool = False


class TrafficPolicy(enum.StrEnum):
    """`smi`: what no TrafficTarget allows is denied. `permissive`: everything is allowed."""

    SMI = "smi"
    PERMISSIVE = "permissive"


class MtlsMode(enum.StrEnum):
    """`strict`: only mesh mTLS is accepted. `permissive`: plaintext and foreign TLS too."""

    STRICT = "strict"
    PERMISSIVE = "permissive"


class Allowance(enum.StrEnum):
    """The value of `egress`, `plaintextUpstreams` and `emptyRules`."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class ForeignDomain:
    """A trust domain that the mesh believes beside its own: `roots`, PEM, one each, speak for it and no other."""

    trust_domain: str
    roots: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshConfig(MeshObject):
    """`tulle.dev/v1alpha1` MeshConfig, name `default`: the mesh-wide settings. Durations are seconds."""

    trust_domain: str = "cluster.local"
    traffic_policy: TrafficPolicy = TrafficPolicy.SMI
    mtls: MtlsMode = MtlsMode.STRICT
    egress: Allowance = Allowance.ALLOW
    plaintext_upstreams: Allowance = Allowance.ALLOW
    empty_rules: Allowance = Allowance.DENY
    certificate_lifetime: float = 86400.0
    federation: tuple[ForeignDomain, ...] = ()
