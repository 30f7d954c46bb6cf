"""Every kind of SMI at every version: the same meaning, and each finding at its line of the document as written."""

from __future__ import annotations

import json

import pytest

from smi.objects import AccessRule, Backend, HTTPMatch, Subject
from smi.versions import KINDS

GROUPS = {kind.name: kind.group for kind in KINDS}
TARGETS = ("v1alpha1", "v1alpha2", "v1alpha3")
ROUTES = SPLITS = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")

TARGET = """\
destination:
  kind: ServiceAccount
  name: api
rules:
- kind: HTTPRouteGroup
  name: routes
  matches: [metrics]
- kind: TCPRoute
  name: ports
sources:
- {kind: ServiceAccount, name: prometheus, namespace: monitoring}
"""
GROUP = """\
matches:
- name: metrics
  pathRegex: /metrics
  methods: [GET]
- name: mapped
  headers: {X-Role: admin}
- name: listed
  headers:
  - cookie: a
    x-two: b
  - host: shop
"""
SPLIT = """\
service: shop
backends:
- service: shop-v1
  weight: 90
- service: shop-v2
  weight: 10
"""


def at_root(kind: str, version: str) -> bool:
    return (kind, version) in {
        ("TrafficTarget", "v1alpha1"),
        ("HTTPRouteGroup", "v1alpha1"),
        ("HTTPRouteGroup", "v1alpha2"),
    }


def document(kind: str, version: str, fields: str) -> tuple[str, int]:
    """A document with `fields` where the version has them, and the line after which they stand."""
    head = f"apiVersion: {GROUPS[kind]}/{version}\nkind: {kind}\nmetadata: {{name: a, namespace: shop}}\n"
    if (kind, version) == ("TrafficTarget", "v1alpha1"):
        fields = fields.replace("rules:", "specs:")
    if at_root(kind, version):
        return head + fields, 3
    return f"{head}spec:\n" + "".join(f"  {line}\n" for line in fields.splitlines()), 4


@pytest.fixture
def read_at(read):
    """Reads an object of a kind and version; gives it, and the findings with their lines counted from its fields."""

    def read_kind(kind, version, fields):
        text, before = document(kind, version, fields)
        reading = read(text)
        return reading, [(code, line - before) for code, line in reading.found]

    return read_kind


def test_all_versions_of_smi_are_read_the_newest_first():
    assert {kind.name: tuple(kind.decoders) for kind in KINDS if "smi-spec" in kind.group} == {
        "TrafficTarget": TARGETS[::-1],
        "HTTPRouteGroup": ROUTES[::-1],
        "TCPRoute": ROUTES[::-1],
        "UDPRoute": ("v1alpha4",),
        "TrafficSplit": SPLITS[::-1],
    }


@pytest.mark.parametrize("version", TARGETS)
def test_targets(read_at, version):
    reading, found = read_at("TrafficTarget", version, TARGET)
    target = reading.object
    assert found == []
    assert target.destination == Subject("ServiceAccount", "shop", "api")
    assert target.rules == (AccessRule("HTTPRouteGroup", "routes", ("metrics",)), AccessRule("TCPRoute", "ports"))
    assert target.sources == (Subject("ServiceAccount", "monitoring", "prometheus"),)
    assert (target.port, target.ruleless) == (None, False)


@pytest.mark.parametrize("version", TARGETS)
@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("kind: ServiceAccount\n", "kind: Group\n", "TL1212", 2),
        ("name: api", "name: Api", "TL1104", 3),
        ("name: api", "name: api\n  namespace: other", "TL1213", 4),
        ("name: api", "name: api\n  port: 0", "TL1108", 4),
        ("name: api", "name: api\n  port: '80'", "TL1108", 4),
        ("name: api", "name: api\n  port: true", "TL1108", 4),
        ("name: api", "name: api\n  ports: [80]", "TL1107", 4),
        ("kind: TCPRoute", "kind: TcpRoute", "TL1105", 8),
        ("matches: [metrics]", "match: [metrics]", "TL1107", 7),
        ("rules:", "specifications: []\nrules:", None, 4),
        ("rules:", "port: 80\nrules:", "TL1107", 4),
        ("sources:", "source:", "TL1107", 10),
        ("- {kind: ServiceAccount, name: prometheus, namespace: monitoring}", "  a: b", "TL1101", 10),
    ],
)
def test_mistakes_in_targets(read_at, version, old, new, code, line):
    assert old in TARGET
    reading, found = read_at("TrafficTarget", version, TARGET.replace(old, new))
    if code is None:
        assert found == [("TL1103", line)]
        assert reading.object.sources
    else:
        assert (code, line) in found
        assert reading.object is None or not reading.object.sources
        assert not reading.decoded[0].intact


