"""Paths as the README of `translators/` reads them: made plain before a rule sees them, and refused when that does
not settle what they mean. Naive, and only for the characters that requests of these tests have.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_UNRESERVED = re.compile("%(2[de]|3[0-9]|[46][1-9a-f]|[57][0-9a]|5f|7e)", re.IGNORECASE)


def without_query(target: str) -> str:
    return target.partition("?")[0]


def made_plain(target: str) -> str:
    """The path of a target: escaped slashes written out, parameters of dot segments dropped, escaped letters and
    backslashes written out, dot segments resolved, slashes in a row merged; in this order, so that a `..` may take
    away an empty segment. Of a path of nothing but slashes two are left, as Envoy does it.
    """
    path = re.sub("%(2f|5c)", lambda found: unquote(found[0]), without_query(target), flags=re.IGNORECASE)
    path = re.sub(r"/(\.\.?);[^/]*", r"/\1", path)
    path = _UNRESERVED.sub(lambda found: unquote(found[0]), path).replace("\\", "/")
    segments: list[str] = []
    *inner, last = path.split("/")[1:]
    for segment in inner:
        if segment == "..":
            del segments[-1:]
        elif segment != ".":
            segments.append(segment)
    if last == "..":
        del segments[-1:]
    segments.append("" if last in (".", "..") else last)
    path = "/" + "/".join(segments)
    return re.sub("/+", "/", path) if path.strip("/") or path == "/" else "//"


def has_two_readings(path: str) -> bool:
    """Whether a server that decodes again, or that cuts parameters off segments, may read a plain path as another."""
    decoded = path
    while (again := unquote(decoded, "latin-1")) != decoded:
        decoded = again
    if decoded.count("/") != path.count("/") or "\\" in decoded:
        return True
    return any(segment.partition(";")[0].strip(" ") in (".", "..") for segment in decoded.split("/"))
