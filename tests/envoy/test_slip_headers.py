"""No header passes a rule that the application would read as another one: lines given twice, other spellings, trailers,
headers between two hosts, and what a sidecar says itself.

Every rule here is about `x-role`; what the application receives must satisfy it however it is read: the first line or
the last one, all lines, dashes like underscores, trailers like headers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.demo.waiting import eventually
from tests.envoy.applications.witness import Request
from tests.envoy.raw_requests import Lines, WayIn, http1, send_http1
from tests.envoy.running_mesh import RunningMesh
from tests.envoy.slip_mesh import PROTOCOLS, TAG, WAYS, Slip, slip_mesh

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

RULES = {
    "whole": "headers: {x-role: ^guest$$}",
    "part": "headers: {x-role: guest}",
    "long": "headers: {x-team-role: ^guest$$}",
    "both": "headers: {x-role: ^guest$$, x-team: ^blue$$}",
    "empty": "headers: {x-role: ^$$}",
    "cookie": "headers: {cookie: ^role=guest$$}",
    "anything": "pathRegex: /",
}
PATTERNS = {"whole": r"^guest$", "part": r"guest"}
HOST = ("host", "any.host")
GUEST, ADMIN = ("x-role", "guest"), ("x-role", "admin")
START = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "any.host")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slip(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Slip]:
    allowed: dict[str, Lines] = {
        "whole": [GUEST],
        "part": [GUEST],
        "long": [("x-team-role", "guest")],
        "both": [GUEST, ("x-team", "blue")],
        "empty": [("x-role", "")],
        "cookie": [("cookie", "role=guest")],
        "anything": [],
    }
    async with slip_mesh(tmp_path_factory.mktemp("headers"), RULES) as running:
        for rule, headers in allowed.items():
            await eventually(
                lambda rule=rule, headers=headers: running.lets_in(rule, "/", headers), f"{rule} to be in force"
            )
        yield running


@pytest.fixture(scope="module")
def mesh(slip: Slip) -> RunningMesh:
    return slip.mesh


def spelled_like(name: str, other: str) -> bool:
    """Whether some server takes `other` for the header `name`."""
    return re.sub(r"[_.]", "-", other.lower()) == name


def assert_all_satisfy(rule: str, saw: list[Request], name: str = "x-role") -> None:
    """Whatever an application may take for the header satisfies the rule."""
    assert saw
    for each in saw:
        values = [value for other, value in (*each.headers, *each.trailers) if spelled_like(name, other)]
        assert values
        assert all(re.search(PATTERNS[rule], value) for value in values), values


async def fates(slip: Slip, rule: str, headers: Lines) -> list[tuple[list[int], list[Request]]]:
    """What became of a request with `headers`, by all ways."""
    ways = [(way, protocol) for way in WAYS for protocol in PROTOCOLS]
    return await asyncio.gather(
        *(slip.send(rule, way, protocol, "GET", "/", [HOST, *headers]) for way, protocol in ways)
    )


async def is_refused(slip: Slip, rule: str, headers: Lines) -> bool:
    return await fates(slip, rule, headers) == [([403], [])] * 4


# Several lines


@pytest.mark.parametrize(
    "lines",
    [
        (GUEST, ADMIN),
        (ADMIN, GUEST),
        (GUEST, ADMIN, GUEST),
        (GUEST, ("x-role", "")),
        (("x-role", ""), GUEST),
        (GUEST, GUEST),
        (("x-role", "guest,admin"),),
        (("x-role", "admin, guest"),),
        (GUEST, *[("x-other", str(number)) for number in range(50)], ADMIN),
        (("x-role", "guestadmin"),),
        (("x-role", "GUEST"),),
        (("x-role", "gu\xe9st"),),
        (("x-role", "guest;admin"),),
        (("x-role", '"guest"'),),
        (("x-role", ""),),
        (),
    ],
)
async def test_a_rule_for_the_whole_value_wants_it_alone(slip: Slip, lines: Lines) -> None:
    assert await is_refused(slip, "whole", lines)


@pytest.mark.parametrize("lines", [(GUEST, ADMIN), (ADMIN, GUEST), (GUEST, GUEST), (("x-role", ""), GUEST)])
async def test_lines_that_a_rule_judged_arrive_as_one(slip: Slip, lines: Lines) -> None:
    """A rule for a part allows whatever holds it; no application can pick a line that does not."""
    for statuses, saw in await fates(slip, "part", lines):
        assert statuses == [200]
        assert_all_satisfy("part", saw)
        assert saw[0].values("x-role") == [",".join(value for _, value in lines)]


async def test_one_line_arrives_as_it_is(slip: Slip) -> None:
    value = 'guest, %REQ(host)% "a;b" ,, \xfc \t x'
    for statuses, saw in await fates(slip, "part", [("x-role", value), ("x-other", "1"), ("x-other", "2")]):
        assert statuses == [200]
        assert saw[0].values("x-role") == [value]
        assert saw[0].values("x-other") == ["1", "2"], "no rule names it"


async def test_an_empty_value_is_a_value(slip: Slip) -> None:
    for statuses, saw in await fates(slip, "empty", [("x-role", "")]):
        assert (statuses, [each.values("x-role") for each in saw]) == ([200], [[""]])
    assert await is_refused(slip, "empty", [("x-role", ""), ADMIN])
    assert await is_refused(slip, "empty", [("x-role", ""), ("x-role", "")])
    assert await is_refused(slip, "empty", [])


async def test_each_of_two_headers_is_judged_by_itself(slip: Slip) -> None:
    blue = ("x-team", "blue")
    for lines in (
        [GUEST],
        [blue],
        [GUEST, blue, ADMIN],
        [GUEST, blue, ("x-team", "red")],
        [("x-team", "guest"), GUEST],
    ):
        assert await is_refused(slip, "both", lines)


async def test_crumbs_of_a_cookie_are_one(slip: Slip) -> None:
    """HTTP/2 lets a client cut a cookie into lines; an anchored rule sees all of it."""
    assert await is_refused(slip, "cookie", [("cookie", "role=guest"), ("cookie", "role=admin")])
    assert await is_refused(slip, "cookie", [("cookie", "role=admin"), ("cookie", "role=guest")])


async def test_a_huge_value_is_refused(slip: Slip) -> None:
    for way in WAYS:
        request = http1("GET", "/", [HOST, ("x-role", "guest" + "x" * 70_000)])
        assert await slip.send_bytes("part", way, request) == ([431], [])
    for statuses, saw in await fates(slip, "part", [("x-role", "x" * 20_000 + "guest")]):
        assert statuses == [200]
        assert_all_satisfy("part", saw)


# Names


@pytest.mark.parametrize("other", ["x_role", "x.role"])
async def test_other_spellings_of_a_header_are_refused(slip: Slip, other: str) -> None:
    assert await is_refused(slip, "whole", [(other, "guest")])
    assert await is_refused(slip, "whole", [GUEST, (other, "admin")])
    assert await is_refused(slip, "part", [(other, "admin"), GUEST])


@pytest.mark.parametrize(
    "other", ["x_team_role", "x-team_role", "x_team-role", "x.team.role", "x-team.role", "x.team_role"]
)
async def test_every_mixture_of_spellings_is_refused(slip: Slip, other: str) -> None:
    assert await is_refused(slip, "long", [("x-team-role", "guest"), (other, "admin")])


@pytest.mark.parametrize("name", ["X-Role", "X-ROLE", "x-rOLE"])
async def test_the_case_of_a_name_means_nothing(slip: Slip, name: str) -> None:
    for way in WAYS:
        statuses, saw = await slip.send_bytes("whole", way, http1("GET", "/", [HOST, (name, "guest")]))
        assert statuses == [200]
        assert_all_satisfy("whole", saw)
        assert await slip.send_bytes("whole", way, http1("GET", "/", [HOST, GUEST, (name, "admin")])) == ([403], [])


# Bytes of HTTP/1


@pytest.mark.parametrize(
    "lines",
    [
        "x-role: admin\r\n guest",
        "x-role: guest\r\n admin",
        "x-role: guest\r\n x-role: admin",
        "x-role: guest\r\n\tadmin",
        "x-role : guest",
        "x-role\t: guest",
        "x-role: guest\nx-role: admin",
        "x-role: guest\rx-role: admin",
        "x-role: guest\x00",
        "x-role: guest\x00admin",
        "x-role: guest\x01",
        "x-role: guest\x7f",
        "x-role: guest\r\nx role: admin",
        "x-role: guest\r\n\x0bx-role: admin",
        "x-role: guest\r\n: admin",
        "x-role: guest\r\nx-role",
        "x-role: guest\r\nx-role\x00: admin",
        "x-role: guest\r\nx-r\xf6le: admin",
        "x-other: 1\r\n x-role: guest",
        "x-other: x-role: guest",
        "host: x-role: guest",
        # what is between two hosts only goes no further: the rule does not see it, as the application does not
        "connection: x-role\r\nx-role: guest",
        "connection: close, x-role\r\nx-role: guest",
        "connection: X-Role\r\nx-role: guest",
    ],
)
async def test_a_line_with_something_wrong_is_refused(slip: Slip, lines: str) -> None:
    for way in WAYS:
        request = f"GET / HTTP/1.1\r\nhost: any.host\r\n{lines}\r\n\r\n".encode("latin-1")
        statuses, saw = await slip.send_bytes("whole", way, request)
        assert not saw
        assert statuses in ([400], [403]), way


@pytest.mark.parametrize(
    "lines",
    [
        "x-role:guest",
        "x-role: \t guest \t ",
        "x-role:\r\n guest",
        "connection: x_role\r\nx-role: guest\r\nx_role: admin",
        "proxy-connection: x-role\r\nkeep-alive: x-role\r\nte: x-role\r\nx-role: guest",
        "x-role: guest\r\nx-roles: admin\r\nxrole: admin\r\nx--role: admin",
    ],
)
async def test_a_line_that_is_mended_arrives_as_it_was_judged(slip: Slip, lines: str) -> None:
    for way in WAYS:
        request = f"GET / HTTP/1.1\r\nhost: any.host\r\n{lines}\r\n\r\n".encode("latin-1")
        statuses, saw = await slip.send_bytes("whole", way, request)
        assert statuses == [200], way
        assert_all_satisfy("whole", saw)
        assert saw[0].values("x-role") == ["guest"]


async def test_http_1_0_is_judged_alike(slip: Slip) -> None:
    for way in WAYS:
        assert await slip.send_bytes("whole", way, http1("GET", "/", [GUEST, ADMIN], "HTTP/1.0")) == ([403], [])
        statuses, saw = await slip.send_bytes("whole", way, http1("GET", "/", [GUEST], "HTTP/1.0"))
        assert statuses == [200]
        assert_all_satisfy("whole", saw)


# Fields of HTTP/2


NOT_HTTP2: list[Lines] = [
    [("x-role", "guest\r\nx-role: admin")],
    [("x-role", "guest\nadmin")],
    [("x-role", "guest\x00")],
    [GUEST, ("x-role\r\nx-other", "a")],
    [GUEST, ("x-role:", "admin")],
    [GUEST, ("x role", "admin")],
    [GUEST, ("", "admin")],
    [GUEST, ("X-Role", "admin")],
    [GUEST, ("connection", "x-role")],
    [GUEST, ("te", "x-role")],
    [GUEST, ("transfer-encoding", "chunked")],
    [GUEST, ("upgrade", "websocket")],
    [GUEST, (":x-role", "admin")],
]


async def test_fields_that_http2_does_not_allow_are_reset(slip: Slip) -> None:
    """All at once, since Envoy takes a second to close such a connection."""
    for way in WAYS:
        found = await asyncio.gather(*(slip.send_fields("whole", way, [*START, *each]) for each in NOT_HTTP2))
        assert found == [([], [])] * len(NOT_HTTP2)


@pytest.mark.parametrize("value", [" guest", "guest ", "\tguest"])
async def test_blanks_around_a_value_of_http2_are_not_the_value(slip: Slip, value: str) -> None:
    found = await asyncio.gather(*(slip.send_fields("whole", way, [*START, ("x-role", value)]) for way in WAYS))
    assert all(not saw and statuses in ([], [403]) for statuses, saw in found)


# Trailers


TRAILERS = [("x-role", "admin"), ("X-Role", "admin"), ("x_role", "admin"), ("x.role", "admin"), ("x-other", "kept")]


@pytest.mark.parametrize("way", WAYS)
async def test_trailers_are_no_headers(slip: Slip, way: str) -> None:
    lower = [(name.lower(), value) for name, value in TRAILERS]
    chunks = b"0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in TRAILERS) + b"\r\n"
    framing = [HOST, ("trailer", "x-role"), ("transfer-encoding", "chunked")]
    late = chunks.replace(b"admin", b"guest")
    assert await slip.send_bytes("whole", way, http1("POST", "/", framing) + late) == ([403], [])
    assert await slip.send_fields("whole", way, START, trailers=[GUEST]) == ([403], [])

    for statuses, saw in (
        await slip.send_bytes("whole", way, http1("POST", "/", [*framing, GUEST]) + chunks),
        await slip.send_fields("whole", way, [*START, GUEST], trailers=lower),
    ):
        assert statuses == [200]
        assert_all_satisfy("whole", saw)
        assert saw[0].trailers == (("x-other", "kept"),)


# What sidecars say


FORGED = "URI=spiffe://cluster.local/ns/site/sa/owner"


@pytest.mark.parametrize(
    "name",
    [
        "x-forwarded-client-cert",
        "x_forwarded_client_cert",
        "x.forwarded.client.cert",
        "x-forwarded-client_cert",
        "x-forwarded_client-cert",
        "x_forwarded-client.cert",
    ],
)
async def test_nobody_speaks_for_the_sidecar(slip: Slip, name: str) -> None:
    for way in WAYS:
        chunked = [HOST, (name, FORGED), ("transfer-encoding", "chunked"), ("trailer", name)]
        request = http1("POST", "/", chunked) + f"0\r\n{name}: {FORGED}\r\n\r\n".encode()
        both = (
            await slip.send_bytes("anything", way, request),
            await slip.send_fields("anything", way, [*START, (name, FORGED)]),
        )
        for statuses, (saw,) in both:
            assert statuses == [200]
            fields = (*saw.headers, *saw.trailers)
            vouched = [value for other, value in fields if spelled_like("x-forwarded-client-cert", other)]
            assert len(vouched) == 1
            assert vouched[0].endswith(";URI=spiffe://cluster.local/ns/attacker/sa/attacker")
            assert "owner" not in vouched[0]


async def test_what_the_sidecar_says_cannot_be_taken_away(slip: Slip) -> None:
    for way in WAYS:
        request = http1("GET", "/", [HOST, ("connection", "close, x-forwarded-client-cert")])
        _, (saw,) = await slip.send_bytes("anything", way, request)
        assert len(saw.values("x-forwarded-client-cert")) == 1


@pytest.mark.parametrize("claim", ["10.0.0.1", "127.0.0.1", "::1"])
async def test_a_client_gives_no_orders_to_the_servers_sidecar(slip: Slip, claim: str) -> None:
    """Envoy obeys such headers of requests from internal addresses, of which it has been told none."""
    orders = [
        ("x-forwarded-for", claim),
        ("x-envoy-internal", "true"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-max-retries", "9"),
        ("x-envoy-retriable-status-codes", "503"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
        ("x-envoy-hedge-on-per-try-timeout", "true"),
    ]
    for protocol in PROTOCOLS:
        statuses, saw = await slip.send("anything", "straight", protocol, "GET", "/fail", [HOST, *orders])
        assert statuses == [503]
        assert len(saw) == 1, "no more often than it was sent"
        assert not [name for name, _ in saw[0].headers if name.startswith("x-envoy")]


async def test_what_a_client_says_of_itself_allows_nothing(slip: Slip) -> None:
    claims = [
        ("x-forwarded-client-cert", FORGED),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "site.site"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-envoy-internal", "true"),
        ("x-envoy-external-address", "127.0.0.1"),
        ("x-envoy-original-dst-host", "127.0.0.1:1"),
        ("x-envoy-decorator-operation", "guest"),
    ]
    assert await is_refused(slip, "whole", claims)


# Messages within messages


HIDDEN = http1("GET", "/hidden", [HOST, ADMIN, (TAG, "NUMBER")])
"""`NUMBER` stands for six digits."""
SMUGGLED = [
    (f"content-length: {5 + len(HIDDEN)}\r\ntransfer-encoding: chunked", b"0\r\n\r\n" + HIDDEN),
    (f"transfer-encoding: chunked\r\ncontent-length: {5 + len(HIDDEN)}", b"0\r\n\r\n" + HIDDEN),
    ("content-length: 4\r\ntransfer-encoding: chunked", b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n"),
    ("transfer-encoding: chunked\r\ntransfer-encoding: identity", b"0\r\n\r\n" + HIDDEN),
    ("transfer-encoding: identity, chunked", b"0\r\n\r\n" + HIDDEN),
    ("transfer-encoding: xchunked", b"0\r\n\r\n" + HIDDEN),
    ("transfer-encoding : chunked", b"0\r\n\r\n" + HIDDEN),
    ("transfer-encoding: \x0bchunked", b"0\r\n\r\n" + HIDDEN),
    ("transfer_encoding: chunked", b"0\r\n\r\n" + HIDDEN),
    (f"content-length: 0\r\ncontent-length: {len(HIDDEN)}", HIDDEN),
    (f"content-length: 0, {len(HIDDEN)}", HIDDEN),
    ("content-length: +0", HIDDEN),
    ("content-length: -1", HIDDEN),
    ("content-length: 0x0", HIDDEN),
    ("content_length: 4", HIDDEN),
    ("content-length: 0", HIDDEN),
    ("connection: content-length\r\ncontent-length: 5", b"12345" + HIDDEN),
    ("connection: transfer-encoding\r\ntransfer-encoding: chunked", b"0\r\n\r\n" + HIDDEN),
    ("transfer-encoding: chunked", b"0\r\n\r\n" + HIDDEN),
    ("transfer-encoding: chunked", b"0;\n\r\n\r\n" + HIDDEN),
    ("transfer-encoding: chunked", b"0\n\n" + HIDDEN),
    ("transfer-encoding: chunked", b"0 \r\n\r\n" + HIDDEN),
    ("transfer-encoding: chunked", b"-1\r\n\r\n" + HIDDEN),
    ("transfer-encoding: chunked", b"fffffffffffffffff0\r\n\r\n" + HIDDEN),
    ("transfer-encoding: chunked", b"1\r\nab\r\n0\r\n\r\n" + HIDDEN),
    ("expect: 100-continue\r\ncontent-length: 0", HIDDEN),
    ("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13", HIDDEN),
    ("connection: upgrade\r\nupgrade: WebSocket\r\ncontent-length: 0", HIDDEN),
    ("connection: upgrade\r\nupgrade: websocket\r\ntransfer-encoding: chunked", b"0\r\n\r\n" + HIDDEN),
    ("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA", HIDDEN),
    ("connection: upgrade\r\nupgrade: TLS/1.3", HIDDEN),
]
Smuggled = dict[tuple[int, str], list[Request]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def smuggled(slip: Slip) -> Smuggled:
    """What the application saw of each row of SMUGGLED, by each way. All at once, since each takes a second to end."""
    found: Smuggled = {}

    async def one(row: int, way: str) -> None:
        framing, body = SMUGGLED[row]
        number = str(100_000 + 10 * row + WAYS.index(way))
        head = f"POST / HTTP/1.1\r\nhost: any.host\r\nx-role: guest\r\n{TAG}: {number}\r\n{framing}\r\n\r\n"
        await send_http1(slip.ways["whole", way], head.encode() + body.replace(b"NUMBER", number.encode()), answers=2)
        # A second, plain exchange: by now everything of the first one has arrived.
        after = http1("GET", "/after", [HOST, GUEST, (TAG, number)])
        assert await send_http1(slip.ways["whole", way], after) == [200]
        found[row, way] = slip.seen(number)

    await asyncio.gather(*(one(row, way) for row in range(len(SMUGGLED)) for way in WAYS))
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", range(len(SMUGGLED)), ids=[framing for framing, _ in SMUGGLED])
async def test_no_request_hides_in_another(smuggled: Smuggled, row: int, way: str) -> None:
    """Whatever the application takes for a request has been judged as one. This application takes no upgrade, and reads
    on behind a request: what was let through before its answer would be the next one.
    """
    saw = smuggled[row, way]
    assert [each.target for each in saw] in (["/", "/after"], ["/after"])
    assert_all_satisfy("whole", saw)
    for each in saw:
        assert not (each.values("content-length") and each.values("transfer-encoding"))
        assert all(value == "chunked" for value in each.values("transfer-encoding"))
        assert [value.lower() for value in each.values("upgrade")] in ([], ["websocket"]), "no other protocol is begun"


async def test_the_application_itself_would_be_fooled(slip: Slip) -> None:
    """Without sidecars, what comes behind an upgrade is the next request to it."""
    upgrade = http1("GET", "/", [HOST, ("connection", "upgrade"), ("upgrade", "websocket")])
    before = len(slip.witness.saw)
    straight_to_it = WayIn(slip.mesh.port["whole_app"])
    assert await send_http1(straight_to_it, upgrade + http1("GET", "/next", [HOST]), answers=2) == [200, 200]
    assert [each.target for each in slip.witness.saw[before:]] == ["/", "/next"]


async def test_the_application_has_seen_nothing_else(slip: Slip) -> None:
    assert slip.witness.saw
    assert not [each for each in slip.witness.saw if each.target == "/hidden"]
