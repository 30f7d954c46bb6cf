"""TrafficSplit: exactly what is accepted, and where each mistake is shown."""

from __future__ import annotations

import pytest

from smi.objects import Backend, MatchRef


def test_a_split_with_matches(read_spec):
    reading = read_spec(
        "TrafficSplit",
        """
        service: website
        matches:
        - {kind: HTTPRouteGroup, name: firefox, apiGroup: specs.smi-spec.io}
        backends:
        - service: website-v1
          weight: 0
        - service: website-v2
          weight: 100
        """,
    )
    split = reading.object
    assert reading.found == []
    assert (split.meta.namespace, split.meta.name, str(split.meta.location)) == ("shop", "default", "mesh.yaml:1")
    assert split.service == "website"
    assert split.backends == (Backend("website-v1", 0), Backend("website-v2", 100))
    assert split.matches == (MatchRef("HTTPRouteGroup", "firefox"),)


@pytest.mark.parametrize(
    ("weight", "code"),
    [
        ("-1", "TL1201"),
        ("0.5", "TL1201"),
        ("90.0", "TL1201"),
        ("true", "TL1201"),
        ("'90'", "TL1201"),
        ("500m", "TL1201"),
        (".nan", "TL1201"),
        ("2147483648", "TL1201"),
        ("[1]", "TL1201"),
        ("", "TL1102"),
    ],
)
def test_a_wrong_weight_keeps_the_split_out_of_force(read_spec, weight, code):
    reading = read_spec(
        "TrafficSplit",
        f"""
        service: website
        backends:
        - {{service: website-v1, weight: 1}}
        - service: website-v2
          weight: {weight}
        """,
    )
    assert reading.object is None
    assert reading.found == [(code, 9)]
    assert not reading.decoded[0].intact
    assert "spec.backends[1].weight" in reading.text


def test_the_largest_weight(read_spec):
    reading = read_spec("TrafficSplit", " {service: a, backends: [{service: b, weight: 2147483647}]}")
    assert reading.object.backends == (Backend("b", 2**31 - 1),)


@pytest.mark.parametrize("host", ["website", "website.shop", "website.shop.svc", "website.shop.svc.cluster.local"])
def test_the_root_service_may_be_a_host_name_of_its_namespace(read_spec, host):
    reading = read_spec("TrafficSplit", f" {{service: {host}, backends: [{{service: {host}, weight: 1}}]}}")
    assert (reading.object.service, reading.object.backends[0].service) == ("website", "website")


@pytest.mark.parametrize(
    ("spec", "codes"),
    [
        (" {service: website.other, backends: [{service: a, weight: 1}]}", ["TL1104"]),
        (" {service: website.shopping.svc, backends: [{service: a, weight: 1}]}", ["TL1104"]),
        (" {service: Website, backends: [{service: a, weight: 1}]}", ["TL1104"]),
        (" {service: 5, backends: [{service: a, weight: 1}]}", ["TL1101"]),
        (" {backends: [{service: a, weight: 1}]}", ["TL1102"]),
        (" {service: a}", ["TL1102"]),
        (" {service: a, backends: []}", ["TL1102"]),
        (" {service: a, backends: {service: a, weight: 1}}", ["TL1101", "TL1102"]),
        (" {service: a, backends: [a]}", ["TL1101", "TL1102"]),
        (" {service: a, backends: [{weight: 1}]}", ["TL1102"]),
        (" {service: a, backends: [{service: a, weight: 1}], matches: [{kind: TCPRoute, name: x}]}", ["TL1105"]),
        (" {service: a, backends: [{service: a, weight: 1}], matches: [{kind: HTTPRouteGroup}]}", ["TL1102"]),
        (" {service: a, backends: [{service: a, weight: 1}], matches: x}", ["TL1101"]),
        (" {service: a, backends: [{service: a, weight: 1}], macthes: [{kind: HTTPRouteGroup, name: x}]}", ["TL1107"]),
        (" 5", ["TL1101"]),
        ("", ["TL1102"]),
    ],
)
def test_no_part_of_a_wrong_split_is_used(read_spec, spec, codes):
    reading = read_spec("TrafficSplit", spec)
    assert reading.object is None
    assert sorted(code for code, _ in reading.found) == codes


def test_an_unknown_field_is_a_warning(read_spec):
    reading = read_spec(
        "TrafficSplit",
        """
        service: a
        backends:
        - service: a
          weight: 1
          wieght: 2
        """,
    )
    assert reading.object is not None
    assert reading.decoded[0].intact
    assert reading.found == [("TL1103", 9)]
    assert "'weight'" in reading.text
