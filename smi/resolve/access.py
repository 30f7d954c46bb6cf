"""TrafficTargets -> who may use which target port of a workload class.

Source of the rules: the SMI Traffic Access Control specification, and the README of this package where the
specification leaves a case open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ca.identity import WorkloadIdentity, workload_identity
from smi.model import Access, Grant
from smi.objects import AccessRule, Allowance, HTTPMatch, TrafficTarget
from smi.protocol import Protocol
from smi.resolve import codes
from smi.resolve.age import age_key
from smi.resolve.declared import Declared
from smi.resolve.findings import Findings

MOST_SEPARATORS = 5
"""Dashes and underscores in the name of a header that access depends on. Applications that take `x_role` for `x-role`
are protected by refusing each such spelling, `x.role` too, and their number triples with every dash."""


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """A TrafficTarget with its routes looked up.

    `age` orders targets. `http` None: it has no HTTPRouteGroup rules. `ports` None: it has no TCPRoute rules;
    `all_ports`: one of those names no ports. `only_port`: nothing counts on any other port (`destination.port`).
    """

    name: str
    age: tuple[str, str, str]
    principals: tuple[WorkloadIdentity, ...]
    http: tuple[HTTPMatch, ...] | None
    ports: frozenset[int] | None
    all_ports: bool
    only_port: int | None = None

    def covers(self, numbers: frozenset[int]) -> bool:
        """Whether the target applies to the port that `numbers` all mean: they are its Service ports and itself.

        A target without TCPRoutes and without a port of its destination applies to all ports.
        """
        if self.only_port is not None and self.only_port not in numbers:
            return False
        return self.ports is None or self.all_ports or bool(self.ports & numbers)

    def named_ports(self) -> frozenset[int]:
        """All numbers by which the target names ports."""
        return (self.ports or frozenset()) | ({self.only_port} if self.only_port is not None else frozenset())

    def opens_unnamed(self) -> tuple[int, ...] | None:
        """Which of the ports that no Service names are opened, as opaque bytes; None for all of them."""
        if self.only_port is None:
            return None if self.all_ports else tuple(sorted(self.ports or ()))
        return (self.only_port,) if self.all_ports or self.only_port in (self.ports or ()) else ()


def resolve_target(target: TrafficTarget, declared: Declared, findings: Findings) -> ResolvedTarget | None:
    """A target that may grant something; None for one that cannot, whatever it is for."""
    domain = declared.trust_domain
    principals = tuple(sorted({workload_identity(domain, source.namespace, source.name) for source in target.sources}))
    http, ports, all_ports = _routes(target, declared, findings)
    if target.ruleless:
        # As with a TCPRoute for all ports or for none. It is never absent: a change of MeshConfig must find it.
        ports, all_ports = frozenset(), declared.config.empty_rules is Allowance.ALLOW
    if not principals or (http is None and ports is None):
        return None
    name = f"{target.meta.namespace}/{target.meta.name}"
    return ResolvedTarget(name, age_key(target), principals, http, ports, all_ports, target.port)


def _routes(
    target: TrafficTarget, declared: Declared, findings: Findings
) -> tuple[tuple[HTTPMatch, ...] | None, frozenset[int] | None, bool]:
    """Look up the rules. A rule whose route is missing grants nothing, but still counts as a rule of its kind:
    HTTP requests must satisfy both kinds where both are named, so a missing one must never widen access.
    A UDPRoute grants nothing and limits nothing: sidecars do not see UDP.
    """
    http: list[HTTPMatch] | None = None
    ports: set[int] | None = None
    all_ports = False
    for rule in target.rules:
        if rule.kind == "HTTPRouteGroup":
            http = (http or []) + _group_matches(target, rule, declared, findings)
        elif rule.kind == "TCPRoute":
            route = declared.tcp_routes.get((target.meta.namespace, rule.name))
            ports = ports or set()
            if route is None:
                findings.add(codes.ROUTE_MISSING, f"rule names TCPRoute {rule.name}, which is not there", target)
            else:
                ports.update(route.ports)
                all_ports = all_ports or not route.ports
        elif rule.kind == "UDPRoute" and (target.meta.namespace, rule.name) not in declared.udp_routes:
            findings.add(codes.ROUTE_MISSING, f"rule names UDPRoute {rule.name}, which is not there", target)
    if http is not None:
        http = [match for match in http if _tells_headers_apart(target, match, findings)]
    return (None if http is None else tuple(http)), (None if ports is None else frozenset(ports)), all_ports


def _tells_headers_apart(target: TrafficTarget, match: HTTPMatch, findings: Findings) -> bool:
    """Whether every spelling of the match's header names can be refused. What cannot be told apart grants nothing."""
    names = [name for name, _ in match.headers if len(re.split("[-_]", name)) - 1 > MOST_SEPARATORS]
    for name in names:
        findings.add(codes.HEADER_AMBIGUOUS, f"match {match.name!r} names header {name!r}: too many dashes", target)
    return not names


def _group_matches(target: TrafficTarget, rule: AccessRule, declared: Declared, findings: Findings) -> list[HTTPMatch]:
    group = declared.http_route_groups.get((target.meta.namespace, rule.name))
    if group is None:
        findings.add(codes.ROUTE_MISSING, f"rule names HTTPRouteGroup {rule.name}, which is not there", target)
        return []
    if rule.matches is None:
        return list(group.matches)
    known = {match.name: match for match in group.matches}
    for name in rule.matches:
        if name not in known:
            findings.add(codes.MATCH_MISSING, f"HTTPRouteGroup {rule.name} has no usable match {name!r}", target)
    return [known[name] for name in dict.fromkeys(rule.matches) if name in known]


def access_to_port(
    class_name: str,
    port: int,
    numbers: frozenset[int],
    protocol: Protocol,
    everyone: bool,
    targets: Iterable[ResolvedTarget],
) -> Access:
    """The access table of one target port. `numbers`: the target port, and the service ports that lead to it."""
    grants = []
    for target in targets:
        if not target.covers(numbers):
            continue
        if protocol.is_http and target.http is not None:
            if target.http:
                grants.append(Grant(target.name, target.principals, target.http))
        elif target.ports is not None:
            grants.append(Grant(target.name, target.principals))
    return Access(class_name, port, protocol, everyone, () if everyone else tuple(grants))


def access_to_other_ports(class_name: str, everyone: bool, targets: Iterable[ResolvedTarget]) -> Access:
    """The access table of the ports that no Service names: opaque bytes, so only TCPRoutes open them."""
    grants = []
    for target in targets:
        ports = target.opens_unnamed()
        if ports is None or ports:
            grants.append(Grant(target.name, target.principals, ports=ports))
    return Access(class_name, None, Protocol.TCP, everyone, () if everyone else tuple(grants))
