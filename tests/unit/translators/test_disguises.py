"""What `smi.paths.DISGUISED_PATH` lets through cannot be read as a path outside of the rule, by any server at all."""

from __future__ import annotations

import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smi.paths import DISGUISED_PATH
from tests.envoy.readings import readings

_REFUSED = re2.compile(DISGUISED_PATH)
_DOTS = (".", "..", "%2e", "%2E", "%252e", "%ef%bc%8e", "%e2%80%a4", "%e2%80%a5", "%c0%ae", "%f0%80%80%ae", "%u002e")
_SLASHES = ("/", "//", "\\", "%2f", "%252F", "%5c", "%ef%bc%8f", "%e2%88%95", "%c1%9c", "%e0%80%af", "%u2215")
_BLANKS = ("%20", "+", "%2b", "%09", "%7f", "%c2%a0", "%a0", "%ad", "%85", "%e2%80%8b", "%e3%80%80", "%ef%bb%bf")
_ENDS = (";", ":", "%3b", "%253B", "%3f", "%23", "%00", "%3a")
_PLAIN = ("a", "admin", "2", "5", "e", "f", "%", "%25", "%2", "u002e", "...", "%c0", "%e2", "%8f", "=", "&", "~", "@")
_PARTS = st.sampled_from(_DOTS + _SLASHES + _BLANKS + _ENDS + _PLAIN)


@settings(max_examples=1500, deadline=None)
@given(st.lists(_PARTS, min_size=1, max_size=8).map("".join))
@example("%2f..%2fadmin")
@example("..%2b/admin")
@example("a/../../admin")
def test_what_is_let_through_means_the_same_to_every_server(rest: str) -> None:
    path = f"/public/{rest}"
    if not _REFUSED.fullmatch(path):
        outside = {each for each in readings(path) if not f"{each}/".startswith("/public/")}
        assert not outside
