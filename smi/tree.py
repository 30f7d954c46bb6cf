"""Builds plain values with line numbers from YAML events, within fixed limits.

It works on events and not on PyYAML's constructed values, because it must know the line of everything, must see
keys that are given twice, and must stop before nesting or aliases exhaust the machine. It calls itself for nested
values, and never deeper than they may be nested. No object is made for a scalar: reading files is mostly this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from smi import codes
from smi.codes import Code
from smi.scalars import Scalar, TagError, resolve_plain, resolve_tagged

Value = Scalar | Sequence["Value"] | Mapping[str, "Value"]
"""A value as JSON knows it."""

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
"""How many values one document may hold, each alias counted as all that it stands for. Keys are values too."""

_MAPPING_TAGS = (None, "!", "tag:yaml.org,2002:map")
_LIST_TAGS = (None, "!", "tag:yaml.org,2002:seq")


class TreeError(Exception):
    """A document that cannot be read: the code, the line counted from 0, and the reason in one line."""

    def __init__(self, code: Code, line: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.line = line
        self.reason = reason


class LinedMapping(dict[str, Value]):
    """A mapping. `lines` has the line of each key, counted from 0."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}


class LinedList(list[Value]):
    """A list. `lines` has the line where each item begins, counted from 0."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: list[int] = []


@dataclass(frozen=True, slots=True)
class Tree:
    """The value of a document and the line where it begins, counted from 0.

    Its mappings are LinedMapping and its lists LinedList. Aliases are the value itself that they stand for.
    """

    line: int
    value: Value


@dataclass(slots=True)
class _Anchored:
    """What an anchor names: `size` counts the values in it and `height` its nesting, aliases expanded."""

    value: Value
    size: int = 1
    height: int = 0


class Texts:
    """What the texts of one file mean, each resolved once: equal texts become one object."""

    def __init__(self) -> None:
        self.plain: dict[str, Scalar] = {}
        self.quoted: dict[str, str] = {}
        self.expanded = 0
        """Values that aliases stood for: all documents of a file share one limit."""
        self.listed = 0
        """Documents that are items of lists, beyond the first of each: all lists of a file share one limit."""


def build_tree(next_event: Callable[[], Any], texts: Texts) -> Tree | None:
    """The tree of the only document of a parser, given its `get_event`; None when there is none. Raises TreeError."""
    tree: Tree | None = None
    while (event := next_event()) is not None:
        if isinstance(event, yaml.DocumentStartEvent):
            line = event.start_mark.line if event.start_mark else 0
            if tree is not None:
                raise TreeError(codes.BAD_YAML, line, "a second document begins here without '---'")
            root = next_event()
            tree = Tree(root.start_mark.line, _Builder(next_event, texts).value(root, 0))
    return tree


class _Builder:
    """Builds one document. `depth` is how many mappings and lists are around a value."""

    def __init__(self, next_event: Callable[[], Any], texts: Texts) -> None:
        self._next = next_event
        self._texts = texts
        self._plain = texts.plain
        self._anchors: dict[str, _Anchored | None] = {}
        self._count = 0
        self._deepest = 0

    def value(self, event: Any, depth: int) -> Value:
        """The value that begins with `event`; its other events are taken from the parser."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            if event.tag is None and event.anchor is None and not event.style:
                # What nearly every value is, without another call.
                self._count += 1
                if self._count > MAX_VALUES:
                    raise _too_many(event.start_mark.line)
                text = event.value
                try:
                    return self._plain[text]
                except KeyError:
                    scalar = self._plain[text] = resolve_plain(text)
                    return scalar
            return self._scalar(event)
        if kind is yaml.AliasEvent:
            return self._alias(event, depth)
        return self._container(event, depth)

    def _scalar(self, event: Any) -> Scalar:
        line, text = event.start_mark.line, event.value
        self._add(1, line)
        value: Scalar
        if event.tag is None:
            value = self._texts.quoted.setdefault(text, text) if event.style else resolve_plain(text)
        else:
            try:
                value = resolve_tagged(text, event.tag)
            except TagError as error:
                raise TreeError(codes.BAD_YAML, line, str(error)) from error
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value)
        return value

    def _container(self, event: Any, depth: int) -> Value:
        line, anchor = event.start_mark.line, event.anchor
        is_mapping = type(event) is yaml.MappingStartEvent
        if event.tag not in (_MAPPING_TAGS if is_mapping else _LIST_TAGS):
            raise TreeError(codes.BAD_YAML, line, f"the tag {event.tag[:60]} is not supported here")
        depth += 1
        self._reach(depth, line)
        self._add(1, line)
        read = self._mapping if is_mapping else self._list
        if anchor is None:
            return read(depth)
        before, deepest = self._count, self._deepest
        self._anchors[anchor] = None
        self._deepest = depth
        value = read(depth)
        self._anchors[anchor] = _Anchored(value, 1 + self._count - before, 1 + self._deepest - depth)
        self._deepest = max(self._deepest, deepest)
        return value

    def _mapping(self, depth: int) -> LinedMapping:
        mapping = LinedMapping()
        lines = mapping.lines
        merged: list[tuple[Value, int]] = []
        next_event = self._next
        while type(event := next_event()) is not yaml.MappingEndEvent:
            line = event.start_mark.line
            if type(event) is yaml.ScalarEvent:
                if event.value == "<<" and not event.style and event.tag is None:
                    merged.append((self.value(next_event(), depth), line))
                    continue
            elif type(event) is not yaml.AliasEvent:
                raise TreeError(codes.KEY_NOT_TEXT, line, "a list or mapping is used as a key")
            key = self.value(event, depth)
            if type(key) is not str:
                raise TreeError(codes.KEY_NOT_TEXT, line, f"the key {_shown(key)} is not a text")
            if key in lines:
                raise TreeError(codes.DUPLICATE_KEY, line, f"the key {key[:60]!r} is given twice in one mapping")
            lines[key] = line
            mapping[key] = self.value(next_event(), depth)
        for value, line in merged:
            _merge(mapping, value, line)
        return mapping

    def _list(self, depth: int) -> LinedList:
        items = LinedList()
        next_event = self._next
        while type(event := next_event()) is not yaml.SequenceEndEvent:
            items.lines.append(event.start_mark.line)
            items.append(self.value(event, depth))
        return items

    def _alias(self, event: Any, depth: int) -> Value:
        line, name = event.start_mark.line, str(event.anchor)
        if name not in self._anchors:
            raise TreeError(codes.BAD_YAML, line, f"the alias *{name[:60]} has no anchor before it")
        anchored = self._anchors[name]
        if anchored is None:
            raise TreeError(codes.BAD_YAML, line, f"the alias *{name[:60]} stands inside of what it stands for")
        self._reach(depth + anchored.height, line)
        self._add(anchored.size, line)
        self._texts.expanded += anchored.size
        if self._texts.expanded > MAX_VALUES:
            raise TreeError(codes.TOO_COMPLEX, line, f"the aliases of the file stand for more than {MAX_VALUES} values")
        return anchored.value

    def _reach(self, depth: int, line: int) -> None:
        if depth > MAX_DEPTH:
            raise TreeError(codes.TOO_COMPLEX, line, f"nested deeper than {MAX_DEPTH} levels")
        self._deepest = max(self._deepest, depth)

    def _add(self, values: int, line: int) -> None:
        self._count += values
        if self._count > MAX_VALUES:
            raise _too_many(line)


def _merge(mapping: LinedMapping, merged: Value, line: int) -> None:
    """Add the entries of `<<: merged` that are not given in `mapping` itself; earlier sources win."""
    for source in merged if isinstance(merged, LinedList) else [merged]:
        if not isinstance(source, LinedMapping):
            raise TreeError(codes.BAD_YAML, line, "only mappings can be merged with <<")
        for key, value in source.items():
            if key not in mapping:
                mapping[key] = value
                mapping.lines[key] = source.lines[key]


def _too_many(line: int) -> TreeError:
    return TreeError(codes.TOO_COMPLEX, line, f"more than {MAX_VALUES} values, aliases expanded")


def _shown(key: Value) -> str:
    """A key that is not a text, in the words of YAML."""
    if isinstance(key, bool):
        return "true (which YAML also reads from on, yes)" if key else "false (which YAML also reads from off, no)"
    return "null" if key is None else str(key)[:60]
