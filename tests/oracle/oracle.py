"""A naive reading of SMI: objects and a call -> who gets which part of it, and who allows it.

It reads the declared objects and nothing that is derived from them, has no memory and no speed, and knows no Envoy.
Each rule is a method that begins with its sentence: of the specification (access v1alpha3, specs v1alpha4, split
v1alpha4), or "README", a reading that the README of `smi/` or of `translators/` takes. Tests change single rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import re2

from smi.index import Key, MeshObjects
from smi.objects import AccessRule, HTTPMatch, MeshObject, ServicePort, TCPRoute, TrafficSplit, TrafficTarget, Workload
from smi.protocol import protocol_of
from tests.oracle.calls import PASSED_THROUGH, Call, Place, Request, Verdict
from tests.oracle.paths import has_two_readings, made_plain, without_query

MOST_DASHES = 5
_SEPARATOR = re.compile("[-_.]")
Values = Callable[[Request, str], tuple[str, ...]]
"""The values of a header of a request that rules look at."""


class Oracle:
    """Decides calls in one mesh."""

    def __init__(self, objects: MeshObjects) -> None:
        self.objects = objects

    def decide(self, call: Call) -> Verdict:
        """The verdict on a call to a Service and port that exist."""
        if self.passes_through(call):
            return PASSED_THROUGH
        shares = self.shares(call)
        places = {name: [*self.places((call.service[0], name), call.port)] for name in shares}
        if call.source is None:
            guarded = {key for key, each in self.objects.workloads.items() if each.sidecar}
            places = {name: [place for place in found if place[0] in guarded] for name, found in places.items()}
        return Verdict(shares, {name: {p: self.allows(p, call) for p in found} for name, found in places.items()})

    def passes_through(self, call: Call) -> bool:
        """README: behind a redirect, a Service without selector, and without a split in force, is not the mesh's
        business.
        """
        source = self.objects.workloads[call.source] if call.source else None
        unselective = not self.objects.services[call.service].selector and not self.is_split(call)
        return source is not None and source.capture == "transparent" and unselective

    def is_split(self, call: Call) -> bool:
        """Whether some split could send some call to this port elsewhere than to the root, or let it fail."""
        port, plain = self.port_of(call.service, call.port), True
        for split in self.rooted(call.service):
            groups = [self.objects.http_route_groups.get((split.meta.namespace, each.name)) for each in split.matches]
            if split.matches:
                wanted = None not in groups and any(group.matches for group in groups if group)
                if wanted and port is not None and protocol_of(port)[0].is_http:
                    return True
            elif plain:
                plain = False  # of several without matches the oldest counts
                if set(self.weighted(split, call.port)) != {split.service}:
                    return True
        return False

    def rooted(self, service: Key) -> list[TrafficSplit]:
        splits = self.objects.traffic_splits.values()
        return sorted((each for each in splits if (each.meta.namespace, each.service) == service), key=_age)

    # TrafficSplit

    def shares(self, call: Call) -> dict[str, Fraction]:
        """ "For any clients that are not forwarding their traffic through a proxy that implements this proposal, the
        standard Kubernetes service configuration would continue to operate." README: splits with matches come first,
        by age and name, then one without.
        """
        namespace, root = call.service
        rooted = self.rooted(call.service)
        port = self.port_of(call.service, call.port)
        if call.source is not None and port is not None:
            for split in rooted:
                if split.matches and protocol_of(port)[0].is_http and self.split_matches(split, call.request):
                    return self.weighted(split, call.port)
            for split in rooted:
                if not split.matches:
                    return self.weighted(split, call.port)
        return self.unmatched(namespace, root)

    def split_matches(self, split: TrafficSplit, request: Request) -> bool:
        """ "If multiple HTTP route groups are specified, all routes will be merged into a single group." README: a
        split whose matches name a missing group is ignored. The client's sidecar looks at the path as it was sent, and
        of a header that is given several times one line is enough for it.
        """
        groups = [self.objects.http_route_groups.get((split.meta.namespace, each.name)) for each in split.matches]
        merged = [match for group in groups if group for match in group.matches]
        return None not in groups and any(
            self.fits(match, request, without_query(request.path), lines_of) for match in merged
        )

    def weighted(self, split: TrafficSplit, port: int) -> dict[str, Fraction]:
        """ "Implementations will weight outgoing traffic between the services referenced by spec.backends." "There must
        be a match between a port on the root service and a port on every destination backend service. If they do not
        match, the backend service is not included and will not receive traffic." Zero in all: calls fail.
        """
        weights: dict[str, int] = {}
        for backend in split.backends:
            if backend.weight and self.port_of((split.meta.namespace, backend.service), port):
                weights[backend.service] = weights.get(backend.service, 0) + backend.weight
        return {name: Fraction(weight, sum(weights.values())) for name, weight in weights.items()}

    def unmatched(self, namespace: str, root: str) -> dict[str, Fraction]:
        """ "If the header conditions don't match the incoming request, then routing will be handled by the Kubernetes
        service with the same name as spec.service."
        """
        return {root: Fraction(1)}

    # Services

    def port_of(self, service: Key, number: int) -> ServicePort | None:
        found = self.objects.services.get(service)
        return next((p for p in found.ports if (p.port, p.transport) == (number, "TCP")), None) if found else None

    def places(self, service: Key, number: int) -> Iterator[Place]:
        """ "Mapping between port and targetPort occurs on each backend service individually." README: a sidecar in
        explicit mode serves what is declared, behind a redirect any number; those without one may be left out.
        """
        selector, port = self.objects.services[service].selector, self.port_of(service, number)
        for key, server in self.objects.workloads.items():
            chosen = selector and key[0] == service[0] and selector.items() <= server.meta.labels.items()
            if not chosen or not port or (not server.sidecar and self.objects.config.plaintext_upstreams == "deny"):
                continue
            if isinstance(port.target_port, int) and (server.capture == "transparent" or not server.sidecar):
                yield key, port.target_port
            else:
                yield from ((key, each.port) for each in server.ports if port.target_port in (each.port, each.name))

    def leading_to(self, place: Place) -> list[ServicePort]:
        """The ports of Services that lead to a place, those of the oldest Service first."""
        services = sorted(self.objects.services.values(), key=_age)
        ports = ((s, p) for s in services for p in s.ports)
        return [p for s, p in ports if place in self.places((s.meta.namespace, s.meta.name), p.port)]

    # TrafficTarget

    def allows(self, place: Place, call: Call) -> bool:
        """ "Access control in this specification is additive, all traffic is denied by default." "Any pod which
        attempts to connect and is not in the defined list of sources will be denied." README: a namespace may be
        permissive; who comes in plaintext has no identity, and may come only where mTLS is permissive; a workload
        without a sidecar has nobody who could deny anything.
        """
        server = self.objects.workloads[place[0]]
        if not server.sidecar:
            return True
        if call.source is None and self.setting(server, "mtls", self.objects.config.mtls) != "permissive":
            return False
        if self.setting(server, "traffic-policy", self.objects.config.traffic_policy) == "permissive":
            return True
        if call.source is None:
            return False
        source = (call.source[0], self.objects.workloads[call.source].service_account)
        destination = (server.meta.namespace, server.service_account)
        granting = (
            target
            for target in self.objects.traffic_targets.values()
            if destination == (target.destination.namespace, target.destination.name)
            and source in ((each.namespace, each.name) for each in target.sources)
        )
        return self.any_of(self.target_allows(target, place, call.request) for target in granting)

    def any_of(self, granted: Iterable[bool]) -> bool:
        """Several TrafficTargets add up, each by itself: sources of one never get the rules of another."""
        return any(granted)

    def target_allows(self, target: TrafficTarget, place: Place, request: Request) -> bool:
        """ "Any pod which is in the defined list but attempts to connect on a route which is not in the list of
        TrafficSpecs will be denied." README: HTTPRouteGroup and TCPRoute together mean both, for HTTP; a TCPRoute
        alone means any bytes on its ports; where no HTTP is read, the TCPRoute alone counts. v1alpha1 and 2: "port is
        an optional element, if not specified, traffic will be allowed to all ports on the destination service." There,
        a target may have no rules; what that means is for the MeshConfig to say.
        """
        if target.port is not None and not self.means(target.port, place):
            return False
        if target.ruleless:
            return self.objects.config.empty_rules == "allow"
        leading = self.leading_to(place)
        opaque = not (leading and protocol_of(leading[0])[0].is_http)
        http = [rule for rule in target.rules if rule.kind == "HTTPRouteGroup"]
        tcp = [rule for rule in target.rules if rule.kind == "TCPRoute"]
        tcp_allows = any(self.opens(rule, target, place) for rule in tcp)
        http_allows = any(self.routes(rule, target, request) for rule in http)
        if opaque or not http:
            return tcp_allows
        return self.both(http_allows, tcp_allows) if tcp else http_allows

    def both(self, http_allows: bool, tcp_allows: bool) -> bool:
        return http_allows and tcp_allows

    def opens(self, rule: AccessRule, target: TrafficTarget, place: Place) -> bool:
        """ "The matches.ports is an optional element, if not specified, traffic will be allowed to all ports on the
        destination service." README: a number means a Service port or a target port; a missing route grants nothing.
        """
        route: TCPRoute | None = self.objects.tcp_routes.get((target.meta.namespace, rule.name))
        return route is not None and (not route.ports or any(self.means(port, place) for port in route.ports))

    def means(self, number: int, place: Place) -> bool:
        return number == place[1] or any(number == port.port for port in self.leading_to(place))

    def routes(self, rule: AccessRule, target: TrafficTarget, request: Request) -> bool:
        """ "The matches field is optional and if omitted, a rule is valid for all the matches in a traffic spec (a OR
        relationship)." README: rules with a path allow no path that can be read in two ways, rules with headers no
        request with a header whose name could be taken for theirs.
        """
        group = self.objects.http_route_groups.get((target.meta.namespace, rule.name))
        path = made_plain(request.path)
        return group is not None and any(
            self.fits(match, request, path, as_one) and not self.in_disguise(match, request, path)
            for match in group.matches
            if rule.matches is None or match.name in rule.matches
        )

    def in_disguise(self, match: HTTPMatch, request: Request, path: str) -> bool:
        names = {name.lower() for name, _ in request.headers}
        for wanted, _ in match.headers:
            parts = _SEPARATOR.split(wanted)
            if len(parts) - 1 > MOST_DASHES or any(n != wanted and _SEPARATOR.split(n) == parts for n in names):
                return True
        return bool(match.path_regex) and has_two_readings(path)

    def setting(self, server: Workload, name: str, default: str) -> str:
        """README: the destination's workload says it, or its namespace, or the mesh; nonsense is the strictest."""
        namespace = self.objects.namespaces.get(server.meta.namespace)
        for meta in (server.meta, namespace.meta if namespace else server.meta):
            if f"tulle.dev/{name}" in meta.annotations:
                return meta.annotations[f"tulle.dev/{name}"]
        return default

    # HTTPRouteGroup

    def fits(self, match: HTTPMatch, request: Request, path: str, values: Values) -> bool:
        return (
            self.path_fits(match.path_regex, path)
            and self.method_fits(match.methods, request.method)
            and self.headers_fit(match, request, values)
        )

    def path_fits(self, pattern: str, path: str) -> bool:
        """ "A regex is used to match against the URI and is anchored (^) to the beginning of the URI." """
        return re2.match(pattern, path) is not None

    def method_fits(self, methods: tuple[str, ...], method: str) -> bool:
        """ "Methods can either be specific (GET) or * to match all methods." """
        return not methods or method in methods

    def headers_fit(self, match: HTTPMatch, request: Request, values: Values) -> bool:
        """ "A route with multiple header filters represents an AND condition." """
        return all(
            any(self.header_fits(pattern, value) for value in values(request, name) or (None,))
            for name, pattern in match.headers
        )

    def header_fits(self, pattern: str, value: str | None) -> bool:
        """ "The key is the name of the HTTP header and the value is a regex expression." README: search semantics."""
        return value is not None and re2.search(pattern, value) is not None


def lines_of(request: Request, name: str) -> tuple[str, ...]:
    """Every line of a header by itself."""
    if name == ":authority":
        return (request.host,)
    return tuple(value for known, value in request.headers if known.lower() == name)


def as_one(request: Request, name: str) -> tuple[str, ...]:
    """RFC 9110, 5.3: a field that is given several times is one list."""
    lines = lines_of(request, name)
    return (",".join(lines),) if lines else ()


def _age(each: MeshObject) -> tuple[str, str, str]:
    return each.meta.created, each.meta.namespace, each.meta.name
