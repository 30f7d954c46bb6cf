"""The mesh model: small frozen slices, each all that one Envoy resource depends on.

The shape between SMI and Envoy is: a frontend (service port) has ordered rules, each with weighted backends; access is
a separate table of grants, keyed by workload class and target port. Nothing in here knows Envoy.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ca.identity import TrustDomain, WorkloadIdentity
from smi.diagnostics import Diagnostic
from smi.objects import Allowance, CaptureMode, HTTPMatch, MtlsMode
from smi.protocol import Protocol


class PortKey(NamedTuple):
    """Names a TCP port of a Service."""

    namespace: str
    service: str
    port: int

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}/{self.port}"


class WorkloadKey(NamedTuple):
    """Names a workload."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Endpoint(NamedTuple):
    """Where a service port is served. `in_mesh`: a sidecar is there, so the connection is mutual TLS."""

    address: str
    port: int
    in_mesh: bool


@dataclass(frozen=True, slots=True)
class EndpointSet:
    """The endpoints of a service port, sorted, without duplicates."""

    key: PortKey
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class BackendPort:
    """A service port as something to send to: how to speak to it, and who may answer. `plain`: some of its endpoints
    may be without a sidecar.
    """

    key: PortKey
    protocol: Protocol
    identities: tuple[WorkloadIdentity, ...]
    headless: bool
    plain: bool = False


@dataclass(frozen=True, slots=True)
class WeightedPort:
    """A backend of a rule. Weights of a rule are relative; each is at least 1."""

    key: PortKey
    weight: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests that match one of `matches` (all requests, where it is empty) go to `backends`; to none: they fail."""

    backends: tuple[WeightedPort, ...]
    matches: tuple[HTTPMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Frontend:
    """A service port as something that is called: ordered rules, of which the last has no matches."""

    key: PortKey
    protocol: Protocol
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class VirtualAddress:
    """The addresses on which a transparent sidecar serves a frontend."""

    key: PortKey
    protocol: Protocol
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeadlessEndpoint:
    """One endpoint of a headless service port, which clients call by its own address; or may not, if `refused`."""

    key: PortKey
    protocol: Protocol
    endpoint: Endpoint
    refused: bool = False


@dataclass(frozen=True, slots=True)
class LocalListener:
    """Explicit mode: `address`:`port` on the client's host stands for a frontend."""

    address: str
    port: int
    key: PortKey
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class InboundPort:
    """A target port of a workload class. Explicit mode forwards to 127.0.0.1:`app_port`, else where it was sent."""

    class_name: str
    port: int
    protocol: Protocol
    capture: CaptureMode
    app_port: int | None = None


@dataclass(frozen=True, slots=True)
class InboundListener:
    """What a workload class listens on. Explicit mode: at `address`; transparent: behind the redirect."""

    class_name: str
    capture: CaptureMode
    address: str
    mtls: MtlsMode
    ports: tuple[InboundPort, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """What one TrafficTarget allows on one target port.

    `principals`: who (never empty). `http`: which requests; None means any bytes, HTTP or not. `ports`: for the
    ports that no Service names, which of them; None means all.
    """

    name: str
    principals: tuple[WorkloadIdentity, ...]
    http: tuple[HTTPMatch, ...] | None = None
    ports: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use one target port of a workload class. `port` None: all ports that no Service names.

    `everyone` is the permissive policy. Otherwise what no grant allows is denied.
    """

    class_name: str
    port: int | None
    protocol: Protocol
    everyone: bool
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class WorkloadClass:
    """All workloads whose inbound side is equal."""

    name: str
    identity: WorkloadIdentity
    listener: InboundListener
    access: tuple[Access, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """The outbound scope of proxies: which frontends, and which backends those lead to. Equal scopes are one.

    `name` is derived from what was declared; `transparent` scopes hold listeners at virtual addresses.
    """

    name: str
    transparent: bool
    frontends: frozenset[PortKey]
    backends: frozenset[PortKey]


@dataclass(frozen=True, slots=True)
class ProxyModel:
    """What one sidecar gets: its class, its scope, and in explicit mode its local listeners."""

    key: WorkloadKey
    identity: WorkloadIdentity
    class_name: str
    capture: CaptureMode
    reach: str
    local: tuple[LocalListener, ...] = ()


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """Mesh-wide settings that resources depend on."""

    trust_domain: TrustDomain
    egress: Allowance = Allowance.ALLOW


class Mesh(typing.Protocol):
    """A mesh model to look into, whether it goes on following changes or stands still."""

    @property
    def settings(self) -> MeshSettings: ...
    @property
    def certificate_lifetime(self) -> float: ...
    @property
    def backends(self) -> Mapping[PortKey, BackendPort]: ...
    @property
    def endpoints(self) -> Mapping[PortKey, EndpointSet]: ...
    @property
    def frontends(self) -> Mapping[PortKey, Frontend]: ...
    @property
    def addresses(self) -> Mapping[PortKey, VirtualAddress]: ...
    @property
    def classes(self) -> Mapping[str, WorkloadClass]: ...
    @property
    def proxies(self) -> Mapping[WorkloadKey, ProxyModel]: ...


@dataclass(frozen=True, slots=True)
class MeshSnapshot:
    """The whole mesh model at one moment, and everything that is wrong with what it was made from."""

    settings: MeshSettings
    certificate_lifetime: float
    backends: Mapping[PortKey, BackendPort] = field(default_factory=dict)
    endpoints: Mapping[PortKey, EndpointSet] = field(default_factory=dict)
    frontends: Mapping[PortKey, Frontend] = field(default_factory=dict)
    addresses: Mapping[PortKey, VirtualAddress] = field(default_factory=dict)
    headless: Mapping[PortKey, tuple[HeadlessEndpoint, ...]] = field(default_factory=dict)
    classes: Mapping[str, WorkloadClass] = field(default_factory=dict)
    reaches: Mapping[str, Reach] = field(default_factory=dict)
    proxies: Mapping[WorkloadKey, ProxyModel] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
