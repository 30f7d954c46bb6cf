"""SMI's regular expressions -> Envoy's matchers, which always match the whole text.

Source: SMI Traffic Specs (v1alpha4): a path regex is anchored at the start only; headers have search semantics here
(README of `smi/`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from protos.envoy.config.route import v3_pb2 as route
from protos.envoy.type.matcher import v3_pb2 as matcher
from smi.objects import HTTPMatch

_MOST_SPELLINGS = 64
DISGUISED_PATH = (
    r"(?i).*[/\\]"  # a segment
    r"(?:\.|%(?:25)*2e){1,2}"  # that is a dot segment, perhaps encoded again and again,
    r"(?:;.*|%(?:25)*3b.*|[/\\].*|%(?:25)*(?:2f|5c).*|)"  # perhaps with parameters.
    r"|.*%(?:25)+(?:2f|5c).*|.*%5c.*|.*\\.*|(?i).*%00.*"
)
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
    """`name` with one or more of its dashes as underscores."""
    first, *rest = name.split("-")
    choices = itertools.product("_-", repeat=len(rest))
    for separators in itertools.islice(choices, min(_MOST_SPELLINGS, 2 ** len(rest) - 1)):
        yield first + "".join(a + b for a, b in zip(separators, rest, strict=True))
