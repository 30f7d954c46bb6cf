"""Workload and MeshConfig."""

from __future__ import annotations

import time

import pytest

from smi.decode_config import duration
from smi.objects import Allowance, CaptureMode, MtlsMode, TrafficPolicy, Upstream, WorkloadPort


def test_a_workload(read_spec):
    reading = read_spec(
        "Workload",
        """
        serviceAccountName: bookstore-v1
        address: 127.0.0.1
        ports:
        - {name: http, port: 21001, appPort: 14001}
        upstreams:
        - {service: a, port: 80, localPort: 31001}
        - {service: b.books, port: 81, localPort: 31002}
        - {service: books/c, port: 82, localPort: 31003}
        """,
    )
    workload = reading.object
    assert reading.found == []
    assert (workload.service_account, workload.address, workload.sidecar) == ("bookstore-v1", "127.0.0.1", True)
    assert workload.ports == (WorkloadPort("http", 21001, 14001),)
    assert workload.upstreams == (
        Upstream("shop", "a", 80, 31001),
        Upstream("books", "b", 81, 31002),
        Upstream("books", "c", 82, 31003),
    )
    assert workload.capture is CaptureMode.EXPLICIT


@pytest.mark.parametrize(
    ("spec", "mode"),
    [
        (" {address: 10.0.0.1}", CaptureMode.TRANSPARENT),
        (" {address: 10.0.0.1, ports: [{port: 80}]}", CaptureMode.TRANSPARENT),
        (" {address: 10.0.0.1, ports: [{port: 80, appPort: 81}]}", CaptureMode.EXPLICIT),
        (" {address: 10.0.0.1, upstreams: [{service: a, port: 1, localPort: 2}]}", CaptureMode.EXPLICIT),
        (" {address: 10.0.0.1, capture: explicit}", CaptureMode.EXPLICIT),
        (" {address: 10.0.0.1, capture: transparent, ports: [{port: 80, appPort: 80}]}", CaptureMode.TRANSPARENT),
    ],
)
def test_the_capture_mode_follows_from_what_is_written(read_spec, spec, mode):
    reading = read_spec("Workload", spec)
    assert reading.found == []
    assert reading.object.capture is mode
    assert reading.object.service_account == "default"


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (" {}", "TL1102"),
        ("", "TL1102"),
        (" {address: localhost}", "TL1109"),
        (" {address: 0.0.0.0}", "TL1109"),
        (" {address: 5}", "TL1101"),
        (" {address: 10.0.0.1, capture: both}", "TL1105"),
        (" {address: 10.0.0.1, sidecar: 'no'}", "TL1101"),
        (" {address: 10.0.0.1, serviceAccountName: A}", "TL1104"),
    ],
)
def test_a_workload_needs_its_address_and_account(read_spec, spec, code):
    reading = read_spec("Workload", spec)
    assert reading.object is None
    assert reading.found == [(code, 4)]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("{port: 0}", "TL1108"),
        ("{port: 81, appPort: '1'}", "TL1108"),
        ("{port: 80, appPort: 82}", "TL1106"),
        ("{port: 81, name: http}", "TL1106"),
        ("{port: 81, appPort: 81}", "TL1105"),
        ("{appPort: 81}", "TL1102"),
        ("x", "TL1101"),
    ],
)
def test_a_wrong_port_is_left_out(read_spec, entry, code):
    spec = f"""
        address: 127.0.0.1
        ports:
        - {{name: http, port: 80, appPort: 8080}}
        - {entry}
        """
    reading = read_spec("Workload", spec)
    assert reading.object.ports == (WorkloadPort("http", 80, 8080),)
    assert reading.found == [(code, 8)]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("{port: 1, localPort: 2}", "TL1102"),
        ("{service: a, localPort: 2}", "TL1102"),
        ("{service: a, port: 1}", "TL1102"),
        ("{service: a.b.c, port: 1, localPort: 2}", "TL1104"),
        ("{service: a., port: 1, localPort: 2}", "TL1104"),
        ("{service: A, port: 1, localPort: 2}", "TL1104"),
        ("{service: a, port: 1, localPort: 31001}", "TL1106"),
        ("{service: a, port: 1, localPort: 8080}", "TL1106"),
        ("{service: a, port: 1, localPort: 80}", "TL1106"),
        ("{service: a, port: 1, localPort: 65536}", "TL1108"),
    ],
)
def test_a_wrong_upstream_is_left_out(read_spec, entry, code):
    spec = f"""
        address: 127.0.0.1
        ports: [{{port: 80, appPort: 8080}}]
        upstreams:
        - {{service: good, port: 1, localPort: 31001}}
        - {entry}
        """
    reading = read_spec("Workload", spec)
    assert reading.object.upstreams == (Upstream("shop", "good", 1, 31001),)
    assert reading.found == [(code, 9)]


