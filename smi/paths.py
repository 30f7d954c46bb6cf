"""How a server's sidecar reads the path of a request before any rule looks at it.

The order is Envoy's, with the settings of `translators/inbound.py`: escaped slashes become slashes, the path is made
canonical, slashes in a row become one. What each step does was tried with Envoy 1.40 (`tests/unit/policy/test_paths.py`
compares them again).
"""

from __future__ import annotations

import re
import string

import re2

_PERCENT = "%(?:25)*"
"""The beginning of an encoded byte, encoded again any number of times."""


def _encoded(pattern: str) -> str:
    """`pattern` with each `%` encoded again any number of times."""
    return pattern.replace("%", _PERCENT)


_DOT = _encoded(r"(?:\.|%(?:2e|ef%(?:bc%8e|b9%92)|e2%80%a[45]))")
_SLASH = _encoded(r"(?:[/\\]|%(?:2f|5c|ef%(?:bc%(?:8f|bc)|b9%a8)|e2%(?:81%84|88%9[56])))")
_BLANK = _encoded(
    r"(?:\+|%(?:2[0b]|85|a[0d]|c2%(?:85|a[0d])|e2%(?:80%(?:8.|a[89a-f])|81%(?:9f|a.))|e3%80%80|ef%bb%bf))"
)
"""Spaces, and what has no width: stripped from a name by some servers and by Windows."""
_END_OF_NAME = f"(?:{_SLASH}|[;:]|{_PERCENT}(?:23|3[abf]))"
_DOTS = f"{_SLASH}{_BLANK}*{_DOT}{{1,2}}(?:{_BLANK}+{_DOT}*)*(?:{_END_OF_NAME}.*)?"
"""A segment of one or two dots, in whatever letters, with blanks or with parameters."""
_NEVER = _encoded(r"(?:\\|%(?:[01][0-9a-f]|7f|2f|5c|c[01]|e0%[89]|f[08c]%8|u[0-9a-f]{4})).*")
"""Backslashes, and slashes that are still encoded; control characters, among them what ends a text in C; longer forms
than UTF-8 allows; `%u002e`."""

DISGUISED_PATH = f"(?is).*(?:{_DOTS}|{_NEVER})"
"""Paths that survive normalisation here, but that an application may read as another path. No rule that names a path
allows them: `/public/..;/admin` is `/admin` to some servers."""

_ESCAPED_SLASHES = {"%2f": "/", "%5c": "\\"}
_PARAMETERS_OF_DOTS = re.compile(r"(?<=/)(\.\.?);[^/]*")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MARK = "\0"
_NEW_ESCAPE = re.compile(rf"{_MARK}(?=[0-9A-Fa-f]{{2}})")
"""A lone percent sign that would begin an escape once others are made plain, as in `%2%41`. No path holds the mark."""
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_ALWAYS_ESCAPED = {char: f"%{ord(char):02X}" for char in '"<>^`{|}'}


def without_query(path: str) -> str:
    """The part of a request's target that rules look at."""
    return path.partition("?")[0]


def can_be_sent(path: str) -> bool:
    """Whether `path` can stand in a request: an absolute path of printable ASCII without a fragment. Envoy answers 400
    to others.
    """
    return path.startswith("/") and all("!" <= char <= "~" and char != "#" for char in path)


def as_read(path: str) -> str | None:
    """`path`, which can be sent, as rules see it: without its query. None: it is refused with 400."""
    plain = _ESCAPE.sub(lambda found: _ESCAPED_SLASHES.get(found[0].lower(), found[0]), without_query(path))
    canonical = _canonical(_PARAMETERS_OF_DOTS.sub(r"\1", plain))
    return None if canonical is None else _with_single_slashes(canonical)


def is_disguised(path: str) -> bool:
    """Whether an application may take `path`, as read, for another one."""
    return re2.fullmatch(DISGUISED_PATH, path) is not None


def _canonical(path: str) -> str | None:
    """Dot segments resolved, unreserved characters plain, others that URLs may not hold escaped. Backslashes are
    slashes. None where a byte 0 is in what remains.
    """
    segments: list[str] = []
    parts = path[1:].replace("\\", "/").split("/")
    for position, part in enumerate(parts):
        dots = _ESCAPE.sub(lambda found: "." if found[1].lower() == "2e" else found[0], part)
        if dots in (".", ".."):
            if dots == ".." and segments:
                segments.pop()
            if position == len(parts) - 1:
                segments.append("")
            continue
        if "%00" in part:
            return None
        plain = _ESCAPE.sub(lambda found: _plain(found[0]), _LONE_PERCENT.sub(_MARK, part))
        plain = _NEW_ESCAPE.sub("%25", plain).replace(_MARK, "%")
        segments.append("".join(_ALWAYS_ESCAPED.get(char, char) for char in plain))
    return "/" + "/".join(segments)


def _plain(escape: str) -> str:
    char = chr(int(escape[1:], 16))
    return char if char in _UNRESERVED else escape


def _with_single_slashes(path: str) -> str:
    if "//" not in path:
        return path
    inner = "/".join(part for part in path.split("/") if part)
    return f"/{inner}{'/' if path.endswith('/') else ''}"
