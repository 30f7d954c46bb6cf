"""What people declared, as tables that cells read, with the reverse indexes by which cells find each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ca.identity import TrustDomain
from smi.index import Key, MeshIndex, ObjectChange
from smi.objects import (
    CaptureMode,
    HTTPRouteGroup,
    MeshConfig,
    Namespace,
    Service,
    TCPRoute,
    TrafficSplit,
    TrafficTarget,
    UDPRoute,
    Workload,
)
from smi.resolve.cells import Graph, Members, Source

LABELS_OF_ONE_POD = frozenset(
    {
        "pod-template-hash",
        "controller-revision-hash",
        "pod-template-generation",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
    }
)
"""Labels that controllers set to tell pods or revisions apart."""
LOOPBACK = "127.0.0.1"

_Entry = tuple[Members[Any, Key], Any]
"""A set of a reverse index that an object is a member of."""


class Declared:
    """The declared objects of an index. `config` is read without being written down: all cells depend on it."""

    def __init__(self, graph: Graph, index: MeshIndex) -> None:
        self.configure(index.config)
        self.namespaces: Source[str, Namespace] = Source(graph, index.namespaces)
        self.services: Source[Key, Service] = Source(graph, index.services)
        self.workloads: Source[Key, Workload] = Source(graph, index.workloads)
        self.traffic_splits: Source[Key, TrafficSplit] = Source(graph, index.traffic_splits)
        self.traffic_targets: Source[Key, TrafficTarget] = Source(graph, index.traffic_targets)
        self.http_route_groups: Source[Key, HTTPRouteGroup] = Source(graph, index.http_route_groups)
        self.tcp_routes: Source[Key, TCPRoute] = Source(graph, index.tcp_routes)
        self.udp_routes: Source[Key, UDPRoute] = Source(graph, index.udp_routes)
        self.workloads_by_label: Members[tuple[str, str, str], Key] = Members(graph)
        """By (namespace, label, value)."""
        self.services_by_label: Members[tuple[str, str, str], Key] = Members(graph)
        """By (namespace, label, value) of the first label of the selector."""
        self.services_by_namespace: Members[str, Key] = Members(graph)
        self.services_by_pod_label: Members[str, Key] = Members(graph)
        """Those that select on one of `LABELS_OF_ONE_POD`, by its name."""
        self.services_by_address: Members[tuple[str, int], Key] = Members(graph)
        """By (virtual address, port)."""
        self.workloads_by_port: Members[tuple[str, str, int], Key] = Members(graph)
        """Explicit mode, by (host, address, port): who wants to listen there."""
        self.splits_by_root: Members[Key, Key] = Members(graph)
        self.targets_by_destination: Members[Key, Key] = Members(graph)
        self._sources: dict[str, Source[Any, Any]] = {
            "Namespace": self.namespaces,
            "Service": self.services,
            "Workload": self.workloads,
            "TrafficSplit": self.traffic_splits,
            "TrafficTarget": self.traffic_targets,
            "HTTPRouteGroup": self.http_route_groups,
            "TCPRoute": self.tcp_routes,
            "UDPRoute": self.udp_routes,
        }

    def configure(self, config: MeshConfig) -> None:
        """From now on `config` holds. Raises IdentityError for a trust domain that is none."""
        self.config = config
        self.trust_domain = TrustDomain(config.trust_domain)

    def take(self, change: ObjectChange) -> None:
        """An object has changed in the index: tell whoever depends on it."""
        source = self._sources.get(change.kind)
        if source is None:
            return  # a ServiceAccount says nothing that the mesh depends on; MeshConfig is the model's business
        if change.old is None:
            for members, key in self._entries(change.new):
                members.add(key, change.key)
        else:
            old = tuple(self._entries(change.old))
            new = () if change.new is None else tuple(self._entries(change.new))
            for members, key in old:
                if (members, key) not in new:
                    members.discard(key, change.key)
            for members, key in new:
                if (members, key) not in old:
                    members.add(key, change.key)
        source.changed(change.key, change.old, change.new)

    def _entries(self, one: Any) -> Iterator[_Entry]:
        if isinstance(one, Workload):
            return self._of_workload(one)
        if isinstance(one, Service):
            return self._of_service(one)
        if isinstance(one, TrafficSplit):
            return iter([(self.splits_by_root, (one.meta.namespace, one.service))])
        if isinstance(one, TrafficTarget):
            return iter([(self.targets_by_destination, (one.destination.namespace, one.destination.name))])
        return iter(())

    def _of_workload(self, workload: Workload) -> Iterator[_Entry]:
        namespace = workload.meta.namespace
        for label in workload.meta.labels.items():
            yield self.workloads_by_label, (namespace, *label)
        if workload.capture is CaptureMode.EXPLICIT and workload.sidecar:
            for place in ports_wanted(workload):
                yield self.workloads_by_port, place

    def _of_service(self, service: Service) -> Iterator[_Entry]:
        namespace = service.meta.namespace
        yield self.services_by_namespace, namespace
        if service.external_name:
            return
        if service.selector:
            yield self.services_by_label, (namespace, *min(service.selector.items()))
        for label in service.selector:
            if label in LABELS_OF_ONE_POD:
                yield self.services_by_pod_label, label
        for address in service.cluster_ips:
            for port in service.ports:
                if port.transport == "TCP":
                    yield self.services_by_address, (address, port.port)


def ports_wanted(workload: Workload) -> Iterator[tuple[str, str, int]]:
    """Where an explicit workload's sidecar would listen, as (host, address, port). One address is one host."""
    for port in workload.ports:
        yield workload.address, workload.address, port.port
    for upstream in workload.upstreams:
        yield workload.address, LOOPBACK, upstream.local_port
