"""Which proxies a question is about: Envoy's ``NodeMatcher``, as far as a server can answer it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import re2

from protos.envoy.type.matcher.v3_pb2 import NodeMatcher, StringMatcher

_Test = Callable[[str], bool]


class UnsupportedMatcher(Exception):  # noqa: N818  # it says what it is
    """The matcher asks for something that is not known here, or is wrong; the text is for who asked."""


class NodeFilter:
    """Whether a node id passes one of the matchers; any does where there are none. Raises UnsupportedMatcher."""

    def __init__(self, matchers: Iterable[NodeMatcher]) -> None:
        self._tests = [_node_test(matcher) for matcher in matchers]

    def __call__(self, node_id: str) -> bool:
        return not self._tests or any(test(node_id) for test in self._tests)


def _node_test(matcher: NodeMatcher) -> _Test:
    if matcher.node_metadatas:
        raise UnsupportedMatcher("node_metadatas is not supported: metadata of proxies is not kept")
    if not matcher.HasField("node_id"):
        return lambda _: True
    return _string_test(matcher.node_id)


def _string_test(matcher: StringMatcher) -> _Test:
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return _regex_test(matcher.safe_regex.regex)
    if kind not in {"exact", "prefix", "suffix", "contains"}:
        raise UnsupportedMatcher("node_id needs one of exact, prefix, suffix, contains, safe_regex")
    pattern = str(getattr(matcher, kind))
    if matcher.ignore_case:
        test = _plain_test(kind, pattern.lower())
        return lambda text: test(text.lower())
    return _plain_test(kind, pattern)


def _plain_test(kind: str, pattern: str) -> _Test:
    tests: dict[str, _Test] = {
        "exact": lambda text: text == pattern,
        "prefix": lambda text: text.startswith(pattern),
        "suffix": lambda text: text.endswith(pattern),
        "contains": lambda text: pattern in text,
    }
    return tests[kind]


def _regex_test(pattern: str) -> _Test:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise UnsupportedMatcher(f"the regular expression is wrong: {error}") from None
    return lambda text: compiled.fullmatch(text) is not None
