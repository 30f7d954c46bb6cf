"""HTTPRouteGroup and TCPRoute: nothing that is wrong may allow more."""

from __future__ import annotations

import pytest

from smi import patterns
from smi.objects import HTTPMatch


def test_a_group(read_spec):
    reading = read_spec(
        "HTTPRouteGroup",
        """
        matches:
        - name: api
          pathRegex: /api
          methods: [GET, HEAD]
        - name: anything
          methods: ["*", GET]
        - name: mapped
          headers: {User-Agent: ".*Firefox.*", Host: "^shop$"}
        - name: listed
          headers:
          - user-agent: ".*Android.*"
          - cookie: "a"
            X-Two: "b"
        """,
    )
    assert reading.found == []
    assert reading.object.matches == (
        HTTPMatch("api", "/api", ("GET", "HEAD")),
        HTTPMatch("anything"),
        HTTPMatch("mapped", headers=(("user-agent", ".*Firefox.*"), (":authority", "^shop$"))),
        HTTPMatch("listed", headers=(("user-agent", ".*Android.*"), ("cookie", "a"), ("x-two", "b"))),
    )


@pytest.mark.parametrize("methods", ["", "[]", "['*']", "['*', POST]"])
def test_any_method(read_spec, methods):
    reading = read_spec("HTTPRouteGroup", f" {{matches: [{{name: a, methods: {methods}}}]}}")
    assert reading.object.matches == (HTTPMatch("a"),)


@pytest.mark.parametrize(
    ("match", "code"),
    [
        ("{name: bad, pathRegex: '('}", "TL1202"),
        ("{name: bad, pathRegex: '/a(?=b)'}", "TL1202"),
        ("{name: bad, pathRegex: '/a)(?:b'}", "TL1202"),
        ("{name: bad, pathRegex: '(/x{1000}){1000}'}", "TL1202"),
        (f"{{name: bad, pathRegex: '/{'a' * 1024}'}}", "TL1202"),
        ("{name: bad, pathRegex: 5}", "TL1101"),
        ("{name: bad, pathRegex: [/a]}", "TL1101"),
        ("{name: bad, pathregex: /admin}", "TL1107"),
        ("{name: bad, query: x}", "TL1107"),
        ("{name: bad, methods: [get]}", "TL1203"),
        ("{name: bad, methods: [GET, FETCH]}", "TL1203"),
        ("{name: bad, methods: [1]}", "TL1203"),
        ("{name: bad, methods: GET}", "TL1101"),
        ("{name: bad, headers: {cookie: '['}}", "TL1202"),
        ("{name: bad, headers: {authorized: true}}", "TL1101"),
        ("{name: bad, headers: {authorized: }}", "TL1101"),
        ("{name: bad, headers: {':path': /x}}", "TL1105"),
        ("{name: bad, headers: {'a b': x}}", "TL1105"),
        ("{name: bad, headers: [cookie]}", "TL1101"),
        ("{name: bad, headers: cookie}", "TL1101"),
        ("{pathRegex: /a}", "TL1102"),
        ("{name: '', pathRegex: /a}", "TL1102"),
        ("{name: 5}", "TL1101"),
        ("{name: good, pathRegex: /wide}", "TL1106"),
        ("text", "TL1101"),
    ],
)
def test_a_wrong_match_matches_nothing_and_leaves_the_others(read_spec, match, code):
    reading = read_spec(
        "HTTPRouteGroup",
        f"""
        matches:
        - name: good
          pathRegex: /good
        - {match}
        """,
    )
    assert reading.object.matches == (HTTPMatch("good", "/good"),)
    assert reading.found == [(code, 8)]
    assert not reading.decoded[0].intact


def test_the_reason_of_re2_and_the_meant_method_are_told(read_spec):
    assert "missing )" in read_spec("HTTPRouteGroup", " {matches: [{name: a, pathRegex: '/('}]}").text
    assert "'GET'" in read_spec("HTTPRouteGroup", " {matches: [{name: a, methods: [get]}]}").text


@pytest.mark.parametrize("pattern", ["api", "^api", "[a-z]+/x", "\\\\?"])
def test_a_path_that_no_request_has_is_a_warning(read_spec, pattern):
    reading = read_spec("HTTPRouteGroup", f' {{matches: [{{name: a, pathRegex: "{pattern}"}}]}}')
    assert [code for code, _ in reading.found] == ["TL1204"]
    assert reading.object.matches


@pytest.mark.parametrize(
    "pattern", ["/", "/api", "^/api", ".*", "(/a|b)", "a?/x", "", "(?i)/A", "[^x]+", "(|/x)", "a*"]
)
def test_a_path_that_a_request_can_have(read_spec, pattern):
    assert read_spec("HTTPRouteGroup", f" {{matches: [{{name: a, pathRegex: '{pattern}'}}]}}").found == []


def test_matches_at_the_root_are_read_as_the_specification_writes_them(read):
    reading = read("""\
        apiVersion: specs.smi-spec.io/v1alpha4
        kind: HTTPRouteGroup
        metadata: {name: ab-test}
        matches:
        - name: firefox-users
          headers:
            user-agent: ".*Firefox.*"
        """)
    assert [match.name for match in reading.object.matches] == ["firefox-users"]
    assert reading.found == [("TL1205", 4)]


def test_a_group_without_matches_is_in_force_and_matches_nothing(read_spec):
    reading = read_spec("HTTPRouteGroup", " {matches: []}")
    assert reading.object.matches == ()
    assert reading.decoded[0].intact
    assert [code for code, _ in reading.found] == ["TL1102"]
    assert read_spec("HTTPRouteGroup", " {matches: 5}").object is None
    assert read_spec("HTTPRouteGroup", "").object is None


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        (" {matches: {ports: [8301, 8302]}}", (8301, 8302)),
        (" {matches: {ports: []}}", ()),
        (" {matches: {name: x}}", ()),
        (" {}", ()),
        ("", ()),
    ],
)
def test_tcp_routes(read_spec, spec, ports):
    reading = read_spec("TCPRoute", spec)
    assert reading.object.ports == ports
    assert reading.found == []


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (" {matches: {ports: [80, 0]}}", "TL1108"),
        (" {matches: {ports: [65536]}}", "TL1108"),
        (" {matches: {ports: ['80']}}", "TL1108"),
        (" {matches: {ports: [true]}}", "TL1108"),
        (" {matches: {ports: [80.0]}}", "TL1108"),
        (" {matches: {ports: 80}}", "TL1101"),
        (" {matches: {port: [80]}}", "TL1107"),
        (" {matches: [80]}", "TL1101"),
        (" {ports: [80]}", "TL1107"),
        (" 5", "TL1101"),
    ],
)
def test_a_wrong_tcp_route_never_becomes_one_for_every_port(read_spec, spec, code):
    reading = read_spec("TCPRoute", spec)
    assert reading.object is None
    assert [code for code, _ in reading.found] == [code]


def test_matches_of_a_tcp_route_at_the_root_are_refused(read):
    head = "apiVersion: specs.smi-spec.io/v1alpha4\nkind: TCPRoute\nmetadata: {name: a}\n"
    reading = read(head + "matches: {ports: [80]}\n")
    assert reading.object is None
    assert reading.found == [("TL1107", 4)]


@pytest.mark.parametrize(("pattern", "refused"), [("/a{100}", False), (r"/\p{L}+", False), (r"/\p{L}{9}", True)])
def test_the_size_that_envoy_compiles_an_expression_to_is_limited(pattern, refused):
    assert bool(patterns.refusal(pattern)) is refused
