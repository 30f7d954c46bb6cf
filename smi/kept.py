"""The annotation that holds what the version of an SMI object cannot say, so that converting loses nothing.

| kind | key | at versions | value |
|---|---|---|---|
| TrafficTarget | `port` | v1alpha3 | `destination.port` of v1alpha1 and v1alpha2 |
| TrafficTarget | `emptyRules` | v1alpha3 | true: rules were empty in a version where that is allowed |
| TrafficTarget | `emptyRules` | v1alpha1, v1alpha2 | false: rules were empty in v1alpha3, where that grants nothing |
| TrafficTarget | `udpRules` | v1alpha1, v1alpha2 | `[[position in all rules, rule], ...]` |
| HTTPRouteGroup | `headers` | v1alpha1 | `[[name of a match or null, its headers or null], ...]`, in order |
| TCPRoute | `spec` | v1alpha1 to v1alpha3 | the `spec` of v1alpha4 |
| TrafficSplit | `matches` | v1alpha1, v1alpha2 | `spec.matches` as written |
| TrafficSplit | `weights` | v1alpha2 to v1alpha4 | the quantities of v1alpha1 as written, in order of the backends |
| any | `rest` | any | fields that have no place: of `spec` by their names, of the root under the empty name |

Conversion writes it and decoding reads it. What the version itself says wins over the annotation.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

KEPT = "smi.tulle.dev/kept"

_ENCODER = json.JSONEncoder(separators=(",", ":"))


def read(annotations: Mapping[str, object]) -> dict[str, Any] | None:
    """What is kept in the annotations of an object: {} without the annotation, None when it cannot be understood.

    The values of the keys above have the shape given there; keys that are not known are passed on as they are.
    """
    text = annotations.get(KEPT)
    if text is None:
        return {}
    if not isinstance(text, str):
        return None
    try:
        kept = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(kept, dict) or not all(_SHAPES.get(key, _anything)(value) for key, value in kept.items()):
        return None
    return kept


def written(kept: Mapping[str, Any]) -> str:
    """The text of the annotation, keys in alphabetical order, values as written. What JSON cannot hold raises
    TypeError, ValueError or RecursionError.
    """
    return _ENCODER.encode(dict(sorted(kept.items())))


def restore_headers(matches: list[Any], kept_headers: list[Any]) -> list[Any]:
    """The matches of an HTTPRouteGroup with their kept headers; new values, the arguments stay as they are.

    An entry belongs to the next match of its name that has no entry yet. Headers that a match has itself win.
    """
    waiting: dict[str | None, list[Any]] = {}
    for name, headers in reversed(kept_headers):
        waiting.setdefault(name, []).append(headers)
    restored: list[Any] = []
    for match in matches:
        entries = waiting.get(match_name(match)) if isinstance(match, dict) else None
        headers = entries.pop() if entries else None
        if headers is None or match.get("headers") is not None:
            restored.append(match)
        else:
            restored.append({**match, "headers": headers})
    return restored


def restore_udp_rules(rules: list[Any], kept: list[Any]) -> list[Any]:
    """The rules of a TrafficTarget with the kept ones back at their positions, or at the end of fewer rules."""
    own = iter(rules)
    restored: list[Any] = []
    for position, rule in sorted(kept, key=lambda entry: int(entry[0])):
        restored += itertools.islice(own, max(0, position - len(restored)))
        restored.append(rule)
    return restored + list(own)


def match_name(match: dict[str, Any]) -> str | None:
    """The name by which the headers of a match are kept; None when it has none that is a text."""
    name = match.get("name")
    return name if isinstance(name, str) else None


def _anything(_: object) -> bool:
    return True


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _are_headers(value: object) -> bool:
    return _are_pairs(value, lambda name: name is None or isinstance(name, str))


def _are_udp_rules(value: object) -> bool:
    return _are_pairs(value, lambda position: _is_whole(position) and 0 <= position < 2**31)


def _are_pairs(value: object, valid_first: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and valid_first(pair[0]) for pair in value
    )


_SHAPES: Mapping[str, Callable[[object], bool]] = {
    "port": _is_port,
    "emptyRules": lambda value: isinstance(value, bool),
    "udpRules": _are_udp_rules,
    "headers": _are_headers,
    "weights": lambda value: isinstance(value, list),
    "rest": lambda value: isinstance(value, dict),
}
