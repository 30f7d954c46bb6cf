"""What SMI's expressions match once they are Envoy's: tried with the engine and the full match that Envoy uses."""

from __future__ import annotations

import pytest
import re2

from smi.objects import HTTPMatch
from smi.paths import DISGUISED_PATH
from translators.matching import header_matchers, lookalike_headers, path_regex


def path_matches(pattern: str, path: str) -> bool:
    return re2.fullmatch(path_regex(pattern).regex, path) is not None


def header_matches(pattern: str, value: str) -> bool:
    (matcher,) = header_matchers(HTTPMatch("m", headers=(("x", pattern),)))
    return re2.fullmatch(matcher.string_match.safe_regex.regex, value) is not None


def is_disguised(path: str) -> bool:
    return re2.fullmatch(DISGUISED_PATH, path) is not None


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/api", "/api", True),
        ("/api", "/api/v1", True),
        ("/api", "/apifoo", True),
        ("/api", "/v1/api", False),
        ("^/api", "/api/v1", True),
        ("^/api", "/v1/api", False),
        ("/api$", "/api", True),
        ("/api$", "/api/v1", False),
        ("^/$", "/", True),
        ("/a|/b", "/b/x", True),
        ("/a|/b", "/x/b", False),
        ("/a|b", "/xb", False),
        (".*/admin", "/x/admin/y", True),
        ("api", "/api", False),
        ("/(?i)API", "/api", True),
        ("/(?i)API", "/api/X", True),
        ("/x(?-s).y", "/x\ny", False),
        ("/api", "/API", False),
        ("/[^/]+/posts$", "/7/posts", True),
        ("/[^/]+/posts$", "/7/8/posts", False),
        (r"/\Qa.b\E", "/a.b/c", True),
        (r"/\Qa.b\E", "/axb", False),
    ],
)
def test_a_path_regex_is_anchored_at_the_start_only(pattern: str, path: str, expected: bool) -> None:
    assert path_matches(pattern, path) is expected


def test_a_line_break_hides_nothing_from_a_path_regex() -> None:
    assert not path_matches("/api$", "/api\n/admin")
    assert not path_matches("/api", "/x\n/api")


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        (".*Firefox.*", "Mozilla Firefox 3", True),
        ("Firefox", "Mozilla Firefox 3", True),
        ("^(.*?;)?(type=insider)(;.*)?$", "a=b;type=insider;c=d", True),
        ("^(.*?;)?(type=insider)(;.*)?$", "type=outsider", False),
        ("t|True", "true", True),
        ("t|True", "false", False),
        ("^admin$", "admin", True),
        ("^admin$", "not-admin", False),
        ("^admin$", "admin2", False),
        ("^a|b$", "xb", True),
        ("^a|b$", "xa", False),
        ("", "anything", True),
        ("secret", "line\nsecret\nline", True),
        ("(?i)YES", "oh yes", True),
    ],
)
def test_a_header_regex_searches(pattern: str, value: str, expected: bool) -> None:
    assert header_matches(pattern, value) is expected


def test_all_headers_and_the_method_must_match() -> None:
    matchers = header_matchers(HTTPMatch("m", "/x", ("GET", "HEAD"), (("a", "1"), ("b", "2"))))
    assert [matcher.name for matcher in matchers] == [":method", "a", "b"]
    method = matchers[0].string_match.safe_regex.regex
    assert [bool(re2.fullmatch(method, word)) for word in ("GET", "HEAD", "POST", "GETX")] == [True, True, False, False]


def test_without_methods_any_method_matches() -> None:
    assert header_matchers(HTTPMatch("m", "/x")) == []


