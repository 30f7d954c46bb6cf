"""A RouteConfiguration as a function: which route takes a request, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from protos.envoy.config.route.v3_pb2 import Route, RouteAction, RouteConfiguration, WeightedCluster
from protos.envoy.extensions.filters.http.header_mutation.v3_pb2 import HeaderMutationPerRoute
from protos.envoy.extensions.filters.http.rbac.v3_pb2 import RBACPerRoute
from tests.simulator import matching, rbac
from tests.simulator.asked import Asked
from tests.simulator.calls import ONE
from tests.simulator.headers import Cleaning, cleaning
from tests.simulator.matching import Test
from tests.simulator.strictness import NotUnderstoodError, is_a, only, same, the_only, unpacked

Weights = tuple[tuple[str, Fraction], ...]
"""Clusters and their parts of all calls."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a route leads: to clusters, or to an answer with `status` by the sidecar itself."""

    clusters: Weights = ()
    status: int = 0


@dataclass(frozen=True, slots=True)
class Routes:
    """By the name of an HTTP filter: `rules` take the place of its own, `cleaning` adds to its own."""

    entries: tuple[tuple[Test, Way], ...]
    rules: dict[str, Test | None]
    cleaning: dict[str, Cleaning]

    def way(self, asked: Asked) -> Way | None:
        """The way of the first route that takes the request."""
        return next((way for test, way in self.entries if test(asked)), None)


@lru_cache(maxsize=1 << 14)
def routes(body: bytes) -> Routes:
    """What a RouteConfiguration, as it is sent, means."""
    configuration = RouteConfiguration.FromString(body)
    only(configuration, "name", "virtual_hosts", "typed_per_filter_config", "validate_clusters")
    host = the_only("virtual hosts", configuration.virtual_hosts)
    only(host, "name", "domains", "routes")
    same("domains", list(host.domains), ["*"])
    rules, cleaned = {}, {}
    for name, packed in configuration.typed_per_filter_config.items():
        if is_a(packed, HeaderMutationPerRoute):
            added = unpacked(packed, HeaderMutationPerRoute)
            only(added, "mutations")
            cleaned[name] = cleaning(added.mutations)
            continue
        per_route = unpacked(packed, RBACPerRoute)
        only(per_route, "rbac")
        only(per_route.rbac, "rules")
        # Without rules the filter does nothing, which lets everything pass.
        rules[name] = rbac.compiled(per_route.rbac.rules) if per_route.rbac.HasField("rules") else None
    return Routes(tuple((matching.route(each.match), _way(each)) for each in host.routes), rules, cleaned)


def _way(route: Route) -> Way:
    only(route, "match", "route", "direct_response")
    if route.WhichOneof("action") == "direct_response":
        only(route.direct_response, "status", "body")
        return Way(status=route.direct_response.status)
    return Way(_clusters(route.route))


def _clusters(action: RouteAction) -> Weights:
    # Timeouts and retries change nothing of where a first attempt goes.
    only(action, "cluster", "weighted_clusters", "timeout", "retry_policy")
    match action.WhichOneof("cluster_specifier"):
        case "cluster" if action.cluster:
            return ((action.cluster, ONE),)
        case "weighted_clusters":
            only(action.weighted_clusters, "clusters")
            return shared((each.name, _weight(each)) for each in action.weighted_clusters.clusters)
    raise NotUnderstoodError(f"route action {action}")


def _weight(cluster: WeightedCluster.ClusterWeight) -> int:
    only(cluster, "name", "weight")
    return cluster.weight.value


def shared(weights: object) -> Weights:
    """Relative weights as parts of 1. Envoy refuses a list of nothing but zeros."""
    found = list(weights)  # type: ignore[call-overload]
    total = sum(weight for _, weight in found)
    if not total:
        raise NotUnderstoodError("weights of nothing")
    return tuple((name, Fraction(weight, total)) for name, weight in found)
