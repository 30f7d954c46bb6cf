"""Headers of a request, changed on the server's side before rules look at them: Envoy's HTTP filter `header_mutation`.

Envoy's matchers are content when one line of a header matches: tried with a real one. Trailers are not simulated, and
what is said of them is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from protos.envoy.config.common.mutation_rules.v3_pb2 import HeaderMutation as Mutation
from protos.envoy.config.core.v3_pb2 import HeaderValueOption
from protos.envoy.extensions.filters.http.header_mutation.v3_pb2 import Mutations
from tests.simulator import matching
from tests.simulator.asked import Asked
from tests.simulator.strictness import NotUnderstoodError, only, same

_ALL_LINES = re.compile(r"%CEL\(request\.headers\[(\".*\")\]\)%")


@dataclass(frozen=True, slots=True)
class Cleaning:
    """Headers whose lines become one, and tests of the names of those that are dropped."""

    joined: frozenset[str] = frozenset()
    dropped: tuple[Callable[[str], object], ...] = ()

    def applied(self, asked: Asked) -> Asked:
        kept = {name for name in asked.headers if not any(drops(name) for drops in self.dropped)}
        return replace(
            asked,
            headers={name: value for name, value in asked.headers.items() if name in kept},
            lines={name: each for name, each in asked.lines.items() if name in kept - self.joined},
        )


def cleaning(mutations: Mutations) -> Cleaning:
    """What mutations do to the headers of requests."""
    only(mutations, "request_mutations", "request_trailers_mutations")
    joined, dropped = set(), []
    for each in mutations.request_mutations:
        only(each, "append", "remove_on_match")
        if each.WhichOneof("action") == "remove_on_match":
            only(each.remove_on_match, "key_matcher")
            dropped.append(matching.text(each.remove_on_match.key_matcher))
        else:
            joined.add(_joined(each))
    return Cleaning(frozenset(joined), tuple(dropped))


def _joined(mutation: Mutation) -> str:
    option = mutation.append
    only(option, "header", "append_action")
    only(option.header, "key", "value")
    same("append_action", option.append_action, HeaderValueOption.OVERWRITE_IF_EXISTS)
    found = _ALL_LINES.fullmatch(option.header.value)
    if found is None or json.loads(found[1]) != option.header.key:
        raise NotUnderstoodError(f"{option.header.key} becomes {option.header.value}")
    return option.header.key
