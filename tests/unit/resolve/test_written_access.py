"""TrafficTargets and routes as people write them, from their text to who may do what."""

from __future__ import annotations

import pytest

from smi import codes as reading
from smi.diagnostics import Severity
from smi.resolve import codes
from tests.unit.resolve.conftest import Written, access_of, identity, mk_written

SERVER = """
    apiVersion: v1
    kind: Service
    metadata: {name: api, namespace: ns}
    spec: {selector: {app: api}, ports: [{name: http, port: 8080}, {name: tcp, port: 8301}]}
    ---
    apiVersion: tulle.dev/v1alpha1
    kind: Workload
    metadata: {name: api, namespace: ns, labels: {app: api}}
    spec: {serviceAccountName: api-service, address: 10.0.0.1}
    ---
    apiVersion: specs.smi-spec.io/v1alpha4
    kind: HTTPRouteGroup
    metadata: {name: api-service-routes, namespace: ns}
    spec:
      matches:
      - name: api
        pathRegex: /api
        methods: ["*"]
      - name: metrics
        pathRegex: /metrics
        methods: ["GET"]
    ---
    apiVersion: specs.smi-spec.io/v1alpha4
    kind: TCPRoute
    metadata: {name: api-service-port, namespace: ns}
    spec: {matches: {ports: [8080]}}
    """
HTTP, TCP = 8080, 8301
ROUTES = "[{kind: HTTPRouteGroup, name: api-service-routes}]"
CLIENT = "[{kind: ServiceAccount, name: client, namespace: ns}]"
Allowed = dict[str, tuple[str, ...] | None]


def target(
    rules: str = ROUTES,
    sources: str = CLIENT,
    destination: str = "{kind: ServiceAccount, name: api-service, namespace: ns}",
    *,
    name: str = "t",
    namespace: str = "ns",
) -> str:
    head = "apiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\n"
    meta = f"metadata: {{name: {name}, namespace: {namespace}}}\n"
    return f"{head}{meta}spec:\n  destination: {destination}\n  rules: {rules}\n  sources: {sources}\n"


def allowed(written: Written, port: int = HTTP) -> Allowed:
    """What each source may do on a port: names of matches, or, as None, anything."""
    found: dict[str, tuple[str, ...] | None] = {}
    for grant in access_of(written.mesh, "api", port).grants:
        names = None if grant.http is None else tuple(match.name for match in grant.http)
        for principal in grant.principals:
            before = found.get(str(principal), ())
            found[str(principal)] = None if names is None or before is None else (*before, *names)
    return found


def who(account: str, namespace: str = "ns") -> str:
    return str(identity(account, namespace))


def test_the_worked_example_of_the_specification_for_http() -> None:
    """TCPRoute and HTTPRouteGroup together: the matches, on those ports."""
    both = "[{kind: TCPRoute, name: api-service-port}, {kind: HTTPRouteGroup, name: api-service-routes, matches: [%s]}]"
    shops = (
        "[{kind: ServiceAccount, name: website-service, namespace: ns},"
        " {kind: ServiceAccount, name: payments-service, namespace: ns}]"
    )
    prometheus = "[{kind: ServiceAccount, name: prometheus, namespace: ns}]"
    written = mk_written(
        SERVER,
        target(both % "api", shops, name="api-service-api"),
        target(both % "metrics", prometheus, name="api-service-metrics"),
    )
    assert allowed(written) == {
        who("website-service"): ("api",),
        who("payments-service"): ("api",),
        who("prometheus"): ("metrics",),
    }
    assert allowed(written, TCP) == {}
    found = {match.name: match for grant in access_of(written.mesh, "api", HTTP).grants for match in grant.http or ()}
    assert (found["api"].path_regex, found["api"].methods) == ("/api", ())
    assert (found["metrics"].path_regex, found["metrics"].methods) == ("/metrics", ("GET",))


