"""YAML to documents: lines, limits, broken neighbours."""

from __future__ import annotations

import json
import time
from textwrap import dedent

import pytest

from smi import documents
from smi.documents import parse


def values(text):
    return [document.value for document in parse(text, "f.yaml")[0]]


def found(text):
    return [(finding.code, finding.location.line) for finding in parse(text, "f.yaml")[1]]


def test_every_part_knows_its_line():
    text = dedent("""\
        # a comment
        kind: TrafficSplit

        spec:
          backends:
          - service: a
            weight: 1
          -
            service: b
            weight: 2
          flow: {x: 1,
                 y: [1,
                     2]}
        ---

        kind: Other
        """)
    first, second = parse(text, "f.yaml")[0]
    assert first.line == 2
    assert first.line_of(("spec",)) == 4
    assert first.line_of(("spec", "backends", 0)) == 6
    assert first.line_of(("spec", "backends", 0, "weight")) == 7
    assert first.line_of(("spec", "backends", 1, "service")) == 9
    assert first.line_of(("spec", "flow", "y", 1)) == 13
    assert first.line_of(("spec", "backends", 1, "missing", "deeper")) == 9
    assert first.line_of(("spec", "backends", 7)) == 5
    assert str(second.location(("kind",))) == "f.yaml:16"


def test_json_is_read():
    assert values('{"kind": "X", "n": [1, 2.5, null, true, "t"]}') == [{"kind": "X", "n": [1, 2.5, None, True, "t"]}]


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("80", 80),
        ("-1", -1),
        ("0x1F", 31),
        ("017", 15),
        ("0o17", 15),
        ("0b11", 3),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("on", True),
        ("No", False),
        ("~", None),
        ("", None),
        ("y", "y"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("12a", "12a"),
        ("'80'", "80"),
        ("!!str 80", "80"),
        ("!!int 80", 80),
        ("!!float 80", 80.0),
        ("9" * 60, "9" * 60),
    ],
)
def test_scalars_mean_what_kubectl_takes_them_for(scalar, value):
    (document,) = values(f"key: {scalar}\n")
    assert document["key"] == value
    assert type(document["key"]) is type(value)


def test_json_with_escapes_of_any_character_is_read():
    value = {"a": "\U0001f600", "b": "\\\x00\t\u2028é"}
    assert values(json.dumps(value)) == [value]
    assert found(r'{"a": "\ud83d"}') == [("TL1003", 1)], "half a character is none"


def test_items_of_a_list_are_documents():
    text = "apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: List\n  items:\n  - kind: B\n- 5\n- kind: C\n"
    read, wrong = parse(text, "f.yaml")
    assert [(document.value["kind"], document.line) for document in read] == [("A", 4), ("B", 7), ("C", 9)]
    assert [(finding.code, finding.location.line) for finding in wrong] == [("TL1006", 8)]


def test_documents_without_content_are_skipped():
    assert values("---\n# nothing\n---\n\n--- # none\n---\na: 1\n---\n") == [{"a": 1}]
    assert values("") == []
    assert values("%YAML 1.1\n# c\n---\na: 1\n") == [{"a": 1}]
    assert values("\ufeffa: 1\n") == [{"a": 1}]


@pytest.mark.parametrize(
    ("broken", "code", "line"),
    [
        ("a:\n\tb: 1", "TL1003", 5),
        ("a: 'open", "TL1003", None),
        ("a: [1, 2", "TL1003", None),
        ("a: \x01", "TL1003", 4),
        ("a: !secret b", "TL1003", 4),
        ("a: !!int b", "TL1003", 4),
        ("a: *nowhere", "TL1003", 4),
        ("a: &x [*x]", "TL1003", 4),
        ("a: 1\nb: 2\na: 3", "TL1004", 6),
        ("a: {b: 1, b: 2}", "TL1004", 4),
        ("a: " + "[" * 100 + "]" * 100, "TL1005", 4),
        ("- a", "TL1006", 4),
        ("only text", "TL1006", 4),
        ("80: a", "TL1007", 4),
        ("on: a", "TL1007", 4),
        ("? [a]\n: b", "TL1007", 4),
    ],
)
def test_a_broken_document_leaves_its_neighbours(broken, code, line):
    read, wrong = parse(f"first: 1\n\n---\n{broken}\n---\nlast: 1\n", "f.yaml")
    assert [document.value for document in read] == [{"first": 1}, {"last": 1}]
    (finding,) = wrong
    assert finding.code == code
    assert "\n" not in finding.message
    if line:
        assert finding.location.line == line
    assert read[1].line == 5 + broken.count("\n") + 1


def test_anchors_and_merges():
    text = "base: &base {x: 1, y: 2}\nuse:\n  <<: *base\n  y: 3\nmany:\n  <<: [*base, {z: 4}]\n"
    (document,) = parse(text, "f.yaml")[0]
    assert document.value["use"] == {"x": 1, "y": 3}
    assert document.value["many"] == {"x": 1, "y": 2, "z": 4}
    assert document.line_of(("use", "x")) == 1
    assert document.line_of(("use", "y")) == 4


def test_aliases_cannot_expand_without_bounds():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    assert [code for code, _ in found("\n".join(lines))] == ["TL1005"]
    chain = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200)]
    assert [code for code, _ in found("\n".join(chain))] == ["TL1005"]


def test_aliases_are_limited_for_all_documents_of_a_file_together():
    large = "a: &a {" + ", ".join(f"k{number}: 1" for number in range(1000)) + "}\nb:\n  <<: [" + "*a, " * 400 + "]\n"
    read, wrong = parse("---\n".join([large] * 20), "f.yaml")
    assert [len(document.value["b"]) for document in read] == [1000]
    assert {finding.code for finding in wrong} == {"TL1005"}
    assert len(wrong) == 19


def test_files_and_documents_are_limited(monkeypatch):
    assert found("a" * (documents.MAX_TEXT + 1)) == [("TL1002", 1)]
    monkeypatch.setattr(documents, "MAX_DOCUMENTS", 2)
    read, wrong = parse("a: 1\n---\nb: 1\n---\nc: 1\n", "f.yaml")
    assert len(read) == 2
    assert [(finding.code, finding.location.line) for finding in wrong] == [("TL1005", 4)]


def test_items_of_lists_are_limited_for_all_documents_of_a_file_together(monkeypatch):
    monkeypatch.setattr(documents, "MAX_DOCUMENTS", 3)
    one = "kind: List\nitems:\n- {a: 1}\n"
    assert len(parse("---\n".join([one] * 3), "f.yaml")[0]) == 3
    read, wrong = parse(f"{one}- {{b: 1}}\n- 3\n---\n{one}- {{c: 1}}\n- {{d: 1}}\n- {{e: 1}}\n---\nf: 1\n", "f.yaml")
    assert [next(iter(document.value)) for document in read] == ["a", "b", "a", "c", "f"]
    assert [(finding.code, finding.location.line) for finding in wrong] == [("TL1006", 5), ("TL1005", 11)]


@pytest.mark.parametrize(
    "piece", ["[", "{a: ", "- ", "? ", "&a ", "%a\n---\n", "---\n", " ", "\t", "a", "'", "*a ", "!"]
)
def test_long_nonsense_is_refused_quickly(piece):
    started = time.monotonic()
    parse(piece * (1_000_000 // len(piece)), "f.yaml")
    assert time.monotonic() - started < 10