@pytest.mark.parametrize(
    ("version", "old", "new", "line"),
    [
        ("v1alpha1", "specs:", "rules:", 7),
        ("v1alpha1", "specs:", "spec: {}\nspecs:", 7),
        ("v1alpha2", "  rules:", "  specs:", 8),
        ("v1alpha2", "spec:", "sources: []\nspec:", 4),
        ("v1alpha3", "  rules:", "  specs:", 8),
    ],
)
def test_rules_under_the_name_of_another_version_do_not_count_as_no_rules(read, version, old, new, line):
    text = document("TrafficTarget", version, TARGET)[0]
    reading = read(text.replace(old, new, 1))
    assert reading.object is None
    assert ("TL1107", line) in reading.found


def test_the_layout_of_another_version_is_no_target(read):
    newest = document("TrafficTarget", "v1alpha3", TARGET)[0]
    oldest = document("TrafficTarget", "v1alpha1", TARGET)[0]
    as_oldest = read(newest.replace("v1alpha3", "v1alpha1"))
    assert as_oldest.object is None
    assert {("TL1102", 1), ("TL1107", 4)} <= set(as_oldest.found)
    as_newest = read(oldest.replace("v1alpha1", "v1alpha3"))
    assert as_newest.object is None
    assert as_newest.found == [("TL1102", 1)]


@pytest.mark.parametrize("version", TARGETS)
def test_a_port_of_the_destination(read_at, version):
    reading, found = read_at("TrafficTarget", version, TARGET.replace("name: api", "name: api\n  port: 8080"))
    assert reading.object.port == 8080
    assert reading.decoded[0].intact
    assert found == ([("TL1216", 4)] if version == "v1alpha3" else [])


@pytest.mark.parametrize("version", TARGETS)
@pytest.mark.parametrize("rules", ["rules: []\n", "rules:\n", ""])
def test_no_rules_are_no_mistake_only_in_older_versions(read_at, version, rules):
    fields = TARGET.partition("rules:")[0] + rules + "sources:\n- {kind: ServiceAccount, name: b, namespace: c}\n"
    reading, found = read_at("TrafficTarget", version, fields)
    target = reading.object
    line = 4 if rules else (0 if not at_root("TrafficTarget", version) else -2)
    assert reading.decoded[0].intact
    assert target.rules == ()
    if version == "v1alpha3":
        assert (target.ruleless, target.sources) == (False, ())
        assert found == [("TL1211", line)]
    else:
        assert (target.ruleless, target.sources) == (True, (Subject("ServiceAccount", "c", "b"),))
        assert found == [("TL1217", line)]
        assert "emptyRules" in reading.text


@pytest.mark.parametrize("version", TARGETS)
@pytest.mark.parametrize("sources", ["sources: []\n", "sources:\n"])
def test_no_sources_grant_nothing(read_at, version, sources):
    reading, found = read_at("TrafficTarget", version, TARGET.partition("sources:")[0] + sources)
    assert reading.object.sources == ()
    assert found == [("TL1211", 10)]
    assert reading.decoded[0].intact


@pytest.mark.parametrize("version", ROUTES)
def test_groups(read_at, version):
    reading, found = read_at("HTTPRouteGroup", version, GROUP)
    assert found == []
    assert reading.object.matches == (
        HTTPMatch("metrics", "/metrics", ("GET",)),
        HTTPMatch("mapped", headers=(("x-role", "admin"),)),
        HTTPMatch("listed", headers=(("cookie", "a"), ("x-two", "b"), (":authority", "shop"))),
    )


