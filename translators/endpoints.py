"""Endpoints of service ports."""

from __future__ import annotations

from google.protobuf.struct_pb2 import Struct, Value

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.endpoint import v3_pb2 as endpoint
from smi.model import EndpointSet
from translators import names

PLAIN = Struct(fields={"tulle.dev/plain": Value(bool_value=True)})
"""What endpoints without a sidecar say of themselves. Those that say nothing are spoken to in mesh mTLS."""
_PLAIN_ENDPOINT = core.Metadata(filter_metadata={"envoy.transport_socket_match": PLAIN})


def load_assignment(endpoints: EndpointSet) -> endpoint.ClusterLoadAssignment:
    """The endpoints of a service port; each that does not speak mesh mTLS says so by its metadata."""
    made = endpoint.ClusterLoadAssignment(cluster_name=names.outbound(endpoints.key))
    if not endpoints.endpoints:
        return made
    hosts = made.endpoints.add().lb_endpoints
    for one in endpoints.endpoints:
        host = hosts.add()
        address = host.endpoint.address.socket_address
        address.address = one.address
        address.port_value = one.port
        if not one.in_mesh:
            host.metadata.CopyFrom(_PLAIN_ENDPOINT)
    return made
