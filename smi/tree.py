"""Builds plain values with line numbers from YAML events, within fixed limits.

It works on events and not on PyYAML's constructed values, because it must know the line of everything, must see
keys that are given twice, and must stop before nesting or aliases exhaust the machine: its own stack is a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from smi import codes
from smi.codes import Code
from smi.scalars import Scalar, TagError, resolve_scalar

Value = Scalar | Sequence["Value"] | Mapping[str, "Value"]
"""A value as JSON knows it."""

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
"""How many values one document may hold, each alias counted as all that it stands for."""

_MAPPING_TAGS = (None, "!", "tag:yaml.org,2002:map")
_LIST_TAGS = (None, "!", "tag:yaml.org,2002:seq")


class TreeError(Exception):
    """A document that cannot be read: the code, the line counted from 0, and the reason in one line."""

    def __init__(self, code: Code, line: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.line = line
        self.reason = reason


@dataclass(slots=True)
class Tree:
    """A value and where it stands; `line` counts from 0.

    `size` is the number of values in it and `height` its nesting, aliases expanded. `entries` has a tree for
    each entry of a mapping, and `key_lines` the line of its key; `items` has the trees of a list.
    """

    line: int
    value: Value = None
    size: int = 1
    height: int = 1
    entries: dict[str, Tree] = field(default_factory=dict)
    key_lines: dict[str, int] = field(default_factory=dict)
    items: list[Tree] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read. `key` None where no key is wanted: a merge (`<<`)."""

    tree: Tree
    anchor: str | None
    is_mapping: bool
    wants_key: bool
    key: str | None = None
    merged: list[Tree] = field(default_factory=list)


def build_tree(events: Iterable[yaml.Event]) -> Tree | None:
    """The tree of the only document in `events`; None when there is none. Raises TreeError."""
    builder = _Builder()
    for event in events:
        builder.feed(event)
    return builder.root


class _Builder:
    def __init__(self) -> None:
        self._stack: list[_Open] = []
        self._anchors: dict[str, Tree | None] = {}
        self._values = 0
        self.root: Tree | None = None

    def feed(self, event: yaml.Event) -> None:
        line = event.start_mark.line if event.start_mark else 0
        match event:
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._start(event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(str(event.anchor), line)
            case yaml.DocumentStartEvent() if self.root is not None:
                raise TreeError(codes.BAD_YAML, line, "a second document begins here without '---'")

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        try:
            value = resolve_scalar(event.value, event.tag, plain=event.style in (None, ""))
        except TagError as error:
            raise TreeError(codes.BAD_YAML, line, str(error)) from error
        if event.value == "<<" and event.style in (None, "") and self._wants_key():
            self._stack[-1].wants_key = False
            self._stack[-1].key = None
            return
        self._count(1, line)
        self._add(Tree(line, value), line, event.anchor)

    def _start(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, line: int) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (_MAPPING_TAGS if is_mapping else _LIST_TAGS):
            raise TreeError(codes.BAD_YAML, line, f"the tag {event.tag} is not supported here")
        if self._wants_key():
            raise TreeError(codes.KEY_NOT_TEXT, line, "a list or mapping is used as a key")
        self._limit_depth(1, line)
        self._count(1, line)
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(Tree(line), event.anchor, is_mapping, is_mapping))

    def _end(self) -> None:
        top = self._stack.pop()
        tree = top.tree
        for merged in top.merged:
            self._merge(tree, merged)
        below = list(tree.entries.values()) if top.is_mapping else tree.items
        tree.size = 1 + sum(child.size for child in below)
        tree.height = 1 + max((child.height for child in below), default=0)
        tree.value = (
            {key: child.value for key, child in tree.entries.items()}
            if top.is_mapping
            else [child.value for child in below]
        )
        self._add(tree, tree.line, top.anchor)

    def _alias(self, name: str, line: int) -> None:
        if name not in self._anchors:
            raise TreeError(codes.BAD_YAML, line, f"the alias *{name} has no anchor before it")
        tree = self._anchors[name]
        if tree is None:
            raise TreeError(codes.BAD_YAML, line, f"the alias *{name} stands inside of what it stands for")
        self._limit_depth(tree.height, line)
        self._count(tree.size, line)
        self._add(tree, line, None)

    def _add(self, tree: Tree, line: int, anchor: str | None) -> None:
        """Put a finished value where it belongs: root, item, key, or value of the last key."""
        if anchor:
            self._anchors[anchor] = tree
        if not self._stack:
            self.root = tree
            return
        top = self._stack[-1]
        if not top.is_mapping:
            top.tree.items.append(tree)
        elif top.wants_key:
            self._key(top, tree.value, line)
        else:
            if top.key is None:
                top.merged.append(tree)
            else:
                top.tree.entries[top.key] = tree
            top.wants_key = True

    def _key(self, top: _Open, key: Value, line: int) -> None:
        if not isinstance(key, str):
            raise TreeError(codes.KEY_NOT_TEXT, line, f"the key {_shown(key)} is not a text")
        if key in top.tree.key_lines:
            raise TreeError(codes.DUPLICATE_KEY, line, f"the key {key[:60]!r} is given twice in one mapping")
        top.tree.key_lines[key] = line
        top.key = key
        top.wants_key = False

    def _merge(self, tree: Tree, merged: Tree) -> None:
        """Add the entries of `<<: merged` that are not given in `tree` itself; earlier sources win."""
        sources = merged.items if isinstance(merged.value, list) else [merged]
        for source in sources:
            if not isinstance(source.value, dict):
                raise TreeError(codes.BAD_YAML, merged.line, "only mappings can be merged with <<")
            for key, child in source.entries.items():
                if key not in tree.entries:
                    tree.entries[key] = child
                    tree.key_lines[key] = source.key_lines[key]

    def _wants_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].is_mapping and self._stack[-1].wants_key

    def _limit_depth(self, height: int, line: int) -> None:
        if len(self._stack) + height > MAX_DEPTH:
            raise TreeError(codes.TOO_COMPLEX, line, f"nested deeper than {MAX_DEPTH} levels")

    def _count(self, values: int, line: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise TreeError(codes.TOO_COMPLEX, line, f"more than {MAX_VALUES} values, aliases expanded")


def _shown(key: Value) -> str:
    """A key that is not a text, in the words of YAML."""
    if isinstance(key, bool):
        return "true (which YAML also reads from on, yes)" if key else "false (which YAML also reads from off, no)"
    return "null" if key is None else str(key)[:60]