def test_thousands_of_ports_take_no_more_than_their_number(read_spec):
    ports = ", ".join(f"{{port: {number}}}" for number in range(1, 30_001))
    began = time.process_time()
    assert len(read_spec("Workload", f" {{address: 10.0.0.1, ports: [{ports}]}}").object.ports) == 30_000
    assert time.process_time() - began < 5


def test_a_mesh_config(read_spec):
    reading = read_spec(
        "MeshConfig",
        """
        trustDomain: mesh.example
        trafficPolicy: permissive
        mtls: permissive
        egress: deny
        plaintextUpstreams: deny
        emptyRules: allow
        certificates: {lifetime: 1h30m}
        """,
    )
    config = reading.object
    assert reading.found == []
    assert config.meta.namespace == ""
    assert config.trust_domain == "mesh.example"
    assert (config.traffic_policy, config.mtls) == (TrafficPolicy.PERMISSIVE, MtlsMode.PERMISSIVE)
    assert (config.egress, config.plaintext_upstreams) == (Allowance.DENY, Allowance.DENY)
    assert config.empty_rules is Allowance.ALLOW
    assert config.certificate_lifetime == 5400.0


def test_an_empty_mesh_config_is_the_default(read_spec):
    config = read_spec("MeshConfig", " {}").object
    assert (config.trust_domain, config.traffic_policy, config.mtls) == (
        "cluster.local",
        TrafficPolicy.SMI,
        MtlsMode.STRICT,
    )
    assert (config.egress, config.certificate_lifetime) == (Allowance.ALLOW, 86400.0)
    assert config.empty_rules is Allowance.DENY
    assert read_spec("MeshConfig", "").object == config


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("trafficPolicy: permisive", "TL1105"),
        ("mtls: on", "TL1105"),
        ("egress: yes", "TL1105"),
        ("egress: allowed", "TL1105"),
        ("plaintextUpstreams: 5", "TL1105"),
        ("emptyRules: true", "TL1105"),
        ("emptyRules: alow", "TL1105"),
    ],
)
def test_a_setting_that_cannot_be_read_is_strict(read_spec, setting, code):
    reading = read_spec("MeshConfig", f"\n{setting}\n")
    config = reading.object
    assert reading.found == [(code, 5)]
    assert not reading.decoded[0].intact
    key = setting.partition(":")[0]
    strict = {
        "trafficPolicy": config.traffic_policy is TrafficPolicy.SMI,
        "mtls": config.mtls is MtlsMode.STRICT,
        "egress": config.egress is Allowance.DENY,
        "plaintextUpstreams": config.plaintext_upstreams is Allowance.DENY,
        "emptyRules": config.empty_rules is Allowance.DENY,
    }
    assert strict[key]


def test_booleans_in_place_of_words_are_explained(read_spec):
    assert "quotes" in read_spec("MeshConfig", " {mtls: on}").text
    assert "'permissive'" in read_spec("MeshConfig", " {mtls: permisive}").text


@pytest.mark.parametrize("spec", [" {trustDomain: 'Mesh Example'}", " {trustDomain: 5}", " 5"])
def test_a_wrong_trust_domain_is_no_config(read_spec, spec):
    assert read_spec("MeshConfig", spec).object is None


def test_a_mesh_config_is_named_default(read):
    reading = read("apiVersion: tulle.dev/v1alpha1\nkind: MeshConfig\nmetadata:\n  name: other\n")
    assert reading.object is None
    assert reading.found == [("TL1105", 4)]


@pytest.mark.parametrize("lifetime", ["59s", "1", "-1h", "10000h", "soon", "1d", "h", "1..5h", "''"])
def test_wrong_lifetimes(read_spec, lifetime):
    reading = read_spec("MeshConfig", f" {{certificates: {{lifetime: {lifetime}}}}}")
    assert reading.object.certificate_lifetime == 86400.0
    assert len(reading.found) == (0 if lifetime == "''" else 1)


def test_durations():
    assert duration("24h") == 86400.0
    assert duration("1.5h") == 5400.0
    assert duration("1h1m1s") == 3661.0
    assert duration("") is None
    assert duration("9" * 100 + "h") is None
