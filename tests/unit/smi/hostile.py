"""Texts that are made to cost as much as possible, none larger than a file may be."""

from __future__ import annotations

import json
from collections.abc import Callable

from smi.documents import MAX_TEXT
from smi.tree import MAX_VALUES

HTR = "apiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata: {name: a}\n"
TT = "apiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\nmetadata: {name: a}\n"
TS = "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: a}\n"
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"


def filled(piece: str, size: int) -> str:
    """`piece` as often as it fits; `%d` in it is counted up."""
    if "%d" not in piece:
        return piece * (size // len(piece))
    parts, length = [], 0
    while length < size - 100:
        parts.append(piece % len(parts))
        length += len(parts[-1])
    return "".join(parts)


def many(piece: str, values: int, size: int) -> str:
    """As much of `piece`, which holds so many values, as a document may hold, or a file, and of no more than `size`."""
    most = (MAX_VALUES - 50_000) * size // MAX_TEXT
    return filled(piece, min(size - 300, most // values * len(piece)))


def laughs(anchor: str, use: str, count: int = 9, levels: int = 30) -> str:
    lines = [f"a0: &a0 {anchor}"]
    lines += [f"a{n}: &a{n} {use % ', '.join([f'*a{n - 1}'] * count)}" for n in range(1, levels)]
    return "\n".join(lines)


TEXTS: dict[str, Callable[[int], str]] = {
    "more than a file may hold": lambda size: "a" * 10_000_000,
    "one plain text": lambda size: "a: " + "a" * (size - 8),
    "one quoted text": lambda size: 'a: "' + "a" * (size - 8) + '"',
    "one text of escapes": lambda size: 'a: "' + "\\x41" * (size // 4 - 8) + '"',
    "one text of surrogates": lambda size: 'a: "' + "\\ud83d\\ude00" * (size // 12 - 8) + '"',
    "one text of lone surrogates": lambda size: 'a: "' + "\\ud83d" * (size // 6 - 8) + '"',
    "one folded text": lambda size: "a: >\n" + filled("  a\n", size - 8),
    "one key": lambda size: "a" * (size - 8) + ": 1",
    "one explicit key": lambda size: "? " + "a" * (size - 8) + "\n: 1",
    "one comment": lambda size: "# " + "a" * (size - 8),
    "comments": lambda size: filled("#\n", size),
    "spaces": lambda size: " " * size,
    "tabs": lambda size: "\t" * size,
    "line breaks": lambda size: "\n" * size,
    "carriage returns": lambda size: "\r" * size,
    "NUL": lambda size: "\0" * size,
    "next lines": lambda size: filled("a: b\x85", size // 2),
    "separators": lambda size: filled("---\n", size),
    "documents": lambda size: filled("---\na: %d\n", size),
    "documents of nothing": lambda size: filled("--- 1\n", size),
    "open brackets": lambda size: "[" * size,
    "open braces": lambda size: filled("{a: ", size),
    "open dashes": lambda size: filled("- ", size),
    "open keys": lambda size: filled("? ", size),
    "deep blocks": lambda size: "".join(f"{' ' * depth}a:\n" for depth in range(4000)),
    "values in brackets": lambda size: "[" + filled("1,", size - 8) + "]",
    "values in lines": lambda size: filled("- 1\n", size),
    "empty lists": lambda size: "[" + filled("[],", size - 8) + "]",
    "keys": lambda size: filled("a%d: 1\n", size),
    "one key again and again": lambda size: filled("a: 1\n", size),
    "anchors": lambda size: filled("- &a%d b\n", size),
    "aliases": lambda size: "- &a [" + "b, " * 1000 + "]\n" + filled("- *a\n", max(size - 8000, 100)),
    "laughs": lambda size: laughs("[x, x, x]", "[%s]"),
    "laughs in mappings": lambda size: laughs("{x: 1}", "{a: [%s]}"),
    "laughs in merges": lambda size: laughs("{x: 1}", "{<<: [%s]}"),
    "laughs of few": lambda size: laughs("[x]", "[%s]", 2, 63),
    "merges of many": lambda size: (
        "a: &a {" + ", ".join(f"k{n}: 1" for n in range(1000)) + "}\n" + filled("- <<: *a\n", 9000)
    ),
    "a large integer": lambda size: "a: " + "9" * (size - 8),
    "a large hexadecimal": lambda size: "a: 0x" + "f" * (size - 8),
    "a large fraction": lambda size: "a: 0." + "1" * (size - 8),
    "large integers": lambda size: filled("- " + "9" * 39 + "%d\n", size),
    "underscores": lambda size: "a: 1" + "_" * (size - 8),
    "exponents": lambda size: filled("- 1e99%d\n", size),
    "sexagesimal": lambda size: "a: 1" + ":59" * (size // 3 - 8),
    "tags": lambda size: filled("- !!str a\n", size),
    "a python tag": lambda size: "a: !!python/object/apply:os.system ['true']",
    "a long tag": lambda size: "a: !" + "a" * (size - 8) + " b",
    "a long anchor": lambda size: "a: *" + "a" * (size - 8),
    "a long value of a tag": lambda size: "a: !!int " + "a" * (size - 16),
    "directives": lambda size: filled("%YAML 1.1\n", size),
    "items": lambda size: "kind: List\nitems:\n" + many("- a\n", 1, size),
    "items of nothing": lambda size: "kind: List\nitems: [" + many("{},", 1, size) + "]",
    "lists of lists": lambda size: "kind: List\nitems:\n" + many("- {kind: List, items: [1]}\n", 6, size),
    "matches": lambda size: HTR + "spec:\n  matches:\n" + many("  - {name: a%d, pathRegex: /}\n", 6, size),
    "matches of one name": lambda size: HTR + "spec:\n  matches:\n" + many("  - {name: a}\n", 3, size),
    "methods": lambda size: HTR + "spec:\n  matches:\n  - {name: a, methods: [" + many("GTE,", 1, size) + "]}\n",
    "wrong headers": lambda size: (
        HTR + "spec:\n  matches:\n  - {name: a, headers: {" + many("x%d: 1,", 2, size) + "}}\n"
    ),
    "lists of headers": lambda size: (
        HTR + "spec:\n  matches:\n  - {name: a, headers: [" + many("{x: a},", 3, size) + "]}\n"
    ),
    "expressions": lambda size: (
        HTR + "spec:\n  matches:\n" + many("  - {name: a, pathRegex: '[a-z]{0,1000}%d'}\n", 40, size)
    ),
    "sources": lambda size: (
        TT
        + "spec:\n  destination: {kind: ServiceAccount, name: a}\n  rules: [{kind: TCPRoute, name: a}]\n  sources:\n"
        + many("  - {kind: ServiceAcount, name: a}\n", 5, size)
    ),
    "good sources": lambda size: (
        TT
        + "spec:\n  destination: {kind: ServiceAccount, name: a}\n  rules: [{kind: TCPRoute, name: a}]\n  sources:\n"
        + many("  - {kind: ServiceAccount, name: a%d}\n", 5, size)
    ),
    "names of matches": lambda size: (
        TT
        + "spec:\n  destination: {kind: ServiceAccount, name: a}\n  sources: [{kind: ServiceAccount, name: a}]\n"
        + "  rules:\n  - kind: HTTPRouteGroup\n    name: a\n    matches: ["
        + many("a%d,", 1, size)
        + "]\n"
    ),
    "headers": lambda size: HTR + "spec:\n  matches:\n  - {name: a, headers: {" + many("x%d: a,", 2, size) + "}}\n",
    "fields": lambda size: HTR + "spec:\n" + many("  matchs%d: 1\n", 2, size),
    "fields at the root": lambda size: HTR + many("spec%d: 1\n", 2, size),
    "rules": lambda size: (
        TT
        + "spec:\n  destination: {kind: ServiceAccount, name: a}\n  sources: []\n  rules:\n"
        + many("  - {kind: TcpRoute, name: a}\n", 5, size)
    ),
    "backends": lambda size: TS + "spec:\n  service: a\n  backends:\n" + many("  - {service: a, weight: 1}\n", 5, size),
    "wrong backends": lambda size: TS + "spec:\n  service: a\n  backends:\n" + many("  - {service: A}\n", 3, size),
    "ports": lambda size: SERVICE + "spec:\n  ports:\n" + many("  - {port: 80}\n", 3, size),
    "labels": lambda size: SERVICE.replace("{name: a}", "{name: a, labels: {" + many("a%d: b,", 2, size) + "}}"),
    "wrong labels": lambda size: SERVICE.replace("{name: a}", "{name: a, labels: {" + many("a%d: 1,", 2, size) + "}}"),
    "kinds": lambda size: filled("---\napiVersion: a/v1\nkind: TraficSplit%d\nmetadata: {name: a}\n", size),
    "kept, deep": lambda size: TT.replace(
        "{name: a}", "{name: a, annotations: {smi.tulle.dev/kept: '" + "[" * (size - 200) + "'}}"
    ),
    "kept, numbers": lambda size: TT.replace(
        "{name: a}", '{name: a, annotations: {smi.tulle.dev/kept: \'{"port": ' + "9" * 100_000 + "}'}}"
    ),
    "kept, many": lambda size: (
        TS.replace("v1alpha4", "v1alpha2").replace(
            "{name: a}",
            "{name: a, annotations: {smi.tulle.dev/kept: "
            + json.dumps(json.dumps({"matches": [{"kind": "HTTPRouteGroup", "name": "a"}] * 100_000}))
            + "}}",
        )
        + "spec: {service: a, backends: [{service: a, weight: 1}]}\n"
    ),
}
"""By name, made when they are wanted, of at most so many characters where that is up to them."""
