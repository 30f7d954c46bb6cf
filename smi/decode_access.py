"""Decodes TrafficTarget (access.smi-spec.io), with the same meaning in every version.

The rules of one TrafficTarget limit one another (an HTTPRouteGroup applies on the ports of a TCPRoute), so leaving
out one of them could open more: an error in any rule keeps the whole object out of force. Sources only add up, so an
error in one leaves out that one. What is well-formed and grants nothing is in force: it takes back earlier grants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smi import codes
from smi.decode_kept import PLACE, close_rest, kept_in
from smi.fields import Fields
from smi.kept import restore_udp_rules
from smi.objects import AccessRule, Meta, Subject, TrafficTarget
from smi.report import described, dotted

ROUTE_KINDS = ("HTTPRouteGroup", "TCPRoute", "UDPRoute")
_LIMITING = ("rules", "specs", "sources", "port")


@dataclass(frozen=True, slots=True)
class TargetShape:
    """Where a version has the fields. `complete`: rules are required and may be UDPRoutes; there is no port."""

    in_spec: bool
    rules: str
    complete: bool


TRAFFIC_TARGETS: Mapping[str, TargetShape] = {
    "v1alpha3": TargetShape(in_spec=True, rules="rules", complete=True),
    "v1alpha2": TargetShape(in_spec=True, rules="rules", complete=False),
    "v1alpha1": TargetShape(in_spec=False, rules="specs", complete=False),
}


def decode_traffic_target(root: Fields, meta: Meta, shape: TargetShape) -> TrafficTarget | None:
    """The target in `root`; None when destination, rules, the shape of sources or the annotation are wrong."""
    report = root.report
    before = report.left_out
    kept = kept_in(root)
    spec = root.child("spec", required=True) if shape.in_spec else root
    if spec is None:
        return None
    destination, port = _destination(spec, meta, shape, kept)
    rules = tuple(_rules(spec, shape, kept))
    has_sources = bool(spec.items("sources"))
    spec.close(limiting=("destination", "spec", *_LIMITING) if spec is root else ("destination", *_LIMITING))
    if spec is not root:
        root.close(limiting=_LIMITING)
    close_rest(root, kept, limiting=("spec", *_LIMITING))
    usable = report.left_out == before
    entries = spec.children("sources") if has_sources else ()
    sources = tuple(source for source in (_source(entry, meta) for entry in entries) if source)
    ruleless = not rules and spec.raw(shape.rules) in (None, []) and kept.get("emptyRules", not shape.complete) is True
    if ruleless:
        message = f"{dotted(spec.at(shape.rules))} is empty: nothing is allowed without emptyRules: allow in MeshConfig"
        report.add(codes.NO_RULES, spec.at(shape.rules), message)
    for key in ("sources",) if rules or ruleless else (shape.rules, "sources"):
        if spec.raw(key) in (None, []):
            message = f"{dotted(spec.at(key))} is empty: nothing is allowed"
            report.add_in_force(codes.GRANTS_NOTHING, spec.at(key), message)
    if destination is None or not usable:
        return None
    if not (rules or ruleless) or not sources or any(rule.matches == () for rule in rules):
        rules, sources = (), ()
    return TrafficTarget(meta=meta, destination=destination, rules=rules, sources=sources, port=port, ruleless=ruleless)


def _destination(
    spec: Fields, meta: Meta, shape: TargetShape, kept: Mapping[str, Any]
) -> tuple[Subject | None, int | None]:
    """The destination, and the port that access is limited to."""
    entry = spec.child("destination", required=True)
    if entry is None:
        return None, None
    subject = _subject(entry)
    namespace = subject.namespace or meta.namespace
    if namespace != meta.namespace:
        message = f"{dotted(entry.at('namespace'))} is {namespace!r}, but the TrafficTarget lives in {meta.namespace!r}"
        entry.report.add(codes.FOREIGN_DESTINATION, entry.at("namespace"), message)
    port = entry.port("port")
    if shape.complete and entry.raw("port") is None:
        port = kept.get("port")
    elif shape.complete and port is not None:
        message = (
            f"{dotted(entry.at('port'))} does not exist in this version; access is limited to port {port} as before"
        )
        entry.report.add(codes.PORT_REMOVED, entry.at("port"), message)
    entry.close(limiting=("port",))
    return Subject(subject.kind, namespace, subject.name), port


def _source(entry: Fields, meta: Meta) -> Subject | None:
    before = entry.report.left_out
    subject = _subject(entry)
    entry.close(limiting=("kind", "name", "namespace"))
    if entry.report.left_out > before:
        return None
    if subject.namespace:
        return subject
    message = f"{dotted(entry.path)} names no namespace; {meta.namespace!r} is taken"
    entry.report.add(codes.SOURCE_NAMESPACE_ASSUMED, entry.path, message)
    return Subject(subject.kind, meta.namespace, subject.name)


def _subject(entry: Fields) -> Subject:
    """A source or destination as written; every error in it is reported."""
    kind = entry.text("kind", required=True)
    if kind and kind != "ServiceAccount":
        entry.wrong(codes.BAD_SUBJECT, "kind", "'ServiceAccount'")
    return Subject(kind, entry.label("namespace"), entry.subdomain("name", required=True))


def _rules(spec: Fields, shape: TargetShape, kept: Mapping[str, Any]) -> Iterator[AccessRule]:
    entries = list(spec.children(shape.rules))
    if not shape.complete and "udpRules" in kept:
        entries = restore_udp_rules(entries, list(_kept_rules(spec, kept["udpRules"])))
    udp: Fields | None = None
    for entry in entries:
        kind = entry.text("kind", required=True)
        if kind and kind not in ROUTE_KINDS:
            expected = " or ".join(repr(word) for word in ROUTE_KINDS)
            entry.wrong(codes.BAD_VALUE, "kind", expected, entry.report.guess(kind, ROUTE_KINDS))
        name = entry.subdomain("name", required=True)
        matches = _match_names(entry, kind)
        entry.close(all_limit=True)
        if kind == "UDPRoute":
            udp = udp or entry
        yield AccessRule(kind, name, matches)
    if udp is not None:
        message = f"{dotted(udp.path)} names a UDPRoute: sidecars do not enforce access to UDP ports"
        spec.report.add(codes.UDP_RULE, udp.path, message)


def _kept_rules(spec: Fields, kept: list[Any]) -> Iterator[list[Any]]:
    """The kept rules as fields, each with its position."""
    for number, (position, rule) in enumerate(kept):
        path = (*PLACE, "udpRules", number)
        if isinstance(rule, dict):
            yield [position, Fields(spec.report, path, rule)]
        else:
            message = f"{dotted(path)} must be a mapping, found {described(rule)}"
            spec.report.add(codes.WRONG_TYPE, path, message)


def _match_names(entry: Fields, kind: str) -> tuple[str, ...] | None:
    """The names of matches that a rule is limited to; None without a limit. An empty list allows no match."""
    if entry.raw("matches") is None:
        return None
    names: list[str] = []
    for path, value in entry.items("matches"):
        if isinstance(value, str) and value:
            names.append(value)
        else:
            entry.report.add(codes.WRONG_TYPE, path, f"{dotted(path)} must be the name of a match")
    if kind != "HTTPRouteGroup":
        if names:
            message = f"{dotted(entry.at('matches'))}: a {kind} has no matches that could be named"
            entry.report.add(codes.UNKNOWN_LIMIT, entry.at("matches"), message)
        return None
    if entry.raw("matches") == []:
        message = f"{dotted(entry.at('matches'))} is empty: nothing is allowed"
        entry.report.add_in_force(codes.GRANTS_NOTHING, entry.at("matches"), message)
    return tuple(names)
