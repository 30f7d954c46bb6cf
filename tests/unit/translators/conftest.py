"""What a proxy is sent, as messages: `sent(mesh, workload)` translates, and `Sent` finds things in the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf import message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message

from deploy.configuration import Configuration
from protos.envoy.config.cluster.v3_pb2 import Cluster
from protos.envoy.config.core.v3_pb2 import TypedExtensionConfig
from protos.envoy.config.endpoint.v3_pb2 import ClusterLoadAssignment
from protos.envoy.config.listener.v3_pb2 import Filter, FilterChain, Listener
from protos.envoy.config.route.v3_pb2 import RouteConfiguration
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpConnectionManager
from protos.envoy.extensions.transport_sockets.tls.v3_pb2 import Secret
from smi.model import MeshSnapshot, WorkloadKey
from tests.unit.resolve.conftest import NS
from tests.unit.translators.scratch import configuration
from xds.resource import Resource, TypeUrl

MESSAGES: dict[TypeUrl, type[Message]] = {
    TypeUrl.CLUSTER: Cluster,
    TypeUrl.ENDPOINT: ClusterLoadAssignment,
    TypeUrl.SECRET: Secret,
    TypeUrl.EXTENSION: TypedExtensionConfig,
    TypeUrl.LISTENER: Listener,
    TypeUrl.ROUTE: RouteConfiguration,
}
MANAGER = "http"
M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Sent:
    """All resources of one proxy, decoded."""

    messages: dict[tuple[TypeUrl, str], Message]

    def names(self, type_url: TypeUrl) -> set[str]:
        return {name for kind, name in self.messages if kind is type_url}

    def listener(self, name: str) -> Listener:
        return _of(Listener, self.messages[TypeUrl.LISTENER, name])

    def cluster(self, name: str) -> Cluster:
        return _of(Cluster, self.messages[TypeUrl.CLUSTER, name])

    def endpoints(self, name: str) -> ClusterLoadAssignment:
        return _of(ClusterLoadAssignment, self.messages[TypeUrl.ENDPOINT, name])

    def routes(self, name: str) -> RouteConfiguration:
        return _of(RouteConfiguration, self.messages[TypeUrl.ROUTE, name])

    def extension(self, name: str) -> TypedExtensionConfig:
        return _of(TypedExtensionConfig, self.messages[TypeUrl.EXTENSION, name])

    def managers(self) -> list[HttpConnectionManager]:
        """Every HTTP connection manager in every listener."""
        listeners = [self.listener(name) for name in sorted(self.names(TypeUrl.LISTENER))]
        chains = [chain for listener in listeners for chain in listener.filter_chains]
        return [manager for chain in chains if (manager := manager_of(chain)) is not None]


def sent(mesh: MeshSnapshot, workload: str, namespace: str = NS) -> Sent:
    return decoded(configuration(mesh), WorkloadKey(namespace, workload))


def decoded(served: Configuration, proxy: WorkloadKey) -> Sent:
    return Sent({(each.type_url, each.name): message(each) for each in served.of_proxy(proxy)})


def message(resource: Resource) -> Message:
    return MESSAGES[resource.type_url].FromString(resource.body)


def unpacked(packed: AnyMessage, kind: type[M]) -> M:
    made = kind()
    assert packed.Unpack(made), f"{packed.type_url} is not a {kind.DESCRIPTOR.full_name}"
    return made


def manager_of(chain: FilterChain) -> HttpConnectionManager | None:
    found = [each for each in chain.filters if each.name == MANAGER]
    return unpacked(found[0].typed_config, HttpConnectionManager) if found else None


def filter_of(chain: FilterChain, name: str) -> Filter:
    return next(each for each in chain.filters if each.name == name)


def parts(root: Message) -> Iterator[Message]:
    """`root` and every message within it, also those packed as Any."""
    yield root
    for field, value in root.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        children = list(value.values()) if _is_map(field) else list(value) if field.is_repeated else [value]
        for child in children:
            if isinstance(child, Message):
                yield from parts(_open(child) if isinstance(child, AnyMessage) else child)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _open(packed: AnyMessage) -> Message:
    kind = message_factory.GetMessageClass(Default().FindMessageTypeByName(packed.TypeName()))
    return unpacked(packed, kind)


def _of(kind: type[M], found: Message) -> M:
    assert isinstance(found, kind)
    return found
