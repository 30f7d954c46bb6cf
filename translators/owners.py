"""What each thing of the mesh owns: the list of its Envoy resources. Everything else in this package makes one kind.

Each function takes frozen slices and nothing else, so that its result may be remembered by them.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message

from ca.identity import TrustDomain
from smi.model import (
    BackendPort,
    EndpointSet,
    Frontend,
    HeadlessEndpoint,
    LocalListener,
    MeshSettings,
    VirtualAddress,
    WorkloadClass,
)
from smi.objects import CaptureMode
from translators.access import connection_rules, inbound_routes
from translators.clusters import (
    application_cluster,
    blackhole_cluster,
    direct_cluster,
    other_ports_cluster,
    outbound_cluster,
    passthrough_cluster,
)
from translators.endpoints import load_assignment
from translators.gate import connection_gate
from translators.inbound import inbound_listeners
from translators.outbound import endpoint_listener, local_listener, service_listener, virtual_listener
from translators.routes import route_configuration, tcp_routing


def mesh_resources() -> Iterator[Message]:
    """What every proxy needs."""
    yield passthrough_cluster()
    yield blackhole_cluster()


def capture_resources(settings: MeshSettings) -> Iterator[Message]:
    """What every transparent proxy needs: the listener behind the redirect."""
    yield virtual_listener(settings.egress)


def backend_resources(backend: BackendPort, trust_domain: TrustDomain) -> Iterator[Message]:
    """A service port as something to send to, without its endpoints."""
    yield outbound_cluster(backend, trust_domain)
    if backend.headless:
        yield direct_cluster(backend, trust_domain)


def endpoint_resources(endpoints: EndpointSet) -> Iterator[Message]:
    """Where a service port is served: on a path of its own, since nothing changes as often."""
    yield load_assignment(endpoints)


def frontend_resources(frontend: Frontend) -> Iterator[Message]:
    """A service port as something that is called: where its calls go."""
    if frontend.protocol.is_http:
        yield route_configuration(frontend)
    else:
        yield tcp_routing(frontend)


def address_resources(address: VirtualAddress) -> Iterator[Message]:
    """The listener of a service port for transparent proxies."""
    yield service_listener(address)


def headless_resources(endpoint: HeadlessEndpoint) -> Iterator[Message]:
    """The listener of one endpoint of a headless service for transparent proxies."""
    yield endpoint_listener(endpoint)


def local_resources(listeners: tuple[LocalListener, ...]) -> Iterator[Message]:
    """The listeners of one explicit proxy."""
    yield from map(local_listener, listeners)


def class_resources(found: WorkloadClass) -> Iterator[Message]:
    """The inbound side of a workload class, without its access tables."""
    yield from inbound_listeners(found.listener)
    yield from map(application_cluster, found.listener.ports)
    if found.listener.capture is CaptureMode.TRANSPARENT:
        yield other_ports_cluster(found.name)


def access_resources(found: WorkloadClass) -> Iterator[Message]:
    """Who may use the ports of a workload class."""
    for access in found.access:
        if access.protocol.is_http:
            yield inbound_routes(access)
        yield connection_rules(access)
        if not access.protocol.is_http:
            port = next((port for port in found.listener.ports if port.port == access.port), None)
            yield connection_gate(access, port)
