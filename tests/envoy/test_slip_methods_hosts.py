"""No spelling of a method or a host gets past a rule for another one; and what such tricks do to a split, which decides
where a request goes and never whether.

A rule is about the request line and the host of a request. What an application reads out of other headers
(`x-http-method-override`, `x-forwarded-host`) it has to be told by rules of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.demo.waiting import eventually
from tests.envoy.applications.witness import Request
from tests.envoy.raw_requests import Lines, http1
from tests.envoy.running_mesh import RunningMesh
from tests.envoy.slip_mesh import PROTOCOLS, WAYS, Slip, slip_mesh

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

RULES = {
    "get": "methods: [GET]",
    "some": "methods: [GET, HEAD]",
    "every": "methods: ['*']",
    "host": "headers: {host: ^shop\\.example$$}",
    "old": "pathRegex: /",
    "new": "pathRegex: /",
    "page": "pathRegex: /public/.*, methods: [GET], headers: {host: ^shop\\.example$$}",
}
HOST = [("host", "any.host")]
SHOP = [("host", "shop.example")]
START = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
Fate = tuple[list[int], list[Request]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slip(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Slip]:
    async with slip_mesh(tmp_path_factory.mktemp("methods"), RULES, split=SPLIT) as running:
        for rule in RULES:
            await eventually(lambda rule=rule: running.lets_in(rule, "/public/", SHOP), f"{rule} to be in force")
        yield running


@pytest.fixture(scope="module")
def mesh(slip: Slip) -> RunningMesh:
    return slip.mesh


async def fates(slip: Slip, rule: str, method: str, target: str, headers: Lines, *protocols: str) -> list[Fate]:
    """What became of a request by all ways; in both protocols unless some are named."""
    ways = [(way, protocol) for way in WAYS for protocol in protocols or PROTOCOLS]
    return await asyncio.gather(*(slip.send(rule, way, protocol, method, target, headers) for way, protocol in ways))


def are_refused(found: list[Fate]) -> bool:
    return all(not saw and statuses in ([], [400], [403], [404]) for statuses, saw in found)


Found = dict[tuple[str, str, str, tuple[str, str]], list[Fate]]
TUNNELS = ("shop.example:80", "127.0.0.1:1", "/public/", "http://shop.example/public/")
NO_PATHS = ("*", "?", "shop.example")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def found(slip: Slip) -> Found:
    """What became of requests with a rule, method, target, and host, by all ways. All at once, since Envoy takes a
    second to close a connection of HTTP/2 on which something was wrong.
    """
    rows = [("get", method, "/", HOST[0]) for method in OTHER_METHODS]
    rows += [("host", "GET", "/", ("host", host)) for host in OTHER_HOSTS]
    rows += [(rule, "CONNECT", target, SHOP[0]) for rule in ("get", "every", "page") for target in TUNNELS]
    rows += [(rule, "OPTIONS", target, SHOP[0]) for rule in ("every", "host") for target in NO_PATHS]
    all_fates = await asyncio.gather(*(fates(slip, rule, method, target, [h]) for rule, method, target, h in rows))
    return dict(zip(rows, all_fates, strict=True))


# Methods


OTHER_METHODS = (
    *("POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "CONNECT", "PRI"),
    *("get", "Get", "gET", "GETX", "XGET", "GE", "G", "FOO", "GET,POST", "GET;", "GET/", "GET:POST", "G\xcbT"),
    *("", " GET", "GET\x00", "\x00GET", "GET\nPOST", "*"),
)


@pytest.mark.parametrize("method", OTHER_METHODS)
async def test_another_method_is_refused(found: Found, method: str) -> None:
    assert are_refused(found["get", method, "/", HOST[0]])


async def test_a_careless_line_is_mended(slip: Slip) -> None:
    for method in ("GET\t", "GET\r"):
        for _, saw in await fates(slip, "get", method, "/", HOST, "http1"):
            assert [each.method for each in saw] == ["GET"]
        assert are_refused(await fates(slip, "get", method.replace("GET", "POST"), "/", HOST, "http1"))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_method_of_the_rule_gets_in(slip: Slip, method: str) -> None:
    for statuses, saw in await fates(slip, "some", method, "/", HOST):
        assert (statuses, [each.method for each in saw]) == ([200], [method])


@pytest.mark.parametrize("method", ["get", "GeT", "FOO", "GETX"])
async def test_any_method_is_any_method(slip: Slip, method: str) -> None:
    """What a rule without methods allows arrives as it was sent; HTTP/1 of Envoy knows registered methods only."""
    assert are_refused(await fates(slip, "every", method, "/", HOST, "http1"))
    for statuses, saw in await fates(slip, "every", method, "/", HOST, "http2"):
        assert (statuses, [each.method for each in saw]) == ([200], [method])


@pytest.mark.parametrize(
    "name", ["x-http-method-override", "x-http-method", "x-method-override", "x-original-method", "x-forwarded-method"]
)
async def test_the_request_line_has_the_method(slip: Slip, name: str) -> None:
    assert are_refused(await fates(slip, "get", "POST", "/", [*HOST, (name, "GET")]))
    for statuses, saw in await fates(slip, "get", "GET", "/", [*HOST, (name, "DELETE")]):
        assert (statuses, [each.method for each in saw]) == ([200], ["GET"])
        assert saw[0].values(name) == ["DELETE"], "it is the application's own choice to obey it"


@pytest.mark.parametrize("rule", ["get", "every", "page"])
async def test_nobody_gets_a_tunnel(slip: Slip, found: Found, rule: str) -> None:
    for target in TUNNELS:
        assert are_refused(found[rule, "CONNECT", target, SHOP[0]])
    extended = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "shop.example")]
    for fields in ([*extended, (":path", "/public/")], [(":method", "CONNECT"), (":authority", "shop.example:80")]):
        assert are_refused(await asyncio.gather(*(slip.send_fields(rule, way, fields) for way in WAYS)))


@pytest.mark.parametrize("rule", ["every", "host"])
async def test_a_request_for_no_path_is_refused(found: Found, rule: str) -> None:
    for target in NO_PATHS:
        assert are_refused(found[rule, "OPTIONS", target, SHOP[0]])


# Hosts


OTHER_HOSTS = (
    *("SHOP.example", "Shop.Example", "shop.example.", "shop.example:80", "shop.example:", "shop.example.evil"),
    *("evil.shop.example", "shop_example", "shopXexample", "user@shop.example", "shop.example@evil"),
    *("shop.example/", "shop.example/evil", "evil/shop.example", "evil?shop.example", "evil#shop.example"),
    *("shop.example,evil", "evil,shop.example", "shop.example evil", "shop.example\tevil", "shop.example\\evil"),
    *(
        "shop.example%00",
        "shop.example\x00",
        "shop.example%20",
        "sh%6fp.example",
        "[shop.example]",
        "http://shop.example",
    ),
    *("sh\xf6p.example", "xn--shop.example", "", "localhost", "site.site", "127.0.0.1"),
)


@pytest.mark.parametrize("host", OTHER_HOSTS)
async def test_another_host_is_refused(found: Found, host: str) -> None:
    """Also the same host in other words: a rule that is anchored names one of them, and is written to taste."""
    assert are_refused(found["host", "GET", "/", ("host", host)])


async def test_two_hosts_are_refused(slip: Slip) -> None:
    several = (["shop.example", "evil"], ["evil", "shop.example"], ["shop.example", "shop.example"])
    requests = [[("host", host) for host in hosts] for hosts in several]
    for each in await asyncio.gather(*(fates(slip, "host", "GET", "/", headers) for headers in requests)):
        assert are_refused(each)


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ([(":authority", "shop.example")], True),
        ([("host", "shop.example")], True),
        ([(":authority", "shop.example"), ("host", "evil")], True),
        ([("host", "evil"), (":authority", "shop.example")], False),
        ([(":authority", "evil"), ("host", "shop.example")], False),
        ([(":authority", ""), ("host", "shop.example")], False),
        ([("host", "shop.example"), ("host", "evil")], False),
        ([("host", "evil"), ("host", "shop.example")], False),
        ([(":authority", "shop.example"), (":authority", "evil")], False),
        ([], False),
    ],
)
async def test_http2_has_one_host(slip: Slip, fields: Lines, *, allowed: bool) -> None:
    """`:authority` wins, and the application gets nothing else."""
    for statuses, saw in await asyncio.gather(*(slip.send_fields("host", way, [*START, *fields]) for way in WAYS)):
        if allowed:
            assert (statuses, [each.values("host") for each in saw]) == ([200], [["shop.example"]])
        else:
            assert are_refused([(statuses, saw)])


@pytest.mark.parametrize(
    ("target", "host", "seen"),
    [
        ("http://shop.example/public/", "evil", "shop.example"),
        ("http://shop.example/public/", "shop.example", "shop.example"),
        ("https://shop.example/public/", "evil", "shop.example"),
        ("http://evil/public/", "shop.example", None),
        ("http://shop.example@evil/public/", "shop.example", None),
        ("http://evil@shop.example/public/", "shop.example", "shop.example"),
        ("http://shop.example:80/public/", "shop.example", None),
        ("http://SHOP.example/public/", "shop.example", None),
        ("http:///public/", "shop.example", None),
        ("http://evil\\@shop.example/public/", "shop.example", None),
        ("//evil/public/", "shop.example", None),
        ("http://shop.example/public/../admin", "shop.example", None),
    ],
)
async def test_the_host_of_a_whole_target_is_the_host(slip: Slip, target: str, host: str, seen: str | None) -> None:
    for statuses, saw in await fates(slip, "page", "GET", target, [("host", host)], "http1"):
        if seen is None:
            assert are_refused([(statuses, saw)])
        else:
            assert [(each.target, each.values("host")) for each in saw] == [("/public/", [seen])]


async def test_http_1_0_without_a_host_has_none_of_the_rules(slip: Slip) -> None:
    found = [await slip.send_bytes("host", way, http1("GET", "/", [], "HTTP/1.0")) for way in WAYS]
    assert are_refused(found)
    assert [await slip.send_bytes("host", way, http1("GET", "/", [])) for way in WAYS] == [([400], [])] * 2


@pytest.mark.parametrize(
    "name", ["x-forwarded-host", "x-host", "x-original-host", "x-envoy-original-host", "forwarded"]
)
async def test_headers_that_speak_of_hosts_allow_nothing(slip: Slip, name: str) -> None:
    assert are_refused(await fates(slip, "host", "GET", "/", [*HOST, (name, "shop.example")]))


async def test_all_parts_of_a_match_must_fit_one_request(slip: Slip) -> None:
    for method, target, host in (("POST", "/public/", SHOP), ("GET", "/admin", SHOP), ("GET", "/public/", HOST)):
        assert are_refused(await fates(slip, "page", method, target, host))
    # Nor do two requests on one connection make one together.
    parts = http1("GET", "/public/", HOST) + http1("POST", "/public/", SHOP) + http1("GET", "/admin", SHOP)
    for way in WAYS:
        statuses, saw = await slip.send_bytes("page", way, parts, answers=3)
        assert (set(statuses), saw) == ({403}, [])


# Splits


SPLIT = "pathRegex: /new/.*, methods: [GET], headers: {x-test: ^yes$$}"


@pytest.mark.parametrize(
    ("target", "headers", "backend"),
    [
        ("/new/page", [("x-test", "yes")], "new"),
        ("/old/page", [("x-test", "yes")], "old"),
        ("/new/page", [], "old"),
        ("/new/page", [("x-test", "no")], "old"),
        ("/new/page", [("x_test", "yes")], "old"),
        ("/new/../old/page", [("x-test", "yes")], "new"),
        ("/old/../new/page", [("x-test", "yes")], "old"),
        ("/%6eew/page", [("x-test", "yes")], "old"),
        ("//new/page", [("x-test", "yes")], "old"),
        ("/new/page", [("x-test", "no"), ("x-test", "yes")], "new"),
        ("/new/page", [("x-test", "yes"), ("x-test", "no")], "new"),
    ],
)
async def test_a_split_takes_requests_as_they_are_written(
    slip: Slip, target: str, headers: Lines, backend: str
) -> None:
    """The client's sidecar changes nothing of a request, so what it chooses by is the text that the client wrote, and
    one of several lines of a header is enough. Both backends have rules of their own, so nothing is won by it.
    """
    for protocol in PROTOCOLS:
        statuses, saw = await slip.send("split", "sidecar", protocol, "GET", target, [*HOST, *headers])
        assert statuses == [200]
        assert [each.port for each in saw] == [slip.mesh.port[f"{backend}_app"]]
