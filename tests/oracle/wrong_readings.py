"""Oracles with one rule wrong each, as implementations have had it wrong: random cases must tell them from the right
one, or agreement with the right one would prove nothing.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import re2

from smi.objects import AccessRule, HTTPMatch, MeshObject, ServicePort, TrafficSplit, TrafficTarget, Workload
from tests.oracle.calls import Call, Place, Request
from tests.oracle.oracle import Oracle, Values, as_one, lines_of


class PathMustFitWhole(Oracle):
    def path_fits(self, pattern: str, path: str) -> bool:
        return not pattern or re2.fullmatch(pattern, path) is not None


class PathIsSearched(Oracle):
    def path_fits(self, pattern: str, path: str) -> bool:
        return re2.search(pattern, path) is not None


class PathIsTakenAsItCame(Oracle):
    def routes(self, rule: AccessRule, target: TrafficTarget, request: Request) -> bool:
        group = self.objects.http_route_groups.get((target.meta.namespace, rule.name))
        return group is not None and any(
            self.fits(match, request, request.path.partition("?")[0], as_one)
            and not self.in_disguise(match, request, request.path)
            for match in group.matches
            if rule.matches is None or match.name in rule.matches
        )


class QueryIsPartOfThePath(Oracle):
    def fits(self, match: HTTPMatch, request: Request, path: str, values: Values) -> bool:
        _, mark, query = request.path.partition("?")
        return super().fits(match, request, path + mark + query, values)


class DisguiseIsAllowed(Oracle):
    def in_disguise(self, match: HTTPMatch, request: Request, path: str) -> bool:
        return False


class HeaderMustFitWhole(Oracle):
    def header_fits(self, pattern: str, value: str | None) -> bool:
        return value is not None and re2.fullmatch(pattern, value) is not None


class AbsentHeaderIsEmpty(Oracle):
    def header_fits(self, pattern: str, value: str | None) -> bool:
        return super().header_fits(pattern, value or "")


class OneHeaderIsEnough(Oracle):
    def headers_fit(self, match: HTTPMatch, request: Request, values: Values) -> bool:
        each = [super(OneHeaderIsEnough, self).headers_fit(m, request, values) for m in _one_header_each(match)]
        return not each or any(each)


class OneLineIsEnough(Oracle):
    def fits(self, match: HTTPMatch, request: Request, path: str, values: Values) -> bool:
        return super().fits(match, request, path, lines_of)


class SplitsReadLinesAsOne(Oracle):
    def fits(self, match: HTTPMatch, request: Request, path: str, values: Values) -> bool:
        return super().fits(match, request, path, as_one)


class OnlyTheFirstOfRepeatedHeaders(Oracle):
    def headers_fit(self, match: HTTPMatch, request: Request, values: Values) -> bool:
        first = {name.lower(): (name, value) for name, value in reversed(request.headers)}
        return super().headers_fit(match, dataclasses.replace(request, headers=tuple(first.values())), values)


class AnyMethod(Oracle):
    def method_fits(self, methods: tuple[str, ...], method: str) -> bool:
        return True


class GetIsMeantByNoMethod(Oracle):
    def method_fits(self, methods: tuple[str, ...], method: str) -> bool:
        return method in (methods or ("GET",))


class EitherRouteIsEnough(Oracle):
    def both(self, http_allows: bool, tcp_allows: bool) -> bool:
        return http_allows or tcp_allows


class TargetsLeak(Oracle):
    """Sources of all targets of a destination get the rules of all of them."""

    def allows(self, place: Place, call: Call) -> bool:
        server = self.objects.workloads[place[0]]
        mine = [t for t in self.objects.traffic_targets.values() if t.destination.name == server.service_account]
        mine = [t for t in mine if t.destination.namespace == server.meta.namespace]
        sources = tuple({source for target in mine for source in target.sources})
        leaking = {key: target for key, target in self.objects.traffic_targets.items() if target not in mine}
        leaking |= {(t.meta.namespace, t.meta.name): dataclasses.replace(t, sources=sources) for t in mine}
        objects = dataclasses.replace(self.objects, traffic_targets=leaking)
        return Oracle(objects).allows(place, call)


class OnlyTheFirstTargetCounts(Oracle):
    def any_of(self, granted):  # type: ignore[no-untyped-def]
        return next(iter(granted), False)


class AccountsHaveNoNamespace(Oracle):
    def allows(self, place: Place, call: Call) -> bool:
        if call.source is None:
            return super().allows(place, call)
        namespaces = {key[0] for key in self.objects.workloads}
        targets = {
            key: dataclasses.replace(
                target,
                sources=tuple(dataclasses.replace(s, namespace=n) for s in target.sources for n in namespaces),
            )
            for key, target in self.objects.traffic_targets.items()
        }
        return Oracle(dataclasses.replace(self.objects, traffic_targets=targets)).allows(place, call)


class MissingRouteIsNoLimit(Oracle):
    def target_allows(self, target: TrafficTarget, place: Place, request: Request) -> bool:
        known = {"HTTPRouteGroup": self.objects.http_route_groups, "TCPRoute": self.objects.tcp_routes}
        there = tuple(r for r in target.rules if r.kind in known and (target.meta.namespace, r.name) in known[r.kind])
        return super().target_allows(dataclasses.replace(target, rules=there), place, request)


class NoMatchesMeansNone(Oracle):
    def routes(self, rule: AccessRule, target: TrafficTarget, request: Request) -> bool:
        return super().routes(dataclasses.replace(rule, matches=rule.matches or ()), target, request)


class NumbersAreServicePorts(Oracle):
    def means(self, number: int, place: Place) -> bool:
        return any(number == port.port for port in self.leading_to(place))


class NumbersAreTargetPorts(Oracle):
    def means(self, number: int, place: Place) -> bool:
        return number == place[1]


class DestinationPortIsIgnored(Oracle):
    def target_allows(self, target: TrafficTarget, place: Place, request: Request) -> bool:
        return super().target_allows(dataclasses.replace(target, port=None), place, request)


class NoRulesAllowAll(Oracle):
    def target_allows(self, target: TrafficTarget, place: Place, request: Request) -> bool:
        return target.ruleless or super().target_allows(target, place, request)


class TcpRouteOpensNoHttp(Oracle):
    def target_allows(self, target: TrafficTarget, place: Place, request: Request) -> bool:
        tcp_only = all(rule.kind == "TCPRoute" for rule in target.rules)
        return super().target_allows(target, place, request) and not (tcp_only and self._reads_http(place))

    def _reads_http(self, place: Place) -> bool:
        return any(port.name.startswith("http") for port in self.leading_to(place))


class YoungestServiceHasThePort(Oracle):
    def leading_to(self, place: Place) -> list[ServicePort]:
        return super().leading_to(place)[::-1]


class NobodyIsPermissive(Oracle):
    def setting(self, server: Workload, name: str, default: str) -> str:
        return "strict"


class NonsenseIsPermissive(Oracle):
    def setting(self, server: Workload, name: str, default: str) -> str:
        found = super().setting(server, name, default)
        return "permissive" if found == "nonsense" else found


class UnmatchedIsSplitToo(Oracle):
    def split_matches(self, split: TrafficSplit, request: Request) -> bool:
        return True


class MissingGroupMatchesAll(Oracle):
    def split_matches(self, split: TrafficSplit, request: Request) -> bool:
        known = all((split.meta.namespace, m.name) in self.objects.http_route_groups for m in split.matches)
        return not known or super().split_matches(split, request)


class NothingWeighsOne(Oracle):
    def weighted(self, split: TrafficSplit, port: int) -> dict[str, Fraction]:
        heavier = tuple(dataclasses.replace(each, weight=each.weight or 1) for each in split.backends)
        return super().weighted(dataclasses.replace(split, backends=heavier), port)


class AllAreEqual(Oracle):
    def weighted(self, split: TrafficSplit, port: int) -> dict[str, Fraction]:
        found = super().weighted(split, port)
        return dict.fromkeys(found, Fraction(1, len(found) or 1))


class LastOfTwiceNamedCounts(Oracle):
    def weighted(self, split: TrafficSplit, port: int) -> dict[str, Fraction]:
        last = {each.service: each for each in split.backends}
        return super().weighted(dataclasses.replace(split, backends=tuple(last.values())), port)


class NothingLeftMeansRoot(Oracle):
    def weighted(self, split: TrafficSplit, port: int) -> dict[str, Fraction]:
        return super().weighted(split, port) or {split.service: Fraction(1)}


class SplitsAreChained(Oracle):
    def weighted(self, split: TrafficSplit, port: int) -> dict[str, Fraction]:
        found: dict[str, Fraction] = {}
        roots = {
            (each.meta.namespace, each.service): each
            for each in self.objects.traffic_splits.values()
            if not each.matches and each.service != split.service
        }
        for name, share in super().weighted(split, port).items():
            further = roots.get((split.meta.namespace, name))
            inner = super().weighted(further, port) if further else {name: Fraction(1)}
            for leaf, part in inner.items():
                found[leaf] = found.get(leaf, Fraction(0)) + share * part
        return found


class SplitsByNameAlone(Oracle):
    """Of several splits, the first by name counts, not the oldest."""

    def shares(self, call: Call) -> dict[str, Fraction]:
        ageless = {k: _without_age(s) for k, s in self.objects.traffic_splits.items()}
        return Oracle(dataclasses.replace(self.objects, traffic_splits=ageless)).shares(call)


def _without_age(each: MeshObject) -> MeshObject:
    return dataclasses.replace(each, meta=dataclasses.replace(each.meta, created=""))


def _one_header_each(match: HTTPMatch) -> list[HTTPMatch]:
    return [dataclasses.replace(match, headers=(header,)) for header in match.headers]


WRONG = [each for each in globals().values() if isinstance(each, type) and issubclass(each, Oracle) and each != Oracle]
