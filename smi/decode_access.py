"""Decodes TrafficTarget (access.smi-spec.io/v1alpha3).

The rules of one TrafficTarget limit one another (an HTTPRouteGroup applies on the ports of a TCPRoute), so leaving
out one of them could open more: an error in any rule keeps the whole object out of force. Sources only add up, so an
error in one leaves out that one. What is well-formed and grants nothing is in force: it takes back earlier grants.
"""

from __future__ import annotations

from collections.abc import Iterator

from smi import codes
from smi.fields import Fields
from smi.names import closest
from smi.objects import AccessRule, Meta, Subject, TrafficTarget
from smi.report import dotted

ROUTE_KINDS = ("HTTPRouteGroup", "TCPRoute", "UDPRoute")


def decode_traffic_target(root: Fields, meta: Meta) -> TrafficTarget | None:
    """The target in `root`; None when destination, rules or the shape of sources are wrong."""
    spec = root.child("spec", required=True)
    if spec is None:
        return None
    report = root.report
    before = report.left_out
    destination = _destination(spec, meta)
    rules = list(_rules(spec))
    has_sources = bool(spec.items("sources"))
    spec.close(limiting=("rules", "sources", "destination"))
    root.close()
    usable = report.left_out == before
    entries = spec.children("sources") if has_sources else ()
    sources = tuple(source for source in (_source(entry, meta) for entry in entries) if source)
    empty = [key for key in ("rules", "sources") if spec.raw(key) in (None, [])]
    for key in empty:
        report.add_in_force(codes.GRANTS_NOTHING, spec.at(key), f"spec.{key} is empty: nothing is allowed")
    if destination is None or not usable:
        return None
    grants = tuple(rule for rule in rules if rule.kind != "UDPRoute")
    if not grants or not sources or any(rule.matches == () for rule in rules):
        grants, sources = (), ()
    return TrafficTarget(meta=meta, destination=destination, rules=grants, sources=sources)


def _destination(spec: Fields, meta: Meta) -> Subject | None:
    entry = spec.child("destination", required=True)
    if entry is None:
        return None
    subject = _subject(entry)
    namespace = subject.namespace or meta.namespace
    if namespace != meta.namespace:
        message = f"{dotted(entry.at('namespace'))} is {namespace!r}, but the TrafficTarget lives in {meta.namespace!r}"
        entry.report.add(codes.FOREIGN_DESTINATION, entry.at("namespace"), message)
    if entry.raw("port") is not None:
        message = f"{dotted(entry.at('port'))} does not exist in this version: access is not limited to it"
        entry.report.add(codes.PORT_REMOVED, entry.at("port"), message)
    entry.close()
    return Subject(subject.kind, namespace, subject.name)


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


def _rules(spec: Fields) -> Iterator[AccessRule]:
    for entry in spec.children("rules"):
        kind = entry.text("kind", required=True)
        if kind and kind not in ROUTE_KINDS:
            meant = closest(kind, ROUTE_KINDS)
            expected = " or ".join(repr(word) for word in ROUTE_KINDS)
            entry.wrong(codes.BAD_VALUE, "kind", expected, f"Did you mean {meant!r}?" if meant else "")
        name = entry.subdomain("name", required=True)
        matches = _match_names(entry, kind)
        entry.close(all_limit=True)
        if kind == "UDPRoute":
            message = f"{dotted(entry.path)} names a UDPRoute: UDP is not part of the mesh yet"
            entry.report.add(codes.UDP_RULE, entry.path, message)
        yield AccessRule(kind, name, matches)


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
