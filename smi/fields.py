"""Reads the fields of one mapping of a document, and reports every one that is wrong, missing or unknown.

A field that is null counts as absent, as in Kubernetes. Readers never raise: what cannot be used is reported, and
its default, or None, comes back; who must know whether that happened compares `report.left_out`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from smi import codes
from smi.codes import Code
from smi.documents import Path
from smi.names import closest, is_label, is_subdomain
from smi.report import Report, described, dotted
from smi.tree import Value

E = TypeVar("E", bound=enum.StrEnum)

_BOOLEAN_HINT = "YAML reads true, yes, on and false, no, off as booleans; put texts in quotes."


class Fields:
    """One mapping, at `path` of the document of `report`. Which fields are known is what was asked for."""

    __slots__ = ("_known", "_value", "path", "report")

    def __init__(self, report: Report, path: Path, value: Mapping[str, Value]) -> None:
        self.report = report
        self.path = path
        self._value = value
        self._known: dict[str, None] = {}

    def at(self, key: str) -> Path:
        return (*self.path, key)

    def names(self) -> list[str]:
        """The names of all fields that are there."""
        return list(self._value)

    def raw(self, key: str) -> Value:
        """The value as written, of whatever type; None when absent."""
        self._known[key] = None
        return self._value.get(key)

    def put(self, key: str, value: Value) -> None:
        """Read `value` at `key` from now on. Findings in it have the line of the nearest part that is written."""
        self._value = {**self._value, key: value}

    def wrong(self, code: Code, key: str, expected: str, hint: str = "") -> None:
        """Report that the value of `key` is not what is expected."""
        found = self._value.get(key)
        if isinstance(found, bool) and not hint:
            hint = _BOOLEAN_HINT
        self.report.add(code, self.at(key), f"{self._named(key)} must be {expected}, found {described(found)}", hint)

    def missing(self, key: str) -> None:
        """Report that `key` is required."""
        self.report.add(codes.MISSING_FIELD, self.at(key), f"{self._named(key)} is missing")

    def text(self, key: str, *, required: bool = False) -> str:
        """A text; empty when it is absent or wrong."""
        value = self.raw(key)
        if value is None or value == "":
            if required:
                self.missing(key)
            return ""
        if not isinstance(value, str):
            self.wrong(codes.WRONG_TYPE, key, "a text")
            return ""
        return value

    def label(self, key: str, *, required: bool = False) -> str:
        """A DNS label; empty when it is absent or wrong."""
        return self._name(key, is_label, "a DNS label", required=required)

    def subdomain(self, key: str, *, required: bool = False) -> str:
        """A DNS subdomain; empty when it is absent or wrong."""
        return self._name(key, is_subdomain, "a DNS subdomain", required=required)

    def port(self, key: str, *, required: bool = False) -> int | None:
        """A port number; None when it is absent or wrong."""
        value = self.raw(key)
        if value is None:
            if required:
                self.missing(key)
            return None
        if not is_port(value):
            self.wrong(codes.BAD_PORT, key, "a whole number from 1 to 65535")
            return None
        return value if isinstance(value, int) else None

    def flag(self, key: str, *, default: bool) -> bool:
        """A boolean."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.wrong(codes.WRONG_TYPE, key, "true or false")
            return default
        return value

    def choice(self, key: str, kind: type[E], default: E, *, when_wrong: E) -> E:
        """One of the values of `kind`; `when_wrong` stands in for a value that is none of them."""
        value = self.raw(key)
        if value is None:
            return default
        allowed = [member.value for member in kind]
        if isinstance(value, str) and value in allowed:
            return kind(value)
        expected = " or ".join(repr(word) for word in allowed)
        self.wrong(codes.BAD_VALUE, key, expected, self.report.guess(value, allowed))
        return when_wrong

    def child(self, key: str, *, required: bool = False) -> Fields | None:
        """The mapping at `key`; None when it is absent or wrong."""
        value = self.raw(key)
        if value is None:
            if required:
                self.missing(key)
            return None
        if not isinstance(value, dict):
            self.wrong(codes.WRONG_TYPE, key, "a mapping")
            return None
        return Fields(self.report, self.at(key), value)

    def items(self, key: str) -> list[tuple[Path, Value]]:
        """The entries of the list at `key`, of whatever type, with their paths; empty when it is absent or wrong."""
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(codes.WRONG_TYPE, key, "a list")
            return []
        return [((*self.at(key), position), item) for position, item in enumerate(value)]

    def children(self, key: str) -> Iterator[Fields]:
        """The mappings of the list at `key`; entries that are none are reported and left out."""
        for path, item in self.items(key):
            if isinstance(item, dict):
                yield Fields(self.report, path, item)
            else:
                message = f"{dotted(path)} must be a mapping, found {described(item)}"
                self.report.add(codes.WRONG_TYPE, path, message)

    def text_map(self, key: str) -> dict[str, str]:
        """A mapping of texts, such as labels; entries that are none are reported and left out."""
        entries = self.child(key)
        if entries is None:
            return {}
        texts: dict[str, str] = {}
        for name in entries.names():
            value = entries.raw(name)
            if isinstance(value, str):
                texts[name] = value
            else:
                entries.wrong(codes.WRONG_TYPE, name, "a text", "Put the value in quotes.")
        return texts

    def ignore(self, *keys: str) -> None:
        """Fields that exist and have no meaning here."""
        self._known.update(dict.fromkeys(keys))

    def close(self, *, limiting: tuple[str, ...] = (), all_limit: bool = False) -> None:
        """Report the fields that nobody asked for.

        With `all_limit`, or where the name resembles one of the `limiting` fields, this is an error: a field that
        was to limit something would otherwise be ignored, and more would be allowed than was meant.
        """
        if self._value.keys() <= self._known.keys():
            return
        known = list(self._known)
        for key in self._value:
            if key not in self._known:
                limits = all_limit or (bool(limiting) and closest(key, limiting) is not None)
                self.report.unknown(codes.UNKNOWN_LIMIT if limits else codes.UNKNOWN_FIELD, self.path, key, known)

    def _name(self, key: str, valid: Callable[[str], bool], expected: str, *, required: bool) -> str:
        text = self.text(key, required=required)
        if text and not valid(text):
            self.wrong(codes.BAD_NAME, key, expected)
            return ""
        return text

    def _named(self, key: str) -> str:
        return dotted(self.at(key))


def is_port(value: Value) -> bool:
    """Whether a value is a port number; booleans are none."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535
