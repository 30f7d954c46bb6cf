"""YAML or JSON text -> documents: plain values that know the line of each of their parts.

Takes text and the name of its file; gives documents and diagnostics. Documents are separated by lines that begin
with `---` and read one by one, so that a broken one does not take its neighbours along. Never raises for any text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import yaml

from smi import codes
from smi.diagnostics import Diagnostic, Location
from smi.tree import LinedList, LinedMapping, Texts, Tree, TreeError, Value, build_tree

MAX_TEXT = 8 * 1024 * 1024
"""Characters in one file."""
MAX_DOCUMENTS = 20_000
"""Documents in one file that lines of `---` separate, and as many again that lists have beyond their first item."""

_SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_CONTENT = re.compile(r"^(?!---)[ \t]*[^\s#]|^---[ \t]+[^\s#]", re.MULTILINE)
_SURROGATES = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Path = tuple[str | int, ...]
"""The way from the root of a document to one of its parts: keys of mappings and positions in lists."""


@dataclass(frozen=True, slots=True)
class Document:
    """One mapping that a file holds. `line` is where it begins, `offset` how many lines are before its text."""

    file: str
    value: LinedMapping
    line: int
    offset: int

    def line_of(self, path: Path) -> int:
        """The line of the part at `path`: of its key in a mapping, of its beginning in a list.

        For a path that leads further than the document goes, the line of the last part that exists.
        """
        value: Value = self.value
        line = self.line - self.offset - 1
        for step in path:
            if isinstance(value, LinedMapping) and isinstance(step, str) and step in value:
                line, value = value.lines[step], value[step]
            elif isinstance(value, LinedList) and isinstance(step, int) and 0 <= step < len(value):
                line = value.lines[step]
                value = value[step]
            else:
                break
        return self.offset + line + 1

    def location(self, path: Path = ()) -> Location:
        return Location(self.file, self.line_of(path))


def parse(text: str, file: str) -> tuple[list[Document], list[Diagnostic]]:
    """All documents of a text that could be read, in their order, and what is wrong with the others.

    Documents without content are skipped; the items of a `kind: List` are documents of their own.
    """
    parts, found = split(text, file)
    texts = Texts()
    documents: list[Document] = []
    for offset, part in parts:
        inner, wrong = parse_part(part, offset, file, texts)
        documents += inner
        found += wrong
    return documents, found


def split(text: str, file: str) -> tuple[list[tuple[int, str]], list[Diagnostic]]:
    """The parts of a text between lines of `---` that have any content, each with the number of lines before it.

    A text beyond the limits is not read, or not to its end; the diagnostics say so.
    """
    if len(text) > MAX_TEXT:
        message = f"the file has more than {MAX_TEXT // 1024 // 1024} MiB"
        return [], [codes.FILE_TOO_LARGE.diagnostic(message, location=Location(file, 1))]
    parts = list(islice(_parts(text.removeprefix("\ufeff")), MAX_DOCUMENTS + 1))
    if len(parts) <= MAX_DOCUMENTS:
        return parts, []
    offset, _ = parts.pop()
    message = f"the file has more than {MAX_DOCUMENTS} documents; the rest is not read"
    return parts, [codes.TOO_COMPLEX.diagnostic(message, location=Location(file, offset + 1))]


def parse_part(part: str, offset: int, file: str, texts: Texts) -> tuple[list[Document], list[Diagnostic]]:
    """The documents in a part of a file: one, or the items of a list. `texts` is shared by the parts of a file."""
    documents: list[Document] = []
    found: list[Diagnostic] = []
    try:
        tree = _tree(part, texts)
    except TreeError as error:
        place = Location(file, offset + error.line + 1)
        return [], [error.code.diagnostic(error.reason, location=place)]
    if tree is not None and tree.value is not None:
        _collect(file, offset, tree, texts, documents, found)
    return documents, found


def _parts(text: str) -> Iterator[tuple[int, str]]:
    start, line = 0, 0
    ends = [match.start() for match in _SEPARATOR.finditer(text)] + [len(text)]
    if len(ends) > 1 and _only_directives(text[: ends[0]]):
        del ends[0]  # `%YAML 1.1` belongs to the document that follows
    for end in ends:
        part = text[start:end]
        if _CONTENT.search(part):
            yield line, part
        line += part.count("\n")
        start = end


def _only_directives(part: str) -> bool:
    return all(not line.strip() or line.startswith(("%", "#")) for line in part.splitlines())


def _tree(part: str, texts: Texts) -> Tree | None:
    """The value of one document. Raises TreeError for everything that is wrong with it."""
    try:
        try:
            return build_tree(_PARSER(part).get_event, texts)
        except yaml.MarkedYAMLError:
            # JSON writes characters beyond 16 bits as two escapes, which YAML refuses to read.
            joined = _SURROGATES.sub(lambda pair: json.loads(f'"{pair[0]}"'), part)
            if joined == part:
                raise
            return build_tree(_PARSER(joined).get_event, texts)
    except yaml.reader.ReaderError as error:
        position = error.position if isinstance(error.position, int) else 0
        raise TreeError(codes.BAD_YAML, part.count("\n", 0, position), _one_line(error.reason)) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = _one_line(f"{error.problem or 'it cannot be read'} {error.context or ''}")
        raise TreeError(codes.BAD_YAML, mark.line if mark else 0, reason) from error
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        raise TreeError(codes.BAD_YAML, 0, _one_line(str(error))) from error


def _one_line(reason: str) -> str:
    return " ".join(str(reason).split())[:200]


def _collect(
    file: str, offset: int, tree: Tree, texts: Texts, documents: list[Document], found: list[Diagnostic]
) -> None:
    """Append the document that `tree` is, or the items of the list that it is, as many as the file may have."""
    waiting = [(tree.value, offset + tree.line + 1)]
    while waiting:
        value, line = waiting.pop()
        if documents or found:
            texts.listed += 1
            if texts.listed > MAX_DOCUMENTS:
                message = f"the lists of the file have more than {MAX_DOCUMENTS} items; the rest is not read"
                found.append(codes.TOO_COMPLEX.diagnostic(message, location=Location(file, line)))
                return
        if not isinstance(value, LinedMapping):
            message = "a document must be a mapping with apiVersion, kind and metadata"
            found.append(codes.NOT_AN_OBJECT.diagnostic(message, location=Location(file, line)))
            continue
        items = value.get("items") if value.get("kind") == "List" else None
        if isinstance(items, LinedList):
            lines = (offset + line + 1 for line in reversed(items.lines))
            waiting.extend(zip(reversed(items), lines, strict=True))
        else:
            documents.append(Document(file, value, line, offset))
