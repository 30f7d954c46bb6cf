"""One proxy: the resources it is sent, read when they are needed, and the network filters that come by ECDS."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.any_pb2 import Any as AnyMessage

from protos.envoy.config.core.v3_pb2 import TypedExtensionConfig
from protos.envoy.extensions.filters.network.rbac import v3_pb2 as network_rbac
from protos.envoy.extensions.filters.network.set_filter_state.v3_pb2 import Config as SetFilterState
from protos.envoy.extensions.filters.network.tcp_proxy.v3_pb2 import ON_DOWNSTREAM_TLS_HANDSHAKE, TcpProxy
from smi.model import WorkloadKey
from tests.simulator import clusters, gate, rbac
from tests.simulator.calls import ONE
from tests.simulator.clusters import Host, Place, Plan
from tests.simulator.gate import Gate
from tests.simulator.http_manager import Manager
from tests.simulator.listeners import Discovered, Door, door
from tests.simulator.matching import Test
from tests.simulator.routes import Routes, Weights, routes, shared
from tests.simulator.strictness import BrokenError, NotUnderstoodError, is_a, only, unpacked
from xds.resource import Resource, TypeUrl

_ANYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Connections:
    """A network filter that lets connections pass, or cuts them."""

    allowed: Test


@dataclass(frozen=True, slots=True)
class Gated:
    """A network filter that chooses the address behind it."""

    address: Gate


@dataclass(frozen=True, slots=True)
class Bytes:
    """A TCP proxy. `patient`: it waits for the TLS handshake before it chooses an address."""

    clusters: Weights
    patient: bool


class Proxy:
    """`identity` is the SPIFFE ID in its certificate, which is no part of these resources."""

    def __init__(self, key: WorkloadKey, identity: str, resources: list[Resource]) -> None:
        self.key = key
        self.identity = identity
        self._bodies = {(each.type_url, each.name): each.body for each in resources}
        self.doors = [door(each.body) for each in resources if each.type_url is TypeUrl.LISTENER]
        self._by_place: dict[Place, Door] = {}
        for each in self.doors:
            for place in each.places:
                if self._by_place.setdefault(place, each) is not each:
                    raise BrokenError(f"{key}: {each.name} and {self._by_place[place].name} both listen at {place}")

    @property
    def virtual(self) -> Door | None:
        """The listener that a redirect leads what the application sends to."""
        return next((each for each in self.doors if each.outbound and each.hands_over and each.sees_original), None)

    def bound(self, place: Place) -> Door | None:
        """The listener that is bound at `place`."""
        found = self._by_place.get(place)
        return found if found is not None and found.bound else None

    def captured(self) -> Door | None:
        """The listener that a redirect leads to what arrives from outside."""
        found = [each for each in self.doors if not each.outbound and each.bound and each.sees_original]
        if len(found) > 1:
            raise BrokenError(f"{self.key} has {len(found)} listeners for one redirect")
        return found[0] if found else None

    def handed(self, place: Place) -> Door | None:
        """The listener that a restored destination is handed to: the one of the place, or of its port at any."""
        wildcard = _ANYWHERE[":" in place[0]], place[1]
        return self._by_place.get(place) or self._by_place.get(wildcard)

    def plan(self, name: str) -> Plan:
        return clusters.plan(self._body(TypeUrl.CLUSTER, name))

    def hosts(self, plan: Plan) -> tuple[Host, ...]:
        """The endpoints of an EDS cluster."""
        return clusters.hosts(self._body(TypeUrl.ENDPOINT, plan.name), plan)

    def routes(self, manager: Manager) -> Routes:
        if isinstance(manager.routes, bytes):
            return routes(manager.routes)
        return routes(self._body(TypeUrl.ROUTE, manager.routes))

    def network_filter(self, found: Discovered | AnyMessage) -> Connections | Gated | Bytes:
        if isinstance(found, AnyMessage):
            return _network_filter(found.type_url, found.value)
        extension = TypedExtensionConfig.FromString(self._body(TypeUrl.EXTENSION, found.name))
        only(extension, "name", "typed_config")
        if extension.typed_config.type_url not in found.types:
            raise BrokenError(f"{found.name} is not among {found.types}")
        return _network_filter(extension.typed_config.type_url, extension.typed_config.value)

    def _body(self, type_url: TypeUrl, name: str) -> bytes:
        try:
            return self._bodies[type_url, name]
        except KeyError:
            raise BrokenError(f"{self.key} is not sent the {type_url.name.lower()} {name}") from None


@lru_cache(maxsize=1 << 14)
def _network_filter(type_url: str, body: bytes) -> Connections | Gated | Bytes:
    packed = AnyMessage(type_url=type_url, value=body)
    if is_a(packed, SetFilterState):
        return Gated(gate.compiled(unpacked(packed, SetFilterState)))
    if is_a(packed, network_rbac.RBAC):
        rules = unpacked(packed, network_rbac.RBAC)
        only(rules, "rules", "stat_prefix")
        # Without rules the filter does nothing.
        return Connections(rbac.compiled(rules.rules) if rules.HasField("rules") else lambda _: True)
    return _tcp_proxy(unpacked(packed, TcpProxy))


def _tcp_proxy(proxy: TcpProxy) -> Bytes:
    only(
        proxy,
        *("cluster", "weighted_clusters", "upstream_connect_mode"),
        # Counted, and limits of time and number.
        *("stat_prefix", "access_log", "idle_timeout", "max_connect_attempts", "max_early_data_bytes"),
    )
    patient = proxy.upstream_connect_mode == ON_DOWNSTREAM_TLS_HANDSHAKE
    if proxy.WhichOneof("cluster_specifier") == "weighted_clusters":
        only(proxy.weighted_clusters, "clusters")
        for each in proxy.weighted_clusters.clusters:
            only(each, "name", "weight")
        return Bytes(shared((each.name, each.weight) for each in proxy.weighted_clusters.clusters), patient)
    if not proxy.cluster:
        raise NotUnderstoodError("a TCP proxy to nowhere")
    return Bytes(((proxy.cluster, ONE),), patient)
