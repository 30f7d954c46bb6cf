"""What happens to headers before rules see them: which are dropped whatever the rules are, and where the filter is."""

from __future__ import annotations

import pytest
import re2

from protos.envoy.extensions.filters.http.header_mutation import v3_pb2 as header_mutation
from tests.unit.translators.conftest import unpacked
from translators.headers import cleaning_filter

WITNESS = "x-forwarded-client-cert"
SPELLINGS = [f"x{a}forwarded{b}client{c}cert" for a in "-_." for b in "-_." for c in "-_."]


def dropped(name: str, *, trailer: bool = False) -> bool:
    mutations = unpacked(cleaning_filter().typed_config, header_mutation.HeaderMutation).mutations
    rules = mutations.request_trailers_mutations if trailer else mutations.request_mutations
    assert not mutations.response_mutations
    return any(re2.fullmatch(each.remove_on_match.key_matcher.safe_regex.regex, name) for each in rules)


def test_only_the_sidecar_says_who_the_client_is() -> None:
    assert [name for name in SPELLINGS if not dropped(name)] == [WITNESS]
    assert all(dropped(name, trailer=True) for name in SPELLINGS)


@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "x-forwarded-client", "x-envoy-external-address", "x-role", "cookie", "x_role", "host"]
)
def test_other_headers_are_left_alone(name: str) -> None:
    assert not dropped(name)
    assert not dropped(name, trailer=True)
