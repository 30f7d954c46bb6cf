"""No spelling of a path gets past a rule for another path: through the attacker's sidecar or straight in, in HTTP/1 and
HTTP/2.

What counts in the end is what the application receives: in every way that servers are known to read it (`readings.py`),
it must lie inside of what the rule allows. So each row says what arrives, or that nothing does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.demo.waiting import eventually
from tests.envoy.raw_requests import http1
from tests.envoy.readings import readings
from tests.envoy.running_mesh import RunningMesh
from tests.envoy.slip_mesh import PROTOCOLS, WAYS, Slip, slip_mesh

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

FOLDER, PREFIX = "folder", "prefix"
RULES = {FOLDER: "pathRegex: /public/.*", PREFIX: "pathRegex: /public.*"}
"""Both as people write them: the second one allows `/publicity` too, and has to be kept inside of `/public...`."""
HOST = [("host", "any.host")]
Arrived = dict[tuple[str, str], set[str | None]]
"""As what a target (second) arrives at the application in a protocol (first), by all ways; None: it is refused."""

AS_IT_IS = (
    "/public/",
    "/public/page",
    "/public/page?then=/../../admin&or=%2e%2e;%00",
    "/public/page;v=1",
    "/public/page;v=1/part",
    "/public/..page/...",
    "/public/page../x",
    "/public/.../admin",
    "/public/.well-known/page",
    "/public/C%23/x%3Fy",
    "/public/a%20b/+/c",
    "/public/100%25/x",
    "/public/%",
    "/public/%zz",
    "/public/m%C3%BCnchen/%E6%9D%B1%EF%BC%8F",
    "/public/M%FCnchen",
    "/public/a:b/@c/d=e",
    "/public/&period;&period;/admin",
    "/public/..!/admin",
    "/public/" + "a" * 50_000,
)
MADE_PLAIN = {
    "/public/./page": "/public/page",
    "/public/a/../page": "/public/page",
    "/public//a///page": "/public/a/page",
    "//public/page": "/public/page",
    "/public/%70age": "/public/page",
    "/%70ublic/page": "/public/page",
    "/public/a%2Fpage": "/public/a/page",
    "/public/page\\": "/public/page/",
    "/elsewhere/../public/page": "/public/page",
    "/public/%2e": "/public/",
    # Tricks that fail: their `..` leaves nothing but an empty segment, or one of a mere parameter.
    "/public//../admin": "/public/admin",
    "/public//..//../admin": "/public/admin",
    "/public/%2F..%2Fadmin": "/public/admin",
    "/public/;/../admin": "/public/admin",
    "/public/a;/../admin": "/public/admin",
    "/public/%3b/%2e%2e/admin": "/public/admin",
    "/public//..;/admin": "/public/admin",
    "/public/;x/..;y/admin": "/public/admin",
    "/public/\\../admin": "/public/admin",
    "/public/%5c..%5cadmin": "/public/admin",
    "/public/%23/..%2fadmin": "/public/admin",
}
"""They go on as what they mean by then, so that the application cannot read anything else into them."""
ABSOLUTE = {
    "http://any.host/public/page": "/public/page",
    "http://other.host:99/public/page?x": "/public/page?x",
    "http://any.host/public/a/../page": "/public/page",
}
"""A target with a host in it, which HTTP/1 alone has."""

REFUSED = (
    "/admin",
    "/admin?x=/public/",
    "/admin?/public/",
    "/admin%3f/public/",
    "/admin#/public/",
    "/admin%23/public/",
    "/admin;/public/",
    "/admin%00/public/",
    "/PUBLIC/page",
    "/%50UBLIC/page",
    "?/public/",
    "",
    "*",
    "public/page",
    "public/../admin",
    # dots
    "/public/..",
    "/public/../",
    "/public/../admin",
    "/public/./../admin",
    "/public/a/../../admin",
    "/public/a/b/../../../admin?x=/public/",
    "/public/../../../../admin",
    "/./public/../admin",
    "/public/" + "a/" * 2000 + "../" * 2001 + "admin",
    # slashes
    "//admin",
    "///public/..//admin",
    "/public/..//admin",
    "//any.host/public/page",
    # encoded
    "/public/%2e%2e/admin",
    "/public/%2E%2E/admin",
    "/public/%2e%2E/admin",
    "/public/.%2e/admin",
    "/public/%2E./admin",
    "/public/%2e/%2e%2e/admin",
    "/public/%2e%2e",
    "/public%2F..%2Fadmin",
    "/public/..%2Fadmin",
    "/public/..%2fadmin",
    "/public%2f%2e%2E%2Fadmin",
    "/public/%2f%2e%2e%2f%2e%2e/admin",
    "/public/..%2F..%2F../admin",
    # encoded again
    "/public/%252e%252e/admin",
    "/public/%252E%252E%252Fadmin",
    "/public/..%252fadmin",
    "/public/%25252e%25252e/admin",
    "/public/%25%32%65%25%32%65/admin",
    "/public/%%32%65%%32%65/admin",
    "/public/%2%65%2%65/admin",
    "/public/..%%32%66admin",
    "/public/..%%35%63admin",
    "/public%%32%66..%%32%66admin",
    "/public/%252F..%252Fadmin",
    "/public/a%252fb",
    # parameters, and what may end a name or a path
    "/public/..;/admin",
    "/public/..;x=y/admin",
    "/public/..%3B/admin",
    "/public/..%3bx=y/admin",
    "/public/..%3b%2fadmin",
    "/public/%2e%2e;/admin",
    "/public/..%253b/admin",
    "/public/.;/..;/admin",
    "/public/page%3f/..;/..;/admin",
    "/admin/%2e%2e;/public/..;/",
    "/public/..%3f/admin",
    "/public/..%23/admin",
    "/public/..#/",
    "/public/page#fragment",
    "/public/#/../../admin",
    "/public/..:/admin",
    "/public/..%3a%3a$INDEX_ALLOCATION/admin",
    # backslashes
    "/public\\..\\admin",
    "/public/..\\admin",
    "/public/..%5Cadmin",
    "/public/..%5cadmin",
    "/public%5c..%5cadmin",
    "/public/..%255cadmin",
    "\\public\\..\\admin",
    # control characters
    "/public/..%00/admin",
    "/public/%00/../../admin",
    "/public/page%00",
    "/public/page%2500",
    "/public/..%09/admin",
    "/public/.%09./admin",
    "/public/..%0d%0a/admin",
    "/public/page%0d%0ax-role:%20admin",
    "/public/..%1f/admin",
    "/public/..%7f/admin",
    "/public/..\x00/admin",
    "/public/..\x01/admin",
    "/public/..\x0b/admin",
    "/public/..\x7f/admin",
    "/public/..\t/admin",
    # blanks, and what has no width
    "/public/.. /admin",
    "/public/..%20/admin",
    "/public/..+/admin",
    "/public/..%2b/admin",
    "/public/%20../admin",
    "/public/..%20./admin",
    "/public/..%2520/admin",
    "/public/..%c2%a0/admin",
    "/public/..%85/admin",
    "/public/..%ad/admin",
    "/public/.%c2%ad./admin",
    "/public/.%e2%80%8b./admin",
    "/public/.%ef%bb%bf./admin",
    # letters that look like dots and slashes, or become them
    "/public/%ef%bc%8e%ef%bc%8e/admin",
    "/public/%e2%80%a5/admin",
    "/public/%e2%80%a4%e2%80%a4/admin",
    "/public/..%ef%bc%8fadmin",
    "/public/..%ef%bc%bcadmin",
    "/public/..%e2%88%95admin",
    "/public/\xef\xbc\x8e\xef\xbc\x8e/admin",
    "/public/..\xef\xbc\x8fadmin",
    "/public%ef%bc%8f..%ef%bc%8fadmin",
    "/public/%u002e%u002e/admin",
    "/public/%uff0e%uff0e/admin",
    "/public/..%u2215admin",
    "/public/..%u005cadmin",
    "/public/page%u0000",
    # longer forms than UTF-8 allows
    "/public/..%c0%afadmin",
    "/public/%c0%ae%c0%ae/admin",
    "/public/%c0%2e%c0%2e/admin",
    "/public/..%c1%9cadmin",
    "/public/..%e0%80%afadmin",
    "/public/..%e0%81%9cadmin",
    "/public/..%f0%80%80%af/admin",
    "/public/%f0%80%80%ae%f0%80%80%ae/admin",
    "/public/..%fc%80%80%80%80%afadmin",
    "/public/..%25c0%25afadmin",
    "/public/\xc0\xae\xc0\xae/admin",
    # hosts in the target
    "http://any.host/admin",
    "http://any.host/public/../admin",
    "http://any.host/public/%2e%2e/admin",
    "http://any.host/public/..;/admin",
    "http://any.host/public%2f..%2fadmin",
    "http://any.host//public/..//admin",
    "http://any.host",
    "http://any.host?/public/page",
    "http://any.host#/public/page",
    "http://any.host\\public\\page",
    "http://any.host/public/../..//any.host/admin",
    "http://user@any.host/public/../admin",
    "http:/public/../admin",
    "http:///admin",
    "HTTP://any.host/public/../admin",
    "ftp://any.host/admin",
    "file:///public/../admin",
    "/http://any.host/public/page",
    "any.host:80",
)
PREFIXED = ("/public", "/public?x=/", "/publicity", "/public..", "/public;x", "/public.;/a")
BROKEN_LINES = (
    " GET /public/page HTTP/1.1",
    "GET /public/page /admin HTTP/1.1",
    "GET /admin /public/page HTTP/1.1",
    "GET /public/page\r/admin HTTP/1.1",
    "GET /public/page HTTP/1.1 HTTP/1.1",
    "GET /public/page HTTX/1.1",
    "GET /admin",
    "/public/page",
    "GET /public/p\xe4ge HTTP/1.1",
)
MENDED_LINES = (
    "GET  TARGET HTTP/1.1",
    "GET TARGET  HTTP/1.1",
    "GET\tTARGET\tHTTP/1.1",
    "GET TARGET\nx-more: lines HTTP/1.1",
    "GET TARGET HTTP/2.0",
    "GET TARGET HTTP/9.9",
    "GET TARGET HTTP/1.0",
    "GET TARGET",
)
"""Envoy's parser takes them."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slip(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Slip]:
    async with slip_mesh(tmp_path_factory.mktemp("paths"), RULES) as running:
        for rule in RULES:
            await eventually(lambda rule=rule: running.lets_in(rule, "/public/page"), f"{rule} to be in force")
        yield running