@pytest.mark.parametrize(
    "path",
    [
        "/public/..;/admin",
        "/public/..;a=b/admin",
        "/public/..;",
        "/public/.;/admin",
        "/public/;/..;/admin",
        "/public/..%3b/admin",
        "/public/..%253B/admin",
        "/public/%2e%2e;/admin",
        "/public/%2e%2e/admin",
        "/public/%252e%252e/admin",
        "/public/..%20/admin",
        "/public/%u002e%u002e/admin",
        "/public/..%ef%bc%8fadmin",
        "/public/%c0%ae%c0%ae/admin",
        "/public/%25252E%25252e/admin",
        "/public/.%252e/admin",
        "/public/..%5cadmin",
        "/public/..%5Cadmin",
        "/public/..%255cadmin",
        "/public/..%2fadmin",
        "/public/..%252fadmin",
        "/public%252f..%252fadmin",
        "/public/..\\admin",
        "\\admin",
        "/public/..",
        "/public/.",
        "/public/a%00/admin",
        "/public/%2500",
        "/line\n/..;/admin",
        "/public/..;\n/admin",
        "/public/..%3f/admin",
        "/public/..%23/admin",
        "/public/..:/admin",
        "/public/..%3a$i30/admin",
        "/public/..%09/admin",
        "/public/.%0a./admin",
        "/public/%250d%250a",
        "/public/%7f",
        "/public/..+/admin",
        "/public/%20../admin",
        "/public/.%20./admin",
        "/public/..%20./admin",
        "/public/..%c2%a0/admin",
        "/public/.%e2%80%8b./admin",
        "/public/%25ef%25bb%25bf../admin",
        "/public/%ef%bc%8e%ef%bc%8e/admin",
        "/public/%e2%80%a5/admin",
        "/public/%e2%80%a4.",
        "/public/..%e2%88%95admin",
        "/public/..%ef%bc%bcadmin",
        "/public%ef%bc%8f..%ef%bc%8fadmin",
        "/public/%uff0e%uff0e/admin",
        "/public/..%u2215admin",
        "/public/%u0000",
        "/public%2f..%2fadmin",
        "/public/a%2Fb",
        "/public/%c1%9c..",
        "/public/%c0.%c0./admin",
        "/public/..%f0%80%80%af",
        "/public/..%fc%80%80%80%80%af",
        "/public/..%e0%81%9cadmin",
    ],
)
def test_paths_that_an_application_may_read_as_others(path: str) -> None:
    assert is_disguised(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a.b/c",
        "/..foo/bar",
        "/.well-known/x",
        "/...",
        "/a/.../b",
        "/a;b=c",
        "/a;b=c/d",
        "/a/;v=1/b",
        "/%E4%BD%A0",
        "/file..txt",
        "/a..",
        "/a../b",
        "/100%25/x",
        "/a%3Bb",
        "/.git/config",
        "/2.0/users",
        "/a%20b",
        "/plugins/repo/+/main",
        "/c++/1..2",
        "/a%20/b",
        "/%20/b",
        "/C%23/x%3Fy",
        "/..a%20b",
        "/.%E4%BD%A0/x",
        "/%E2%80%93/%E2%80%A6",
        "/M%C3%BCnchen",
        "/%E6%9D%B1%E4%BA%AC%EF%BC%8F%E5%A4%A7%E9%98%AA",
        "/M%FCnchen",
        "/%F0%9F%98%80",
        "/a:b/c:",
        "/users/me@shop.example/..a",
    ],
)
def test_innocent_paths(path: str) -> None:
    assert not is_disguised(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x-role", {"x_role", "x.role"}),
        ("x_role", {"x-role", "x.role"}),
        ("x-a-b", {f"x{one}a{two}b" for one in "-_." for two in "-_."} - {"x-a-b"}),
        ("role", set()),
        (":authority", set()),
    ],
)
def test_spellings_that_applications_take_for_a_header(name: str, expected: set[str]) -> None:
    found = lookalike_headers(HTTPMatch("m", headers=((name, "v"),)))
    assert {header.name for header in found} == expected
    assert all(header.present_match for header in found)


def test_every_spelling_of_the_longest_header_name_is_refused() -> None:
    name = "-".join("abcdefg")
    found = {header.name for header in lookalike_headers(HTTPMatch("m", headers=((name, "v"),)))}
    assert len(found) == 3**6 - 1
    assert name not in found
