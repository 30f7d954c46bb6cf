"""Matches, each with texts that it accepts and texts that it nearly accepts: so that requests can be interesting."""

from __future__ import annotations

from random import Random
from typing import Any

PATHS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "/api": (("/api", "/api/v1", "/apifoo"), ("/ap", "/v1/api", "/API")),
    "^/api/v[0-9]+": (("/api/v1", "/api/v22/x"), ("/api/v", "/x/api/v1")),
    "/x$": (("/x",), ("/x/", "/xy", "/y/x")),
    "/a|/b$": (("/a", "/ab/c", "/b"), ("/bc", "/c", "/c/b")),
    "/public/.*": (("/public/", "/public/page"), ("/public", "/admin")),
    "/public/[^/]*$": (("/public/page", "/public/"), ("/public/a/b", "/publi")),
    "api": ((), ("/api", "/xapi")),
    ".*admin": (("/admin", "/x/admin/y"), ("/admi", "/Admin")),
    "/items/[^/]+/edit$": (("/items/7/edit",), ("/items//edit", "/items/7/edit/x", "/items/7/8/edit")),
    "(?i)/case": (("/case", "/CaSe/x"), ("/cas",)),
    r"/.*\.css$": (("/a/b.css", "/.css"), ("/a.css/b", "/axcss")),
    r"/word\b": (("/word", "/word/s"), ("/words",)),
    "/": (("/", "/anything"), ()),
    "": (("/", "/nothing/in/particular"), ()),
    "^/$": (("/",), ("/a",)),
    "/[a-z]{2,3}/?$": (("/ab", "/abc/"), ("/a", "/abcd")),
}
"""Path regexes, what they accept, and what not."""

HEADERS: dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {
    ("x-role", "^admin$"): (("admin",), ("admins", "xadmin", "ADMIN", "")),
    ("x-role", "admin|root"): (("admin", "the root of it"), ("user", "adm")),
    ("X-Role", "^a|b$"): (("abc", "cab"), ("bca", "c")),
    ("authorized", "t|True"): (("true", "True", "bitter"), ("false", "f")),
    ("user-agent", ".*Firefox.*"): (("Mozilla Firefox/1",), ("Chrome", "firefox")),
    ("x-pref", "^(.*?;)?(type=insider)(;.*)?$"): (
        ("type=insider", "a=b;type=insider;c=d"),
        ("type=insiders", "x type"),
    ),
    ("x-any", ""): (("anything", "x"), ()),
    ("x-empty", "^$"): (("",), ("x",)),
    ("x_under-score", "yes"): (("yes", "oh yes"), ("no",)),
    ("x-a-b-c-d-e-f", "yes"): (("yes",), ("no",)),
    ("x-a-b-c-d-e", "yes"): (("yes",), ("no",)),
    ("x-list", "^a,b$"): (("a,b",), ("a", "b,a")),
    ("host", "^shop"): (("shop.example", "shop"), ("bank", "my.shop")),
}
"""Header names and regexes, values that they accept, and values that they do not."""

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")


_TELLING = [regex for regex, (_, refused) in PATHS.items() if len(refused) > 1] * 3
"""Those that leave most to get wrong."""


def random_match(random: Random, name: str) -> dict[str, Any]:
    """A match as people write it: each part may be missing, and a match of nothing but a name accepts everything."""
    match: dict[str, Any] = {"name": name}
    if random.random() < 0.85:
        match["pathRegex"] = random.choice([*PATHS, *_TELLING])
    if random.random() < 0.6:
        match["methods"] = random.choice((["GET"], ["GET", "POST"], ["GET", "HEAD"], ["POST"], ["*"], ["*", "GET"], []))
    if random.random() < 0.45:
        chosen = random.sample([*HEADERS], random.choice((1, 1, 2)))
        in_list = random.random() < 0.3
        match["headers"] = [{name: regex} for name, regex in chosen] if in_list else dict(chosen)
    return match
