"""How a server's sidecar reads the path of a request before any rule looks at it.

The order is Envoy's, with the settings of `translators/inbound.py`: escaped slashes become slashes, the path is made
canonical, slashes in a row become one. What each step does was tried with Envoy 1.40 (`tests/unit/policy/test_paths.py`
compares them again).
"""

from __future__ import annotations

import re
import string

import re2

DISGUISED_PATH = (
    r"(?is).*(?:"
    r"[/\\](?:\.|%(?:25)*(?:u00)?2e){1,2}(?:%(?:25)*20)*"  # a segment of dots, encoded again and again, with spaces,
    r"(?:(?:;|%(?:25)*3b|[/\\]|%(?:25)*(?:u00)?(?:2f|5c)|%(?:25)*ef%(?:25)*bc%(?:25)*8f).*)?"  # or with parameters;
    r"|(?:%(?:25)+2f|%(?:25)*5c|\\|%(?:25)*00).*"  # slashes in disguise, backslashes, and what ends a text in C;
    r"|%(?:25)*(?:c0|e0%(?:25)*80)%(?:25)*a[ef].*"  # dots and slashes in longer forms than UTF-8 allows
    r")"
)
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
