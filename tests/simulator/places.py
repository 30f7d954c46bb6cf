"""What Kubernetes knows without a mesh: names and their addresses, which pods are behind a Service, where pods are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from smi.index import MeshIndex, MeshObjects
from smi.model import WorkloadKey
from smi.objects import Service, Workload
from tests.simulator.calls import Connection
from tests.simulator.clusters import Place

OUTSIDE = "198.51.100.1"
"""Where the names of ExternalName Services lead: TEST-NET-2."""
LOOPBACK = "127.0.0.1"


class Places:
    """Read from declared Services and Workloads."""

    def __init__(self, objects: MeshIndex | MeshObjects) -> None:
        self._services = objects.services
        self._workloads = objects.workloads
        self._at: dict[str, list[WorkloadKey]] = defaultdict(list)
        for key in sorted(objects.workloads):
            self._at[objects.workloads[key].address].append(WorkloadKey(*key))

    def at(self, address: str) -> Sequence[WorkloadKey]:
        """The workloads with this address."""
        return self._at.get(address, ())

    def serves(self, key: WorkloadKey, port: int) -> bool:
        """Whether a workload may listen on `port`: one that lists no ports may do so on any."""
        ports = self._workloads[key].ports
        return not ports or any(each.port == port for each in ports)

    def local_port(self, call: Connection) -> int | None:
        """Explicit mode: the port that the source calls for a Service."""
        assert call.source is not None
        wanted = (*call.service.split("/"), call.port)
        upstreams = self._workloads[call.source].upstreams
        found = (each for each in upstreams if (each.namespace, each.service, each.port) == wanted)
        return next((each.local_port for each in found), None)

    def named(self, call: Connection) -> list[Place]:
        """What DNS says: one address of the Service, or one for each pod of a headless one. Nothing: no such name."""
        if call.address:
            return [(call.address, call.port)]
        service = self._service(call)
        if service is None or service.external_name or service.headless:
            return self.behind(call)
        return [(address, call.port) for address in service.cluster_ips[:1]]

    def behind(self, call: Connection) -> list[Place]:
        """Where calls end that nothing but Kubernetes has touched: at any pod of the Service."""
        if call.address:
            return [(call.address, call.port)]
        service = self._service(call)
        if service is None:
            return []
        if service.external_name:
            return [(OUTSIDE, call.port)]
        return sorted(set(self._targets(service, call.port)))

    def _service(self, call: Connection) -> Service | None:
        namespace, _, name = call.service.partition("/")
        return self._services.get((namespace, name))

    def _targets(self, service: Service, number: int) -> Iterator[Place]:
        port = next((each for each in service.ports if each.port == number and each.transport == "TCP"), None)
        if port is None or not service.selector:
            return
        for workload in self._workloads.values():
            selected = service.selector.items() <= workload.meta.labels.items()
            if workload.meta.namespace == service.meta.namespace and selected and workload.address:
                target = _number(workload, port.target_port)
                if target is not None:
                    yield workload.address, target


def _number(workload: Workload, target: int | str) -> int | None:
    """The port that a target port means for one workload; None if it has no port of that name."""
    if isinstance(target, int):
        return target
    return next((each.port for each in workload.ports if each.name == target), None)
