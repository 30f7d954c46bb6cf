"""Does a match of an HTTPRouteGroup mean a request, and if not, why not. As Envoy decides it, with the same RE2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import re2

from smi import paths
from smi.objects import HTTPMatch

_SEPARATOR = re.compile("[-_.]")
AUTHORITY = ":authority"
MOST_SHOWN = 60
"""Characters of a pattern or a value in one message."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as rules see it: the path without its query, and the lines of each header by its lower-case name."""

    method: str
    path: str
    headers: Mapping[str, tuple[str, ...]]

    def at_server(self, path: str) -> Request:
        """As the server's sidecar judges it, which reads `path`: the lines of a header are joined before."""
        return Request(self.method, path, {name: (",".join(lines),) for name, lines in self.headers.items()})


def headers_of(headers: Iterable[tuple[str, str]], authority: str) -> dict[str, tuple[str, ...]]:
    """`headers` as matchers know them. `authority` is that of a request without a Host header."""
    found: dict[str, tuple[str, ...]] = {}
    for given, value in headers:
        name = AUTHORITY if given.lower() == "host" else given.lower()
        found[name] = (*found.get(name, ()), value)
    found.setdefault(AUTHORITY, (authority,))
    return found


def misses(match: HTTPMatch, request: Request) -> tuple[str, ...]:
    """Why `match` does not mean `request`, one reason for each part of it; none if it does. As for Envoy's routes, one
    line of a header is enough.
    """
    found = []
    if match.methods and request.method not in match.methods:
        found.append(f"method {request.method} is not {_listed(match.methods)}")
    if match.path_regex and not re2.fullmatch(f"(?:{match.path_regex}).*", request.path):
        found.append(f"path {shown(request.path)} does not begin with what {shown(match.path_regex)} matches")
    for name, pattern in match.headers:
        lines = request.headers.get(name, ())
        if not lines:
            found.append(f"there is no header {name}")
        elif not any(re2.fullmatch(f"(?s:.*)(?:{pattern})(?s:.*)", line) for line in lines):
            value = " and ".join(map(shown, lines))
            found.append(f"header {name} is {value}, in which {shown(pattern)} matches nothing")
    return tuple(found)


def misses_at_server(match: HTTPMatch, request: Request) -> tuple[str, ...]:
    """The same for a request `at_server`: what an application might read in another way matches nothing."""
    found = list(misses(match, request))
    if match.path_regex and paths.is_disguised(request.path):
        found.append(f"path {shown(request.path)} may be another path to an application: no rule for a path allows it")
    for name, _ in match.headers:
        found.extend(
            f"header {given} may be taken for {name}: no rule with that header allows it"
            for given in request.headers
            if given != name and _SEPARATOR.split(given) == _SEPARATOR.split(name)
        )
    return tuple(found)


def shown(text: str) -> str:
    """A text in quotes, cut short."""
    return f'"{text}"' if len(text) <= MOST_SHOWN else f'"{text[:MOST_SHOWN]}…"'


def _listed(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
