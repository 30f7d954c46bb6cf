"""What Envoy asks for because of a cluster or a listener."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from google.protobuf.message import Message

from protos.envoy.config.cluster.v3_pb2 import Cluster
from protos.envoy.config.listener.v3_pb2 import Listener
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpConnectionManager
from xds.resource import TypeUrl

M = TypeVar("M", bound=Message)


def references(type_url: str, body: bytes) -> tuple[tuple[str, str], ...]:
    """Types and names of the resources that an encoded cluster or listener names; of other types, none."""
    if type_url == TypeUrl.CLUSTER:
        cluster = _read(Cluster(), body)
        if cluster.type == Cluster.EDS:
            return ((TypeUrl.ENDPOINT, cluster.eds_cluster_config.service_name or cluster.name),)
    if type_url == TypeUrl.LISTENER:
        return tuple(_of_listener(_read(Listener(), body)))
    return ()


def _of_listener(listener: Listener) -> Iterator[tuple[str, str]]:
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        for one in chain.filters:
            if one.HasField("config_discovery"):
                yield TypeUrl.EXTENSION, one.name
            elif one.typed_config.Is(HttpConnectionManager.DESCRIPTOR):  # type: ignore[arg-type]
                manager = _read(HttpConnectionManager(), one.typed_config.value)
                if manager.HasField("rds"):
                    yield TypeUrl.ROUTE, manager.rds.route_config_name


def _read(message: M, data: bytes) -> M:
    message.ParseFromString(data)
    return message