@pytest.mark.parametrize("version", ROUTES)
@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("pathRegex: /metrics", "pathRegex: '('", "TL1202", 3),
        ("methods: [GET]", "methods: [get]", "TL1203", 4),
        ("methods: [GET]", "method: GET", "TL1107", 4),
        ("name: metrics", "name: 5", "TL1101", 2),
    ],
)
def test_mistakes_in_groups(read_at, version, old, new, code, line):
    reading, found = read_at("HTTPRouteGroup", version, GROUP.replace(old, new))
    assert (code, line) in found
    assert [match.name for match in reading.object.matches] == ["mapped", "listed"]
    assert not reading.decoded[0].intact


@pytest.mark.parametrize("version", ROUTES)
def test_groups_without_matches(read_at, version):
    reading, found = read_at("HTTPRouteGroup", version, "matches: []")
    assert reading.object.matches == ()
    assert found == [("TL1102", 1)]
    assert reading.decoded[0].intact
    for fields in ("matches: 5", "matches:", "routes: []"):
        reading, found = read_at("HTTPRouteGroup", version, fields)
        assert reading.object is None
        assert not reading.decoded[0].intact


@pytest.mark.parametrize("version", ROUTES)
def test_matches_at_the_root_are_where_old_versions_have_them(read, version):
    head = f"apiVersion: specs.smi-spec.io/{version}\nkind: HTTPRouteGroup\nmetadata: {{name: a}}\n"
    reading = read(head + "matches: [{name: m}]\n")
    assert reading.object.matches == (HTTPMatch("m"),)
    assert reading.found == ([] if at_root("HTTPRouteGroup", version) else [("TL1205", 4)])


@pytest.mark.parametrize("version", ROUTES)
@pytest.mark.parametrize("spec", ["", "spec: {}\n", "spec:\n"])
def test_tcp_routes_without_ports(read, version, spec):
    reading = read(f"apiVersion: specs.smi-spec.io/{version}\nkind: TCPRoute\nmetadata: {{name: a}}\n{spec}")
    assert reading.object.ports == ()
    assert reading.found == []


@pytest.mark.parametrize("version", ROUTES)
def test_ports_of_tcp_routes_limit_in_every_version(read_at, version):
    reading, found = read_at("TCPRoute", version, "matches:\n  ports: [8301, 8302]")
    assert reading.object.ports == (8301, 8302)
    assert found == ([] if version == "v1alpha4" else [("TL1218", 0)])


@pytest.mark.parametrize(("kind", "version"), [*(("TCPRoute", each) for each in ROUTES), ("UDPRoute", "v1alpha4")])
@pytest.mark.parametrize(
    ("fields", "code", "line"),
    [
        ("matches:\n  ports:\n  - 80\n  - 0", "TL1108", 4),
        ("matches: {ports: [65536]}", "TL1108", 1),
        ("matches: {ports: ['80']}", "TL1108", 1),
        ("matches: {ports: 80}", "TL1101", 1),
        ("matches: {port: [80]}", "TL1107", 1),
        ("matches: [80]", "TL1101", 1),
        ("ports: [80]", "TL1107", 1),
    ],
)
def test_a_wrong_route_is_not_one_for_every_port(read_at, kind, version, fields, code, line):
    reading, found = read_at(kind, version, fields)
    assert reading.object is None
    assert [each for each in found if each[0] != "TL1218"] == [(code, line)]


@pytest.mark.parametrize("version", ROUTES)
@pytest.mark.parametrize("stray", ["matches: {ports: [80]}", "ports: [80]"])
def test_ports_outside_of_spec_are_refused(read, version, stray):
    reading = read(f"apiVersion: specs.smi-spec.io/{version}\nkind: TCPRoute\nmetadata: {{name: a}}\n{stray}\n")
    assert reading.object is None
    assert reading.found == [("TL1107", 4)]


@pytest.mark.parametrize(
    ("fields", "ports"), [("matches: {ports: [8301]}", (8301,)), ("matches: {ports: [], name: x}", ()), ("{}", ())]
)
def test_udp_routes(read_at, fields, ports):
    reading, found = read_at("UDPRoute", "v1alpha4", fields)
    assert type(reading.object).__name__ == "UDPRoute"
    assert reading.object.ports == ports
    assert found == []


def test_udp_routes_have_no_older_versions(read):
    reading = read("apiVersion: specs.smi-spec.io/v1alpha3\nkind: UDPRoute\nmetadata: {name: a}\n")
    assert reading.object is None
    assert reading.found == [("TL1021", 1)]


