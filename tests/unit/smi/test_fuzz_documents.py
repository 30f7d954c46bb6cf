"""Valid documents of every kind and version, and what typing errors, other programs and enemies make of them.

Each example becomes values or diagnostics, never an exception. `FAST` is for every run; the same tests are run longer
under the mark `slow`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smi.codes import CODES
from smi.files import FileSource
from smi.kept import KEPT
from tests.unit.smi.outcomes import check
from tests.unit.smi.valid import documents

VALID = documents()
FAST, LONG = 100, 3000

odd_texts = st.sampled_from(
    [
        "",
        " ",
        "*",
        "~",
        "<<",
        "a.b",
        "A",
        "\0",
        "\ud800",
        "\u2028",
        "1e999",
        "٣",
        "a" * 300,
        "(",
        "(?i",
        "[[:",
        "\\p{L}",
    ]
)
odd_numbers = st.sampled_from(
    [0, -1, 1.5, 65536, 2**31, 2**63, 2**64, 10**38, -(10**4000), 1e308, float("inf"), float("-inf"), float("nan")]
)
odd = st.none() | st.booleans() | odd_numbers | odd_texts | st.text(max_size=5)
anything = st.recursive(
    odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_texts | st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at]
    if isinstance(value, dict):
        found += [place for key, inner in value.items() for place in places(inner, (*at, key))]
    if isinstance(value, list):
        found += [place for position, inner in enumerate(value) for place in places(inner, (*at, position))]
    return found


def part(value: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        value = value[step]
    return value


def exchanged(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = exchanged(value[place[0]], place[1:], new)
    return copy


valid = st.sampled_from(sorted(VALID))


def tree_with_other_nodes(draw: Any) -> str:
    """Up to three nodes are exchanged for anything, or for other parts of the document: those become aliases."""
    document = VALID[draw(valid)]
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(places(document)))
        other = part(document, draw(st.sampled_from(places(document))))
        document = exchanged(document, where, draw(anything | st.just(other)))
    if draw(st.booleans()):
        return json.dumps(document)
    try:
        return yaml.safe_dump(document, allow_unicode=draw(st.booleans()), default_flow_style=draw(st.booleans()))
    except UnicodeError:
        return json.dumps(document)


PIECES = [
    "&a ",
    "*a",
    "!!str ",
    "!!binary ",
    "!!set ",
    "! ",
    "<<: *a",
    "? ",
    "- ",
    ": ",
    "#",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
]
PIECES += [
    "\ufeff",
    "\0",
    "\r",
    "\r\n",
    "\t",
    "\x85",
    "\u2029",
    "'",
    '"',
    "{",
    "]",
    "|\n",
    ">-\n",
    ".nan",
    ".inf",
    "0x",
]
PIECES += ["2024-01-01", "9" * 5000, "on", "~", "\ud83d", "\\ud83d"]


def lines_with_other_pieces(draw: Any) -> str:
    """The text of a document: pieces put in, lines given twice, moved or left out, indented otherwise."""
    lines = yaml.safe_dump(VALID[draw(valid)], sort_keys=False).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        match draw(st.integers(0, 4)):
            case 0:
                column = draw(st.integers(0, len(line)))
                lines[at] = line[:column] + draw(st.sampled_from(PIECES)) + line[column:]
            case 1:
                lines.insert(at, line)
            case 2:
                lines.insert(draw(st.integers(0, len(lines))), lines.pop(at))
            case 3:
                lines[at] = " " * draw(st.integers(1, 3)) + line
            case _:
                del lines[at]
                lines = lines or [""]
    return draw(st.sampled_from(["\n", "\r\n", "\r", "\u2028"])).join(lines)


kept_values = st.dictionaries(
    st.sampled_from(["port", "emptyRules", "udpRules", "headers", "spec", "matches", "weights", "rest", "later"]),
    anything | st.lists(st.lists(anything | st.integers(0, 3), min_size=2, max_size=2), max_size=3),
    max_size=4,
)


def document_with_other_things_kept(draw: Any) -> str:
    """The annotation of conversion holds what only an enemy would write into it, or is cut off."""
    document = VALID[draw(valid)]
    kept = draw(kept_values.map(json.dumps) | anything.map(json.dumps) | st.text(max_size=8))
    written = document["metadata"]["annotations"].get(KEPT)
    if written is not None and draw(st.booleans()):
        kept = written[: draw(st.integers(0, len(written)))] + draw(st.text(max_size=2))
    annotation = draw(st.just(kept) | anything)
    return json.dumps(exchanged(document, ("metadata", "annotations"), {KEPT: annotation}))


WAYS = [tree_with_other_nodes, lines_with_other_pieces, document_with_other_things_kept]
way = pytest.mark.parametrize("made", WAYS, ids=lambda made: made.__name__)


def fuzz(made: Callable[[Any], str], examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def run(data: Any) -> None:
        check(made(data.draw))

    run()


def test_the_documents_are_valid() -> None:
    for name, document in VALID.items():
        (outcome,) = check(yaml.safe_dump(document))
        assert outcome.object is not None, name
        assert outcome.intact, (name, outcome.diagnostics)


@way
def test_what_becomes_of_a_document(made: Callable[[Any], str]) -> None:
    fuzz(made, FAST)


@pytest.mark.slow
@way
def test_what_becomes_of_many_documents(made: Callable[[Any], str]) -> None:
    fuzz(made, LONG)


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7", "cp037"]


@given(st.data())
@settings(max_examples=FAST, deadline=None)
def test_bytes_of_any_encoding_are_a_file(data: Any) -> None:
    """A file is UTF-8, with a mark of the byte order or without. In all others it is refused, or means the same."""
    name = data.draw(valid)
    text = yaml.safe_dump(VALID[name]).replace("\n", data.draw(st.sampled_from(["\n", "\r\n"])))
    encoding = data.draw(st.sampled_from(ENCODINGS))
    written = text.encode(encoding)
    cut = data.draw(st.just(len(written)) | st.integers(0, len(written)))
    with TemporaryDirectory() as directory:
        Path(directory, "a.yaml").write_bytes(written[:cut] + data.draw(st.just(b"") | st.binary(max_size=3)))
        change = FileSource(Path(directory)).load()
    assert len(change.events) <= 1
    assert all(finding.code in CODES for finding in change.diagnostics)
    assert change.events or change.diagnostics or cut < len(written)


@pytest.mark.parametrize("name", VALID)
def test_line_breaks_and_marks_change_nothing(name: str) -> None:
    (plain,) = check(yaml.safe_dump(VALID[name]))
    written = yaml.safe_dump(VALID[name])
    for text in (f"\ufeff{written}", f"{written}\n...\n", f"# x\n---\n{written}"):
        for breaks in ("\n", "\r\n"):
            (same,) = check(text.replace("\n", breaks))
            assert same.object == plain.object
