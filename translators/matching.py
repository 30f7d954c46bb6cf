"""SMI's regular expressions -> Envoy's matchers, which always match the whole text.

Source: SMI Traffic Specs (v1alpha4): a path regex is anchored at the start only; headers have search semantics here
(README of `smi/`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from protos.envoy.config.route import v3_pb2 as route
from protos.envoy.type.matcher import v3_pb2 as matcher
from smi.objects import HTTPMatch

_PERCENT = "%(?:25)*"
"""The beginning of an encoded byte, encoded again any number of times."""


def _encoded(pattern: str) -> str:
    """`pattern` with each `%` encoded again any number of times."""
    return pattern.replace("%", _PERCENT)


_DOT = _encoded(r"(?:\.|%(?:2e|ef%(?:bc%8e|b9%92)|e2%80%a[45]))")
_SLASH = _encoded(r"(?:[/\\]|%(?:2f|5c|ef%(?:bc%(?:8f|bc)|b9%a8)|e2%(?:81%84|88%9[56])))")
_BLANK = _encoded(
    r"(?:\+|%(?:2[0b]|85|a[0d]|c2%(?:85|a[0d])|e2%(?:80%(?:8.|a[89a-f])|81%(?:9f|a.))|e3%80%80|ef%bb%bf))"
)
"""Spaces, and what has no width: stripped from a name by some servers and by Windows."""
_END_OF_NAME = f"(?:{_SLASH}|[;:]|{_PERCENT}(?:23|3[abf]))"
_DOTS = f"{_SLASH}{_BLANK}*{_DOT}{{1,2}}(?:{_BLANK}+{_DOT}*)*(?:{_END_OF_NAME}.*)?"
"""A segment of one or two dots, in whatever letters, with blanks or with parameters."""
_NEVER = _encoded(r"(?:\\|%(?:[01][0-9a-f]|7f|2f|5c|c[01]|e0%[89]|f[08c]%8|u[0-9a-f]{4})).*")
"""Backslashes, and slashes that are still encoded; control characters, among them what ends a text in C; longer forms
than UTF-8 allows; `%u002e`."""

DISGUISED_PATH = f"(?is).*(?:{_DOTS}|{_NEVER})"
"""Paths that survive normalisation here, but that an application may read as another path. No rule that names a path
allows them: `/public/..;/admin` is `/admin` to some servers."""


def path_regex(pattern: str) -> matcher.RegexMatcher:
    """Matches a whole path that begins with what `pattern` matches."""
    return matcher.RegexMatcher(regex=f"(?:{pattern}).*")


def header_matchers(match: HTTPMatch) -> list[route.HeaderMatcher]:
    """Methods and headers of `match`, all of which must hold."""
    matchers = []
    if match.methods:
        methods = "|".join(match.methods)
        matchers.append(_header(":method", methods))
    matchers.extend(_header(name, f"(?s:.*)(?:{pattern})(?s:.*)") for name, pattern in match.headers)
    return matchers


def lookalike_headers(match: HTTPMatch) -> list[route.HeaderMatcher]:
    """Present when a request has a header that many applications take for one of `match`: `x_role` for `x-role`."""
    return [
        route.HeaderMatcher(name=spelling, present_match=True)
        for name, _ in match.headers
        for spelling in _spellings(name)
    ]


def _header(name: str, regex: str) -> route.HeaderMatcher:
    return route.HeaderMatcher(
        name=name, string_match=matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=regex))
    )


def _spellings(name: str) -> Iterator[str]:
    """`name` with other choices of dashes, underscores, and dots, which PHP turns into underscores too. The resolver
    lets through names of five at the most.
    """
    first, *rest = re.split("[-_]", name)
    spellings = (
        first + "".join(a + b for a, b in zip(separators, rest, strict=True))
        for separators in itertools.product("_-.", repeat=len(rest))
    )
    yield from (spelling for spelling in spellings if spelling != name)
