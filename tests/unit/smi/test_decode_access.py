"""TrafficTarget: what it grants, and that no mistake grants more."""

from __future__ import annotations

import pytest

from smi.objects import AccessRule, Subject

GOOD = """
destination: {kind: ServiceAccount, name: api, namespace: shop}
rules:
- kind: HTTPRouteGroup
  name: routes
  matches: [metrics]
- {kind: TCPRoute, name: ports}
sources:
- kind: ServiceAccount
  name: prometheus
  namespace: monitoring
"""


def test_a_target(read_spec):
    reading = read_spec("TrafficTarget", GOOD)
    target = reading.object
    assert reading.found == []
    assert target.destination == Subject("ServiceAccount", "shop", "api")
    assert target.rules == (AccessRule("HTTPRouteGroup", "routes", ("metrics",)), AccessRule("TCPRoute", "ports"))
    assert target.sources == (Subject("ServiceAccount", "monitoring", "prometheus"),)


def test_namespaces_that_are_left_out_are_those_of_the_object(read_spec):
    text = GOOD.replace(", namespace: shop", "").replace("  namespace: monitoring\n", "")
    reading = read_spec("TrafficTarget", text)
    assert reading.object.destination.namespace == "shop"
    assert reading.object.sources[0].namespace == "shop"
    assert reading.found == [("TL1214", 12)]
    assert reading.decoded[0].intact


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("namespace: shop", "namespace: other", "TL1213", 5),
        ("kind: ServiceAccount, name: api", "kind: Group, name: api", "TL1212", 5),
        ("name: api, ", "", "TL1102", 5),
        ("name: api", "name: Api", "TL1104", 5),
        ("kind: TCPRoute", "kind: TcpRoute", "TL1105", 10),
        ("name: ports", "nmae: ports", "TL1102", 10),
        ("matches: [metrics]", "match: [metrics]", "TL1107", 9),
        ("matches: [metrics]", "matches: metrics", "TL1101", 9),
        ("matches: [metrics]", "matches: [metrics, 5]", "TL1101", 9),
        ("name: ports", "name: ports, matches: [x]", "TL1107", 10),
        ("rules:", "rules: 5\nx:", "TL1101", 6),
        ("sources:", "sources: 5\nx:", "TL1101", 11),
        ("sources:", "source:", "TL1107", 11),
    ],
)
def test_a_target_that_is_wrong_is_not_in_force(read_spec, old, new, code, line):
    assert old in GOOD
    reading = read_spec("TrafficTarget", GOOD.replace(old, new))
    assert reading.object is None or reading.object.sources == ()
    assert (code, line) in reading.found
    assert not reading.decoded[0].intact


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("{kind: User, name: alice, namespace: a}", "TL1212"),
        ("{kind: ServiceAccount, namespace: a}", "TL1102"),
        ("{kind: ServiceAccount, name: a, namespace: 'A B'}", "TL1104"),
        ("{kind: ServiceAccount, name: a, namepsace: b}", "TL1107"),
        ("alice", "TL1101"),
    ],
)
def test_a_wrong_source_is_left_out(read_spec, source, code):
    reading = read_spec("TrafficTarget", f"{GOOD}- {source}\n")
    assert [subject.name for subject in reading.object.sources] == ["prometheus"]
    assert reading.found == [(code, 15)]
    assert not reading.decoded[0].intact


@pytest.mark.parametrize("field", ["rules", "sources"])
@pytest.mark.parametrize("value", ["", " []"])
def test_empty_lists_grant_nothing_and_are_in_force_so_that_they_revoke(read_spec, field, value):
    spec = {
        "destination": " {kind: ServiceAccount, name: api}",
        "rules": " [{kind: TCPRoute, name: a}]",
        "sources": " [{kind: ServiceAccount, name: b, namespace: c}]",
        field: value,
    }
    reading = read_spec("TrafficTarget", "\n".join(f"{key}:{text}" for key, text in spec.items()))
    assert (reading.object.rules, reading.object.sources) == ((), ())
    assert [code for code, _ in reading.found] == ["TL1211"]
    assert reading.decoded[0].intact


def test_an_empty_list_of_matches_grants_nothing(read_spec):
    reading = read_spec("TrafficTarget", GOOD.replace("[metrics]", "[]"))
    assert (reading.object.rules, reading.object.sources) == ((), ())
    assert reading.found == [("TL1211", 9)]


def test_udp_rules_stay_and_are_explained_once(read_spec):
    udp = "{kind: UDPRoute, name: u}"
    reading = read_spec("TrafficTarget", GOOD.replace("{kind: TCPRoute, name: ports}", f"{udp}\n- {udp}"))
    assert [rule.kind for rule in reading.object.rules] == ["HTTPRouteGroup", "UDPRoute", "UDPRoute"]
    assert reading.found == [("TL1215", 10)]
    alone = read_spec("TrafficTarget", GOOD.replace("HTTPRouteGroup", "UDPRoute").replace("  matches: [metrics]\n", ""))
    assert alone.object.rules[0] == AccessRule("UDPRoute", "routes")
    assert alone.object.sources
    assert alone.decoded[0].intact


def test_the_port_of_older_versions_is_honoured_and_warned_about(read_spec):
    reading = read_spec("TrafficTarget", GOOD.replace("name: api", "name: api, port: 8080"))
    assert reading.object.port == 8080
    assert reading.found == [("TL1216", 5)]