@pytest.fixture(scope="module")
def mesh(slip: Slip) -> RunningMesh:
    return slip.mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arrived(slip: Slip) -> dict[str, Arrived]:
    """For each rule: what became of every target of this file. All at once, since Envoy closes connections slowly."""
    busy = asyncio.Semaphore(64)
    made: dict[str, Arrived] = {rule: defaultdict(set) for rule in RULES}

    async def one(rule: str, way: str, protocol: str, target: str) -> None:
        async with busy:
            statuses, saw = await slip.send(rule, way, protocol, "GET", target, HOST)
        if saw:
            assert statuses == [200], (rule, way, protocol, target)
        else:
            # HTTP/2 resets what is no request at all. 404: there is no route for what is no path.
            refusals = ([400], [403], [404], []) if protocol == "http2" else ([400], [403], [404])
            assert statuses in refusals, (rule, way, protocol, target, statuses)
        made[rule][protocol, target] |= {each.target for each in saw} or {None}

    targets = [*AS_IT_IS, *MADE_PLAIN, *ABSOLUTE, *REFUSED, *PREFIXED]
    await asyncio.gather(*(one(*each) for each in itertools.product(RULES, WAYS, PROTOCOLS, targets)))
    return made


def assert_inside(target: str, rule: str = FOLDER) -> None:
    allowed = "/public/" if rule == FOLDER else "/public"
    assert not [each for each in readings(target) if not f"{each}/".startswith(allowed)], target


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("target", AS_IT_IS)
async def test_a_rule_lets_its_own_paths_in(arrived: dict[str, Arrived], rule: str, target: str) -> None:
    assert [arrived[rule][protocol, target] for protocol in PROTOCOLS] == [{target}, {target}]
    assert_inside(target)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("target", "plain"), MADE_PLAIN.items())