def test_the_worked_example_of_the_specification_for_tcp() -> None:
    route = """
        apiVersion: specs.smi-spec.io/v1alpha4
        kind: TCPRoute
        metadata: {name: tcp-ports, namespace: ns}
        spec: {matches: {ports: [8301, 8302, 8300]}}
        """
    written = mk_written(SERVER, route, target("[{kind: TCPRoute, name: tcp-ports}]"))
    assert allowed(written, TCP) == {who("client"): None}
    assert allowed(written, HTTP) == {}
    (other,) = access_of(written.mesh, "api", None).grants
    assert other.ports == (8300, 8301, 8302)


def test_a_target_of_another_namespace_than_its_destination_is_refused() -> None:
    written = mk_written(SERVER, target(namespace="elsewhere"))
    assert allowed(written) == {}
    assert reading.FOREIGN_DESTINATION.code in written.codes


def test_a_destination_without_namespace_is_in_that_of_the_target() -> None:
    written = mk_written(SERVER, target(destination="{kind: ServiceAccount, name: api-service}"))
    assert allowed(written) == {who("client"): ("api", "metrics")}


def test_a_source_without_namespace_is_of_the_same_and_told() -> None:
    written = mk_written(SERVER, target(sources="[{kind: ServiceAccount, name: client}]"))
    assert allowed(written) == {who("client"): ("api", "metrics")}
    assert reading.SOURCE_NAMESPACE_ASSUMED.code in written.codes


def test_a_source_may_live_anywhere() -> None:
    written = mk_written(SERVER, target(sources="[{kind: ServiceAccount, name: client, namespace: other}]"))
    assert allowed(written) == {who("client", "other"): ("api", "metrics")}


def test_routes_of_another_namespace_are_none_of_the_targets() -> None:
    elsewhere = SERVER.partition("---\n    apiVersion: specs")[0]
    routes = SERVER.removeprefix(elsewhere).replace("namespace: ns", "namespace: other")
    written = mk_written(elsewhere, routes, target())
    assert allowed(written) == {}
    assert codes.ROUTE_MISSING.code in written.codes


@pytest.mark.parametrize("kind", ["Group", "User", "IdentityBinding", "serviceaccount"])
def test_a_source_of_another_kind_is_left_out(kind: str) -> None:
    sources = f"[{{kind: {kind}, name: x, namespace: ns}}, {{kind: ServiceAccount, name: client, namespace: ns}}]"
    written = mk_written(SERVER, target(sources=sources))
    assert allowed(written) == {who("client"): ("api", "metrics")}
    assert reading.BAD_SUBJECT.code in written.codes


@pytest.mark.parametrize("kind", ["Group", "IdentityBinding"])
def test_a_destination_of_another_kind_opens_nothing(kind: str) -> None:
    written = mk_written(SERVER, target(destination=f"{{kind: {kind}, name: api-service, namespace: ns}}"))
    assert allowed(written) == {}
    assert reading.BAD_SUBJECT.code in written.codes


@pytest.mark.parametrize(
    ("destination", "source"), [("nobody-there", "client"), ("api-service", "nobody"), ("nobody-there", "nobody")]
)
def test_accounts_that_nobody_runs_as_are_no_mistake(destination: str, source: str) -> None:
    written = mk_written(
        SERVER,
        target(
            sources=f"[{{kind: ServiceAccount, name: {source}, namespace: ns}}]",
            destination=f"{{kind: ServiceAccount, name: {destination}, namespace: ns}}",
        ),
    )
    assert written.codes == set()
    assert list(allowed(written)) == ([who(source)] if destination == "api-service" else [])


@pytest.mark.parametrize("field", ["rules", "sources"])
def test_a_target_without_rules_or_sources_allows_nothing_and_is_reported(field: str) -> None:
    written = mk_written(SERVER, target(**{field: "[]"}))
    assert allowed(written) == {}
    assert reading.GRANTS_NOTHING.code in written.codes


def test_a_rule_of_an_unknown_kind_keeps_the_target_out_of_force() -> None:
    rules = "[{kind: GRPCRoute, name: x}, {kind: HTTPRouteGroup, name: api-service-routes}]"
    written = mk_written(SERVER, target(rules))
    assert allowed(written) == {}
    assert any(reading.CODES[code].severity is Severity.ERROR for code in written.codes)


