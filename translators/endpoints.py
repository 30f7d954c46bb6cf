"""Endpoints of service ports."""

from __future__ import annotations

from google.protobuf.struct_pb2 import Struct

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.config.endpoint import v3_pb2 as endpoint
from smi.model import Endpoint, EndpointSet
from translators import names
from translators.packing import socket_address

IN_MESH = "tulle.dev/in-mesh"
_SOCKET_MATCH = "envoy.transport_socket_match"


def load_assignment(endpoints: EndpointSet) -> endpoint.ClusterLoadAssignment:
    """The endpoints of a service port; each says by its metadata whether it speaks mesh mTLS."""
    return endpoint.ClusterLoadAssignment(
        cluster_name=names.outbound(endpoints.key),
        endpoints=[endpoint.LocalityLbEndpoints(lb_endpoints=[_lb_endpoint(one) for one in endpoints.endpoints])]
        if endpoints.endpoints
        else [],
    )


def _lb_endpoint(one: Endpoint) -> endpoint.LbEndpoint:
    made = endpoint.LbEndpoint(endpoint=endpoint.Endpoint(address=socket_address(one.address, one.port)))
    if one.in_mesh:
        match = Struct()
        match.update({IN_MESH: True})
        made.metadata.CopyFrom(core.Metadata(filter_metadata={_SOCKET_MATCH: match}))
    return made