async def test_a_path_is_made_plain(arrived: dict[str, Arrived], rule: str, target: str, plain: str) -> None:
    assert [arrived[rule][protocol, target] for protocol in PROTOCOLS] == [{plain}, {plain}]
    assert_inside(plain)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("target", "plain"), ABSOLUTE.items())
async def test_a_host_is_no_part_of_a_path(arrived: dict[str, Arrived], rule: str, target: str, plain: str) -> None:
    assert [arrived[rule][protocol, target] for protocol in PROTOCOLS] == [{plain}, {None}]
    assert_inside(plain)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("target", REFUSED)
async def test_a_trick_does_not_pass(arrived: dict[str, Arrived], rule: str, target: str) -> None:
    assert [arrived[rule][protocol, target] for protocol in PROTOCOLS] == [{None}, {None}]


@pytest.mark.parametrize("target", PREFIXED)
async def test_a_prefix_is_a_prefix(arrived: dict[str, Arrived], target: str) -> None:
    """`/public` and what begins with it is what such a rule says; one with a slash at the end does not."""
    for protocol in PROTOCOLS:
        assert arrived[PREFIX][protocol, target] == {target}
        assert arrived[FOLDER][protocol, target] == {None}
    assert_inside(target, PREFIX)


@pytest.mark.parametrize("line", BROKEN_LINES)
async def test_a_broken_request_line_is_refused(slip: Slip, line: str) -> None:
    for way in WAYS:
        statuses, saw = await slip.send_bytes(FOLDER, way, f"{line}\r\nhost: any.host\r\n\r\n".encode("latin-1"))
        assert not saw, way
        assert statuses in ([], [400], [403]), way