def test_an_unknown_match_is_skipped_and_told() -> None:
    written = mk_written(SERVER, target("[{kind: HTTPRouteGroup, name: api-service-routes, matches: [metrics, gone]}]"))
    assert allowed(written) == {who("client"): ("metrics",)}
    assert codes.MATCH_MISSING.code in written.codes


@pytest.mark.parametrize("order", [1, -1])
def test_targets_for_one_account_are_united_in_any_order(order: int) -> None:
    targets = [
        target("[{kind: HTTPRouteGroup, name: api-service-routes, matches: [api]}]", name="one"),
        target("[{kind: HTTPRouteGroup, name: api-service-routes, matches: [metrics]}]", name="two"),
    ]
    assert allowed(mk_written(SERVER, *targets[::order])) == {who("client"): ("api", "metrics")}


GROUP = """
    apiVersion: specs.smi-spec.io/v1alpha4
    kind: HTTPRouteGroup
    metadata: {name: api-service-routes, namespace: ns}
    spec:
      matches:
    """


def match_of(lines: str) -> tuple[Written, list[object]]:
    """A target that grants a group of one match, written in YAML's flow style, and its matches as understood."""
    written = mk_written(SERVER, f"{GROUP}  - {lines}\n", target())
    return written, [
        (match.path_regex, match.methods, match.headers)
        for grant in access_of(written.mesh, "api", HTTP).grants
        for match in grant.http or ()
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("{name: m}", ("", (), ())),
        ("{name: m, pathRegex: /a}", ("/a", (), ())),
        ("{name: m, methods: ['*', GET]}", ("", (), ())),
        ("{name: m, methods: [GET, GET, PUT]}", ("", ("GET", "PUT"), ())),
        ("{name: m, headers: {X-A: b, X-C: d}}", ("", (), (("x-a", "b"), ("x-c", "d")))),
        ("{name: m, headers: [{X-A: b}, {X-C: d}]}", ("", (), (("x-a", "b"), ("x-c", "d")))),
        ("{name: m, headers: [{X-A: b, X-C: d}]}", ("", (), (("x-a", "b"), ("x-c", "d")))),
        ("{name: m, headers: {Host: shop}}", ("", (), ((":authority", "shop"),))),
    ],
)
def test_matches_as_they_may_be_written(lines: str, expected: object) -> None:
    written, matches = match_of(lines)
    assert matches == [expected]
    assert written.codes == set()


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("{name: m, pathRegex: '/('}", reading.BAD_REGEX),
        (r"{name: m, pathRegex: '/\p{L}{500}'}", reading.BAD_REGEX),
        ("{name: m, pathRegex: '/(?!admin)'}", reading.BAD_REGEX),
        ("{name: m, headers: {x-a: '['}}", reading.BAD_REGEX),
        ("{name: m, methods: [get]}", reading.BAD_METHOD),
        ("{name: m, path: /a}", reading.UNKNOWN_LIMIT),
        ("{pathRegex: /a}", reading.MISSING_FIELD),
    ],
)
def test_a_match_that_cannot_be_understood_grants_nothing(lines: str, code: reading.Code) -> None:
    written, matches = match_of(lines)
    assert matches == []
    assert code.code in written.codes


@pytest.mark.parametrize("matches", ["[]", "null"])
def test_a_group_without_matches_grants_nothing_and_is_reported(matches: str) -> None:
    text = GROUP.replace("matches:\n", f"matches: {matches}\n")
    written = mk_written(SERVER.replace("name: api-service-routes", "name: others"), text, target())
    assert allowed(written) == {}
    assert reading.MISSING_FIELD.code in written.codes


def test_an_omitted_list_of_matches_means_all_and_an_empty_one_none() -> None:
    rule = "[{kind: HTTPRouteGroup, name: api-service-routes%s}]"
    assert allowed(mk_written(SERVER, target(rule % ""))) == {who("client"): ("api", "metrics")}
    empty = mk_written(SERVER, target(rule % ", matches: []"))
    assert allowed(empty) == {}
    assert reading.GRANTS_NOTHING.code in empty.codes
