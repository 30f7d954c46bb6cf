"""How servers read a path: in how many ways one text can be understood, by any server that is known to.

In: a target as an application received it. Out: every path that it may be taken for. It knows nothing of what Tulle
refuses, and is generous: better one reading that no server has than one missing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

_MOST = 5_000
"""Readings of one target; far more than any row of the tests has."""
_OVERLONG = re.compile(r"[\xc0\xc1](.)|\xe0([\x80-\x9f])(.)|\xf0\x80(.)(.)|[\xf8\xfc](?:\x80)+(.)", re.DOTALL)
_BEST_FIT = str.maketrans({"\u2215": "/", "\u2044": "/", "\u2216": "\\", "\ufe68": "\\"})
_NOTHING = r"[\x00-\x1f\x7f\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]+"
_DROPPED = re.compile(rf"(?<=[./\\]){_NOTHING}|{_NOTHING}(?=[./\\])")


def readings(target: str) -> set[str]:
    """All paths that a server may take `target` for. Each begins with a slash and has neither query nor dots."""
    found, new = {target}, [target]
    while new:
        text = new.pop()
        for read in _READINGS:
            for other in read(text):
                if other not in found:
                    found.add(other)
                    new.append(other)
        assert len(found) < _MOST, target
    return {_resolved(text.partition("?")[0]) for text in found}


def _resolved(path: str) -> str:
    """Without segments of dots and empty ones, as a file system sees it; a folder keeps its slash at the end."""
    *folders, last = path.split("/")
    kept: list[str] = []
    for segment in folders:
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    if last in {".", ".."}:
        return _resolved(f"{path}/")
    return "/" + "".join(f"{segment}/" for segment in kept) + last


def _unquoted(text: str) -> Iterator[str]:
    yield re.sub(r"%([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), text)
    yield re.sub(r"%[uU]([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)


def _as_unicode(text: str) -> Iterator[str]:
    try:
        decoded = text.encode("latin-1").decode()
    except UnicodeError:
        decoded = text
    yield unicodedata.normalize("NFKC", decoded.translate(_BEST_FIT))


def _long_forms(text: str) -> Iterator[str]:
    """UTF-8 as careless decoders read it, which look at the last six bits of a byte and at nothing else."""
    yield _OVERLONG.sub(_short_form, text)


def _short_form(found: re.Match[str]) -> str:
    lead, low = found[0][0], found[0][-1]
    high = ord(lead) & 3 if lead in "\xc0\xc1" else ord(found[0][-2]) & 1
    return chr(high << 6 | ord(low) & 0x3F)


def _blanks(text: str) -> Iterator[str]:
    """Control characters and what has no width are dropped beside dots and slashes; blanks at the ends of names too,
    and dots with them.
    """
    yield _DROPPED.sub("", text)
    yield text.replace("+", " ")
    segments = text.split("/")
    stripped = [re.sub(r"^\s*(\.{1,2})\s[\s.]*$", r"\1", segment) for segment in segments]
    yield "/".join(segment.strip() if segment.strip() in {".", ".."} else segment for segment in stripped)


def _cut(text: str) -> Iterator[str]:
    for end in "\0?#":
        yield text.partition(end)[0]


def _parameters(text: str) -> Iterator[str]:
    for mark in ";:":
        yield re.sub(rf"{mark}[^/\\]*", "", text)


def _slashes(text: str) -> Iterator[str]:
    yield text.replace("\\", "/")
    yield re.sub(r"/+", "/", text)


def _without_host(text: str) -> Iterator[str]:
    yield re.sub(r"^(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//[^/?#\\]*", "", text)


_READINGS: tuple[Callable[[str], Iterator[str]], ...] = (
    _unquoted,
    _as_unicode,
    _long_forms,
    _blanks,
    _cut,
    _parameters,
    _slashes,
    _without_host,
)
