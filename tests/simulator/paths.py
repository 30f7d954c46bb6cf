"""Paths as Envoy's connection manager makes them plain.

Sources: Envoy's source/common/http (conn_manager_utility.cc maybeNormalizePath, path_utility.cc) and the canonical form
of paths in googleurl (url_canon_path.cc). Tried byte by byte with a real Envoy: `test_paths.py`.
"""

from __future__ import annotations

import re

_ESCAPED_SLASH = re.compile(r"%(2F|5C)", re.IGNORECASE)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_WRITTEN_OUT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPED = frozenset(' "#<>?^`{|}\x7f')
_DOTS_WITH_PARAMETERS = re.compile(r"/(\.\.?);[^/]*")


class BadPathError(Exception):
    """A path with which Envoy answers 400."""


def normalised(target: str, *, unescape_slashes: bool, canonical: bool, merge_slashes: bool) -> str:
    """The path that an Envoy with these settings goes on with. The query is left as it is. Raises BadPathError."""
    path, question, query = target.partition("?")
    if unescape_slashes and "%" in path:
        path = _ESCAPED_SLASH.sub(lambda found: "/" if found[1].upper() == "2F" else "\\", path)
    if canonical:
        path = _canonical(path)
    if merge_slashes and "//" in path:
        path = _merged(path)
    return path + question + query


def _canonical(path: str) -> str:
    if ";" in path:
        path = _DOTS_WITH_PARAMETERS.sub(r"/\1", path)
    if "%" in path:
        path = _with_letters_written_out(path)
    path = path.replace("\\", "/")
    if not path.startswith("/"):
        path = f"/{path}"
    if "/." in path:
        path = _without_dots(path)
    return path if path.isascii() and _ESCAPED.isdisjoint(path) else "".join(map(_escaped, path))


def _with_letters_written_out(path: str) -> str:
    """Letters and the like stand for themselves; other escapes are left alone, `%` that escapes nothing too: but it
    becomes `%25` where it would escape something by what was written out behind it.
    """
    made: list[str] = []
    lone = -3  # where the last `%` is that escapes nothing
    at = 0
    while at < len(path):
        found = _ESCAPE.match(path, at)
        if found is None:
            if path[at] == "%":
                lone = len(made)
            made.append(path[at])
            at += 1
            continue
        at = found.end()
        character = chr(int(found[1], 16))
        if character == "\0":
            raise BadPathError("%00")
        if character not in _WRITTEN_OUT:
            made.extend(found[0])
            continue
        made.append(character)
        behind = len(made) - lone - 1
        if (behind == 1 and _ESCAPE.match(f"%{character}{path[at : at + 1]}")) or (
            behind == 2 and _ESCAPE.match("".join(made[lone:]))
        ):
            made[lone] = "%25"
            lone = -3
    return "".join(made)


def _without_dots(path: str) -> str:
    """Dot segments resolved; an empty segment is one, which `..` takes away like any other."""
    kept: list[str] = []
    *inner, last = path[1:].split("/")
    for segment in inner:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if last == "..":
        del kept[-1:]
    return "/" + "/".join([*kept, "" if last in (".", "..") else last])


def _escaped(character: str) -> str:
    if character in _ESCAPED or not character.isascii():
        return "".join(f"%{byte:02X}" for byte in character.encode())
    return character


def _merged(path: str) -> str:
    words = "/".join(word for word in path.split("/") if word)
    return ("/" if path.startswith("/") else "") + words + ("/" if path.endswith("/") else "")
