"""Decodes HTTPRouteGroup, TCPRoute and UDPRoute (specs.smi-spec.io), with the same meaning in every version.

What they say limits access, so nothing here may widen it: a match with an error matches nothing, and a TCPRoute with
an error is not in force at all, because a TCPRoute without ports means every port. The same holds for UDPRoutes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from smi import codes
from smi.decode_kept import PLACE, kept_in
from smi.fields import Fields, is_port
from smi.kept import restore_headers
from smi.objects import HTTPMatch, HTTPRouteGroup, Meta, TCPRoute, UDPRoute
from smi.patterns import Expressions, fits_no_path
from smi.report import described, dotted

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
MAX_MATCH_NAME = 253

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")


@dataclass(frozen=True, slots=True)
class GroupShape:
    """Where a version has the matches. `headers`: whether conversion leaves those in place."""

    in_spec: bool
    headers: bool = True


HTTP_ROUTE_GROUPS: Mapping[str, GroupShape] = {
    "v1alpha4": GroupShape(in_spec=True),
    "v1alpha3": GroupShape(in_spec=True),
    "v1alpha2": GroupShape(in_spec=False),
    "v1alpha1": GroupShape(in_spec=False, headers=False),
}


@dataclass(frozen=True, slots=True)
class RouteShape:
    """Whether a version of TCPRoute has ports."""

    ports: bool


TCP_ROUTES: Mapping[str, RouteShape] = {
    "v1alpha4": RouteShape(ports=True),
    "v1alpha3": RouteShape(ports=False),
    "v1alpha2": RouteShape(ports=False),
    "v1alpha1": RouteShape(ports=False),
}


def decode_http_route_group(root: Fields, meta: Meta, shape: GroupShape) -> HTTPRouteGroup | None:
    """The group in `root` with every match that has no error; None without a list of them."""
    holder = _holder_of_matches(root) if shape.in_spec else root
    if holder is None:
        return None
    if not shape.headers and not _restore_headers(root):
        return None
    entries = list(holder.children("matches"))
    written = holder.raw("matches")
    if written is None:
        holder.missing("matches")
    elif written == []:
        root.report.add_in_force(codes.MISSING_FIELD, holder.at("matches"), "no matches: the group matches nothing")
    matches: dict[str, HTTPMatch] = {}
    expressions = Expressions()
    for entry in entries:
        match = _http_match(entry, expressions)
        if match is None:
            continue
        if match.name in matches:
            message = f"{dotted(entry.at('name'))}: the name {match.name!r} is given twice"
            root.report.add(codes.DUPLICATE_ENTRY, entry.at("name"), message)
        else:
            matches[match.name] = match
    holder.close()
    if holder is not root:
        root.close()
    return HTTPRouteGroup(meta=meta, matches=tuple(matches.values())) if isinstance(written, list) else None


def _restore_headers(root: Fields) -> bool:
    """Put the headers back that conversion to a version without them kept; False when nobody knows which."""
    before = root.report.left_out
    headers, matches = kept_in(root).get("headers"), root.raw("matches")
    if headers is not None and isinstance(matches, list):
        root.put("matches", restore_headers(matches, headers))
    return root.report.left_out == before


def decode_tcp_route(root: Fields, meta: Meta, shape: RouteShape) -> TCPRoute | None:
    """The route in `root`; None when anything in it, or in the annotation that keeps its ports, is wrong."""
    before = root.report.left_out
    spec = root.child("spec")
    if not shape.ports:
        kept = kept_in(root)
        if root.raw("spec") in (None, {}):
            spec = Fields(root.report, PLACE, kept).child("spec")
        elif spec:
            message = "a TCPRoute of this version has no ports; they are read as those of v1alpha4"
            root.report.add(codes.PORTS_TOO_EARLY, root.at("spec"), message)
    ports = _ports(spec)
    root.close(limiting=("spec", "matches", "ports"))
    return TCPRoute(meta=meta, ports=ports) if root.report.left_out == before else None


def decode_udp_route(root: Fields, meta: Meta) -> UDPRoute | None:
    """The route in `root`; None when anything in it is wrong."""
    before = root.report.left_out
    ports = _ports(root.child("spec"))
    root.close(limiting=("spec", "matches", "ports"))
    return UDPRoute(meta=meta, ports=ports) if root.report.left_out == before else None


def _ports(spec: Fields | None) -> tuple[int, ...]:
    """The ports of a TCPRoute or UDPRoute; everything that is wrong in it is reported."""
    ports: list[int] = []
    matches = spec.child("matches") if spec else None
    if matches:
        for path, value in matches.items("ports"):
            if is_port(value) and isinstance(value, int):
                ports.append(value)
            else:
                message = f"{dotted(path)} must be a whole number from 1 to 65535, found {described(value)}"
                matches.report.add(codes.BAD_PORT, path, message)
        matches.ignore("name")
        matches.close(all_limit=True)
    if spec:
        spec.close(all_limit=True)
    return tuple(ports)


def _holder_of_matches(root: Fields) -> Fields | None:
    """What holds `matches`: `spec`, or the root, where examples of the specification have it in every version."""
    spec = root.raw("spec")
    if spec is None and root.raw("matches") is not None:
        message = "matches stands at the root of the object, not under spec"
        root.report.add(codes.MATCHES_AT_ROOT, root.at("matches"), message)
        return root
    return root.child("spec", required=True)


def _http_match(entry: Fields, expressions: Expressions) -> HTTPMatch | None:
    before = entry.report.left_out
    name = entry.text("name", required=True)
    if len(name) > MAX_MATCH_NAME:
        entry.wrong(codes.BAD_VALUE, "name", f"at most {MAX_MATCH_NAME} characters long")
    match = HTTPMatch(
        name=name,
        path_regex=_path_regex(entry, expressions),
        methods=_methods(entry),
        headers=_headers(entry, expressions),
    )
    entry.close(all_limit=True)
    return match if entry.report.left_out == before else None


def _path_regex(entry: Fields, expressions: Expressions) -> str:
    pattern = entry.text("pathRegex")
    if pattern and (reason := expressions.refusal(pattern)):
        _refuse(entry, "pathRegex", pattern, reason)
    elif pattern and fits_no_path(pattern):
        message = f"{dotted(entry.at('pathRegex'))}: no path begins with what {pattern[:60]!r} matches"
        entry.report.add(codes.NEVER_MATCHES, entry.at("pathRegex"), message)
    return pattern


def _methods(entry: Fields) -> tuple[str, ...]:
    """The methods, each once; empty, which means any, also where one of them is `*`."""
    methods: dict[str, None] = {}
    for path, value in entry.items("methods"):
        if isinstance(value, str) and (value == "*" or value in METHODS):
            methods[value] = None
            continue
        message = f"{dotted(path)} must be an HTTP method or '*', found {described(value)}"
        entry.report.add(codes.BAD_METHOD, path, message, entry.report.guess(value, METHODS))
    return () if "*" in methods else tuple(methods)


def _headers(entry: Fields, expressions: Expressions) -> tuple[tuple[str, str], ...]:
    """The headers, from both forms: a mapping, and the older list of mappings. All of them must match."""
    if isinstance(entry.raw("headers"), list):
        groups = list(entry.children("headers"))
    else:
        group = entry.child("headers")
        groups = [group] if group else []
    headers: list[tuple[str, str]] = []
    for group in groups:
        for name in group.names():
            pattern = group.raw(name)
            if not isinstance(pattern, str):
                group.wrong(codes.WRONG_TYPE, name, "a regular expression as text", "Put the value in quotes.")
            elif not _HEADER_NAME.fullmatch(name) and name != ":authority":
                message = f"{dotted(group.at(name))}: {name[:60]!r} is not the name of a header"
                group.report.add(codes.BAD_VALUE, group.at(name), message)
            elif reason := expressions.refusal(pattern):
                _refuse(group, name, pattern, reason)
            else:
                lower = name.lower()
                headers.append((":authority" if lower == "host" else lower, pattern))
    return tuple(headers)


def _refuse(fields: Fields, key: str, pattern: str, reason: str) -> None:
    message = f"{dotted(fields.at(key))}: RE2 refuses {pattern[:60]!r}: {reason}"
    fields.report.add(codes.BAD_REGEX, fields.at(key), message)
