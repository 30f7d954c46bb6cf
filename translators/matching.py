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
