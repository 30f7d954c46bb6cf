"""Explicit "there is nothing" for the types whose absence Envoy does not understand.

- EDS: a removal completes warming but does not clear the hosts the cluster already has, and an empty SotW answer
  completes nothing; an empty ClusterLoadAssignment does both.
- RDS: a removal is ignored and leaves the listener warming; an empty RouteConfiguration answers 404.
"""

from __future__ import annotations

from protos.envoy.config.endpoint import v3_pb2 as endpoint_v3
from protos.envoy.config.route import v3_pb2 as route_v3
from xds.resource import Resource, TypeUrl, resource


def placeholder(type_url: str, name: str) -> Resource | None:
    """The resource that stands for a missing ``name``; None for types whose removal says it.

    Names come from clients, so the empty name is possible; it is nobody's.
    """
    if not name:
        return None
    if type_url == TypeUrl.ENDPOINT:
        return resource(TypeUrl.ENDPOINT, name, endpoint_v3.ClusterLoadAssignment(cluster_name=name))
    if type_url == TypeUrl.ROUTE:
        return resource(TypeUrl.ROUTE, name, route_v3.RouteConfiguration(name=name))
    return None
