"""Envoy's matchers of paths, headers and requests, as functions.

Sources: Envoy's type.matcher.v3, config.route.v3 (HeaderMatcher, RouteMatch). A regular expression must match the whole
text; a path is matched without its query and fragment; a header that is missing matches nothing but its absence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import re2

from protos.envoy.config.route.v3_pb2 import HeaderMatcher, RouteMatch
from protos.envoy.type.matcher.v3_pb2 import PathMatcher, RegexMatcher, StringMatcher
from tests.simulator.asked import Asked
from tests.simulator.strictness import NotUnderstoodError, only

Test = Callable[[Asked], bool]
_CHANGED_ON_THE_WAY = ("x-forwarded-", "x-request-id", "x-envoy-", "connection", "te", "transfer-encoding", "upgrade")
"""Headers that sidecars set, remove, or use up. What a rule about them sees is not what the client sent."""


@lru_cache(maxsize=1 << 14)
def compiled(pattern: str) -> Callable[[str], object]:
    """Gives something if the whole of a text matches. Raises re2.error as Envoy would refuse."""
    if not pattern:
        raise NotUnderstoodError("an empty expression, which is an unset one")
    fullmatch: Callable[[str], object] = re2.compile(pattern).fullmatch
    return fullmatch


def regex(matcher: RegexMatcher) -> Callable[[str], object]:
    only(matcher, "regex")
    return compiled(matcher.regex)


def text(matcher: StringMatcher) -> Callable[[str], object]:
    only(matcher, "safe_regex", "exact")
    if matcher.HasField("safe_regex"):
        return regex(matcher.safe_regex)
    if not matcher.HasField("exact"):
        raise NotUnderstoodError("a StringMatcher without a pattern")
    return matcher.exact.__eq__


def without_query(path: str) -> str:
    return path.partition("?")[0].partition("#")[0]


def url_path(matcher: PathMatcher) -> Test:
    only(matcher, "path")
    matches = text(matcher.path)
    return lambda asked: bool(matches(without_query(asked.path)))


def header(matcher: HeaderMatcher) -> Test:
    """One line of a header is enough, in routes and in RBAC."""
    only(matcher, "name", "string_match", "present_match")
    name = matcher.name
    if name != name.lower() or name.startswith(_CHANGED_ON_THE_WAY):
        raise NotUnderstoodError(f"a match of the header {name}")
    if name == "host":
        name = ":authority"
    if matcher.WhichOneof("header_match_specifier") == "present_match":
        wanted = matcher.present_match
        return lambda asked: (name in asked.headers) == wanted
    if not matcher.HasField("string_match"):
        raise NotUnderstoodError(f"a match of the header {name} without a value")
    matches = text(matcher.string_match)

    def test(asked: Asked) -> bool:
        value = asked.headers.get(name)
        if value is None:
            return False
        return any(matches(line) for line in asked.lines.get(name, (value,)))

    return test


def route(match: RouteMatch) -> Test:
    """Which requests a route takes. CONNECT has no path, so that no route with one takes it."""
    only(match, "prefix", "safe_regex", "headers")
    tests = [_not_connect]
    if match.WhichOneof("path_specifier") == "safe_regex":
        matches = regex(match.safe_regex)
        tests.append(lambda asked: bool(matches(without_query(asked.path))))
    elif match.WhichOneof("path_specifier") == "prefix":
        prefix = match.prefix
        tests.append(lambda asked: asked.path.startswith(prefix))
    else:
        raise NotUnderstoodError("a RouteMatch without a path")
    tests.extend(map(header, match.headers))
    return lambda asked: all(test(asked) for test in tests)


def _not_connect(asked: Asked) -> bool:
    return asked.headers.get(":method") != "CONNECT"
