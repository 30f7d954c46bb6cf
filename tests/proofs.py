"""Tables in READMEs that name the tests of what they say: whether those tests exist.

`file::name` is `test_name` in the one `test_file.py` below `tests/` that has it, `file::name[case]` besides names a
function `case` of that file. Where files of one name have tests of one name, the folder is put before it:
`envoy_access::name` is in `envoy/test_access.py`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
Proof = tuple[str, str, str]
"""File, test, and case."""


def rows_below(readme: str, heading: str) -> list[list[str]]:
    """The lines of the tables under a heading, heads included, but none that begin a group in bold letters."""
    section = re.split("^## ", (REPOSITORY / readme).read_text().partition(f"## {heading}\n")[2], flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|") and line.strip("|-")]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return [row for row in rows if not row[0].startswith("**")]


def proofs_in(rows: list[list[str]]) -> list[Proof]:
    """The tests that a table names, each once."""
    return sorted(set(re.findall(r"`(\w+)::(\w+)(?:\[(\w+)\])?`", "\n".join(map(str, rows)))))


def assert_exists(file: str, test: str, case: str = "") -> None:
    """Fail unless there is exactly one such test."""
    defined = [text for text in _texts(file) if re.search(rf"^(async )?def test_{test}\(", text, re.MULTILINE)]
    assert len(defined) == 1, f"{len(defined)} tests {file}::{test}"
    assert not case or f"def {case}(" in defined[0]


@cache
def _texts(file: str) -> tuple[str, ...]:
    found = list((REPOSITORY / "tests").rglob(f"test_{file}.py"))
    folder, _, name = file.partition("_")
    found += (REPOSITORY / "tests").rglob(f"{folder}/test_{name}.py")
    return tuple(path.read_text() for path in found)
