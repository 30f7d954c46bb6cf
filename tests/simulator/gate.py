"""Where a gate sends a connection: exactly the CEL that `translators/gate.py` writes, and nothing more.

Source: Envoy's network filter `set_filter_state` (values are set in their order, one that cannot be computed is left
out) and the filter state that ORIGINAL_DST clusters take their address from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from protos.envoy.extensions.filters.network.set_filter_state.v3_pb2 import Config
from tests.simulator.asked import Asked
from tests.simulator.strictness import NotUnderstoodError, only, same

Gate = Callable[[Asked, str], str]
"""The address for a connection, from who asks and the address that was called, with its port."""
_TEXT = r'"[^"\\]*"'
_NUMBER = r"\d+"
_PLAIN = re.compile(r"[0-9a-f.:\[\]]+")
_WAY = re.compile(rf"destination\.address|{_TEXT}")
_CONDITION = re.compile(
    rf"\(connection\.mtls && connection\.uri_san_peer_certificate in \[({_TEXT}(?:, {_TEXT})*)\]"
    rf"(?: && destination\.port in \[({_NUMBER}(?:, {_NUMBER})*)\])?\)"
)


def compiled(config: Config) -> Gate:
    """The gate that `config` makes."""
    only(config, "on_downstream_tls_handshake")
    ways = []
    for value in config.on_downstream_tls_handshake:
        only(value, "object_key", "format_string")
        same("object_key", value.object_key, "envoy.network.transport_socket.original_dst_address")
        only(value.format_string, "text_format_source")
        only(value.format_string.text_format_source, "inline_string")
        ways.append(_format(value.format_string.text_format_source.inline_string))
    if not ways:
        raise NotUnderstoodError("a gate that sets nothing")
    # Each of these can always be computed, so that the last one counts.
    return ways[-1]


def _format(text: str) -> Gate:
    if _PLAIN.fullmatch(text):
        return lambda asked, called: text
    if not (text.startswith("%CEL(") and text.endswith(")%")):
        raise NotUnderstoodError(f"format {text}")
    condition, asks, ways = text[len("%CEL(") : -len(")%")].partition(" ? ")
    if not asks:
        return _way(condition)
    inside, _, outside = ways.partition(" : ")
    tests, open_way, closed_way = list(_conditions(condition)), _way(inside), _way(outside)
    return lambda asked, called: (open_way if any(test(asked) for test in tests) else closed_way)(asked, called)


def _conditions(text: str) -> Iterator[Callable[[Asked], bool]]:
    for part in text.split(" || "):
        found = _CONDITION.fullmatch(part)
        if found is None:
            raise NotUnderstoodError(f"CEL {part}")
        yield _condition(frozenset(json.loads(f"[{found[1]}]")), found[2])


def _condition(callers: frozenset[str], listed: str | None) -> Callable[[Asked], bool]:
    if listed is None:
        return lambda asked: asked.caller in callers
    ports = frozenset(map(int, listed.split(", ")))
    return lambda asked: asked.caller in callers and asked.port in ports


def _way(text: str) -> Gate:
    if not _WAY.fullmatch(text):
        raise NotUnderstoodError(f"CEL {text}")
    if text == "destination.address":
        return lambda asked, called: called
    address: str = json.loads(text)
    return lambda asked, called: address