@pytest.mark.parametrize("version", SPLITS)
def test_splits(read_at, version):
    reading, found = read_at("TrafficSplit", version, SPLIT)
    assert found == []
    assert reading.object.service == "shop"
    assert reading.object.backends == (Backend("shop-v1", 90), Backend("shop-v2", 10))


@pytest.mark.parametrize(
    ("written", "weights"),
    [
        (["90", "10"], [90, 10]),
        (["1", "500m"], [1000, 500]),
        (["10m", "100m", "1500m"], [10, 100, 1500]),
        (["0.5", "0.5"], [500, 500]),
        (["1k", "1"], [1000, 1]),
        (["1e3", "0"], [1000, 0]),
        (["1Ki", 1], [1024, 1]),
        ([1, "0m"], [1, 0]),
        ([0, "0"], [0, 0]),
    ],
)
def test_quantities_are_weights_in_v1alpha1(read_at, written, weights):
    backends = [{"service": f"v{number}", "weight": weight} for number, weight in enumerate(written)]
    reading, found = read_at("TrafficSplit", "v1alpha1", f"service: shop\nbackends: {json.dumps(backends)}")
    assert found == []
    assert [backend.weight for backend in reading.object.backends] == weights


@pytest.mark.parametrize(
    ("weight", "versions"),
    [
        ("-1", SPLITS),
        ("'-1'", SPLITS),
        ("0.5", SPLITS),
        ("true", SPLITS),
        ("[1]", SPLITS),
        ("ten", SPLITS),
        ("1 k", SPLITS),
        (f"'{'1' * 65}'", SPLITS),
        ("'10'", SPLITS[1:]),
        ("500m", SPLITS[1:]),
        ("2147483648", SPLITS[1:]),
    ],
)
def test_wrong_weights(read_at, weight, versions):
    for version in versions:
        reading, found = read_at("TrafficSplit", version, SPLIT.replace("weight: 10", f"weight: {weight}"))
        assert reading.object is None
        assert found == [("TL1201", 6)]
        assert "spec.backends[1].weight" in reading.text


def test_what_is_wrong_with_a_weight_is_explained(read_at):
    def told(version, weight):
        return read_at("TrafficSplit", version, SPLIT.replace("weight: 10", f"weight: {weight}"))[0].text

    assert "without quotes" in told("v1alpha2", "'10'")
    assert "v1alpha1" in told("v1alpha4", "500m")
    assert "quotes" in told("v1alpha1", "0.5")


@pytest.mark.parametrize("version", SPLITS)
def test_matches_of_splits(read_at, version):
    """Where a version has none, a split that was to concern some requests does not become one for all."""
    reading, found = read_at("TrafficSplit", version, f"{SPLIT}matches:\n- {{kind: HTTPRouteGroup, name: beta}}\n")
    if version in ("v1alpha3", "v1alpha4"):
        assert [match.name for match in reading.object.matches] == ["beta"]
        assert found == []
    else:
        assert reading.object is None
        assert found == [("TL1107", 7)]
    assert read_at("TrafficSplit", version, f"{SPLIT}matches: []\n")[0].object.matches == ()


def test_matches_beside_spec_are_refused(read):
    for version in SPLITS:
        reading = read(document("TrafficSplit", version, SPLIT)[0] + "matches: [{kind: HTTPRouteGroup, name: b}]\n")
        assert reading.object is None
        assert reading.found == [("TL1107", 11)]


def test_examples_of_the_specification(read):
    """The L7 example of access v1alpha1, with its specs."""
    reading = read(
        """\
        kind: TrafficTarget
        apiVersion: access.smi-spec.io/v1alpha1
        metadata: {name: path-specific, namespace: default}
        destination:
          kind: ServiceAccount
          name: service-a
          namespace: default
          port: 8080
        specs:
        - kind: HTTPRouteGroup
          name: the-routes
          matches:
          - metrics
        sources:
        - kind: ServiceAccount
          name: prometheus
          namespace: default
        """
    )
    target = reading.object
    assert reading.found == []
    assert target.port == 8080
    assert target.rules == (AccessRule("HTTPRouteGroup", "the-routes", ("metrics",)),)
