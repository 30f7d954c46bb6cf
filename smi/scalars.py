"""What a plain YAML scalar means: null, a boolean, a number or a text, as kubectl reads it.

Source: the words of YAML 1.1 as the Go YAML library, which Kubernetes uses, resolves them: `on`, `off`, `yes`, `no`
are booleans, numbers may be octal (`0o17`, `017`), hexadecimal and binary, and dates stay texts.
"""

from __future__ import annotations

import re

Scalar = None | bool | int | float | str

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
_WORDS: dict[str, Scalar] = dict.fromkeys(_NULL) | dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,39})")
_BASED = re.compile(r"([-+]?)(?:0x([0-9a-fA-F]{1,32})|0o?([0-7]{1,40})|0b([01]{1,128}))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,40}|[0-9]{1,40}(?:\.[0-9]{0,40})?)(?:[eE][-+]?[0-9]{1,4})?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

_STR = "tag:yaml.org,2002:str"
_CORE = {"tag:yaml.org,2002:" + name for name in ("null", "bool", "int", "float", "timestamp")}


class TagError(ValueError):
    """A tag that has no meaning here, or that the scalar does not fit."""


def resolve_plain(text: str) -> Scalar:
    """The value of an unquoted scalar without a tag. Never fails: what is nothing else is a text."""
    if text in _WORDS:
        return _WORDS[text]
    return _number(text) if text[0] in "+-.0123456789" else text


def _number(text: str) -> Scalar:
    if _INTEGER.fullmatch(text):
        return int(text.replace("_", ""))
    if based := _BASED.fullmatch(text):
        sign, hexadecimal, octal, binary = based.groups()
        digits, base = (hexadecimal, 16) if hexadecimal else (octal, 8) if octal else (binary, 2)
        return int(sign + digits, base)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def resolve_tagged(text: str, tag: str) -> Scalar:
    """The value of a scalar with a tag, with quotes or without. Raises TagError for tags without meaning."""
    if tag in ("!", _STR):
        return text
    if tag not in _CORE:
        raise TagError(f"the tag {tag[:60]} is not supported")
    value = resolve_plain(text)
    expected = tag.rpartition(":")[2]
    fits = {
        "null": value is None,
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, (int, float)) and not isinstance(value, bool),
        "timestamp": True,
    }[expected]
    if not fits:
        raise TagError(f"{text[:60]!r} is not a value of the tag !!{expected}")
    if expected == "float":
        return float(value)  # type: ignore[arg-type]
    return text if expected == "timestamp" else value