@pytest.mark.parametrize("line", MENDED_LINES)
async def test_a_careless_request_line_is_mended(slip: Slip, line: str) -> None:
    """What Envoy understands of such a line is what it judges, and all that it passes on."""
    for target, seen in (("/public/page", ["/public/page"]), ("/admin", [])):
        for way in WAYS:
            sent = f"{line.replace('TARGET', target)}\r\nhost: any.host\r\n\r\n".encode("latin-1")
            statuses, saw = await slip.send_bytes(FOLDER, way, sent)
            assert [(each.method, each.target) for each in saw] == [("GET", each) for each in seen], (way, statuses)


async def test_two_paths_are_no_path(slip: Slip) -> None:
    pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "any.host")]
    several = (("/public/page", "/admin"), ("/admin", "/public/page"), ())
    requests = [[*pseudo, *((":path", path) for path in paths)] for paths in several]
    found = await asyncio.gather(*(slip.send_fields(FOLDER, way, each) for way in WAYS for each in requests))
    assert found == [([], [])] * len(found)


@pytest.mark.parametrize(
    "name", ["x-envoy-original-path", "x-original-url", "x-rewrite-url", "x-forwarded-prefix", "x-forwarded-path"]
)
async def test_headers_that_speak_of_paths_allow_nothing(slip: Slip, name: str) -> None:
    """The rule is about the request line. An application that obeys such a header must be told so by a rule of its
    own.
    """
    for way in WAYS:
        for protocol in PROTOCOLS:
            sent = [*HOST, (name, "/public/page")]
            assert await slip.send(FOLDER, way, protocol, "GET", "/admin", sent) == ([403], [])


async def test_a_request_behind_an_allowed_one_is_judged_by_itself(slip: Slip) -> None:
    allowed, hidden = http1("GET", "/public/page", HOST), http1("GET", "/admin", HOST)
    for way in WAYS:
        statuses, saw = await slip.send_bytes(FOLDER, way, allowed + hidden + allowed, answers=3)
        assert statuses == [200, 403, 200]
        assert [each.target for each in saw] == ["/public/page", "/public/page"]


async def test_the_application_has_seen_nothing_else(slip: Slip, arrived: dict[str, Arrived]) -> None:
    """Also nothing that came later than its answer."""
    seen = {each.target for each in slip.witness.saw}
    assert seen >= set(AS_IT_IS)
    for target in seen:
        assert_inside(target, PREFIX)
