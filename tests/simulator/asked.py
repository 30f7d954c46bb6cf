"""What routes and rules look at: a request as a sidecar sees it, or a connection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, or with neither path nor headers a connection.

    `caller`: the SPIFFE ID proved, if any. `headers`: by lower-case name, `:method` and `:authority` among them; values
    of a repeated one joined with commas; `lines` has each of them by itself. `port`: the one that was called.
    `shadowed`: what a filter with shadow rules has found, `allowed` or `denied`.
    """

    caller: str | None
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    port: int = 0
    shadowed: str = ""


def headers_of(method: str, authority: str, headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Headers as Envoy's header map holds them."""
    made = {":method": method, ":authority": authority}
    for name, value in headers:
        lower = name.lower()
        if lower == "host":
            lower = ":authority"
            made[lower] = value
        elif lower in made:
            made[lower] = f"{made[lower]},{value}"
        else:
            made[lower] = value
    return made


def lines_of(headers: tuple[tuple[str, str], ...]) -> dict[str, tuple[str, ...]]:
    """The values of those headers that are there several times."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in headers:
        found[name.lower()] = (*found.get(name.lower(), ()), value)
    return {name: values for name, values in found.items() if len(values) > 1 and name != "host"}


_METHOD = re.compile(
    "ACL|BIND|CHECKOUT|CONNECT|COPY|DELETE|GET|HEAD|LINK|LOCK|MERGE|MKACTIVITY|MKCALENDAR|MKCOL|MOVE|MSEARCH|NOTIFY|"
    "OPTIONS|PATCH|POST|PROPFIND|PROPPATCH|PURGE|PUT|REBIND|REPORT|SEARCH|SOURCE|SUBSCRIBE|TRACE|UNBIND|UNLINK|UNLOCK|"
    "UNSUBSCRIBE"
)


def is_request(asked: Asked) -> bool:
    """Whether Envoy's HTTP/1 codec takes it for a request: with a method that it knows, a host, and a path without
    fragment, or what OPTIONS and CONNECT have in its place.
    """
    method = asked.headers[":method"]
    if not _METHOD.fullmatch(method) or not asked.headers[":authority"]:
        return False
    if method == "CONNECT":
        return "/" not in asked.path
    return (asked.path.startswith("/") and "#" not in asked.path) or (method, asked.path) == ("OPTIONS", "*")
