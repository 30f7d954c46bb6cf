"""Namespace, ServiceAccount, Service, and what is common to all kinds: metadata, kinds, versions."""

from __future__ import annotations

import pytest

from smi.diagnostics import ObjectRef
from smi.objects import ServicePort
from smi.report import MAX_FINDINGS


def test_metadata(read):
    reading = read("""\
        # first
        apiVersion: v1
        kind: ServiceAccount
        metadata:
          name: bookstore-v1.a
          labels: {app: bookstore}
          annotations: {tulle.dev/mtls: strict}
          creationTimestamp: 2024-01-01T00:00:00Z
          uid: x
          ownerReferences: [{kind: Deployment}]
        secrets: [{name: a}]
        status: {x: 1}
        """)
    account = reading.object
    assert reading.found == []
    assert account.ref == ObjectRef("ServiceAccount", "default", "bookstore-v1.a")
    assert account.meta.labels == {"app": "bookstore"}
    assert account.meta.annotations == {"tulle.dev/mtls": "strict"}
    assert account.meta.created == "2024-01-01T00:00:00Z"
    assert account.meta.location.line == 2


def test_a_namespace_has_no_namespace(read):
    reading = read("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, namespace: odd}\nspec: {finalizers: [x]}\n")
    assert reading.object.ref == ObjectRef("Namespace", "", "shop")
    assert reading.found == []


@pytest.mark.parametrize(
    ("metadata", "code", "line"),
    [
        ("", "TL1102", 3),
        (" text", "TL1101", 3),
        ("\n  labels: {}", "TL1102", 3),
        ("\n  name: Upper", "TL1104", 4),
        ("\n  name: -a", "TL1104", 4),
        (f"\n  name: {'a' * 254}", "TL1104", 4),
        ("\n  name: 5", "TL1101", 4),
        ("\n  name: on", "TL1101", 4),
        ("\n  name: ../x", "TL1104", 4),
        ("\n  name: a\n  namespace: b.c", "TL1104", 5),
        ("\n  name: a\n  namespace: 5", "TL1101", 5),
    ],
)
def test_an_object_without_a_valid_name_is_none(read, metadata, code, line):
    reading = read(f"apiVersion: v1\nkind: ServiceAccount\nmetadata:{metadata}\n")
    assert reading.object is None
    assert reading.found == [(code, line)]


def test_labels_and_annotations_are_texts(read):
    reading = read("""\
        apiVersion: v1
        kind: Namespace
        metadata:
          name: shop
          labels: {good: a, version: 2}
          annotations:
            tulle.dev/mtls: on
        """)
    assert reading.object.meta.labels == {"good": "a"}
    assert reading.object.meta.annotations == {}
    assert reading.found == [("TL1101", 5), ("TL1101", 7)]
    assert not reading.decoded[0].intact


@pytest.mark.parametrize(
    ("head", "code", "line", "word"),
    [
        ("apiVersion: apps/v1\nkind: Deployment", "TL1020", 2, "Deployment"),
        ("apiVersion: v1\nkind: Servce", "TL1020", 2, "'Service'"),
        ("apiVersion: split.smi-spec.oi/v1alpha4\nkind: TrafficSplit", "TL1020", 2, "split.smi-spec.io/v1alpha4"),
        ("apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute", "TL1020", 2, "specs.smi-spec.io/v1alpha4"),
        ("apiVersion: split.smi-spec.io/v1alpha0\nkind: TrafficSplit", "TL1021", 1, "split.smi-spec.io/v1alpha4"),
        ("apiVersion: access.smi-spec.io/v1alpha4\nkind: TrafficTarget", "TL1021", 1, "never released"),
        ("apiVersion: access.smi-spec.io/v1\nkind: TrafficTarget", "TL1021", 1, "access.smi-spec.io/v1alpha3"),
        ("apiVersion: v2\nkind: Service", "TL1021", 1, "accepted is v1"),
        ("apiVersion: access.smi-spec.io/v1alpha4\nkind: IdentityBinding", "TL1022", 2, "never released"),
        ("apiVersion: v1", "TL1006", 1, "kind"),
        ("kind: Service", "TL1006", 1, "apiVersion"),
        ("apiVersion: 1\nkind: Service", "TL1006", 1, "apiVersion"),
    ],
)
def test_kinds_and_versions_that_are_not_read(read, head, code, line, word):
    reading = read(f"{head}\nmetadata: {{name: a}}\nspec: {{}}\n")
    assert reading.object is None
    assert reading.found == [(code, line)]
    assert word in reading.text


def test_a_misspelt_kind_still_names_the_object_that_is_meant(read):
    (outcome,) = read("apiVersion: v1\nkind: Servcie\nmetadata: {name: a, namespace: b}\n").decoded
    assert (outcome.ref, outcome.intact) == (ObjectRef("Service", "b", "a"), False)
    (other,) = read("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n").decoded
    assert (other.ref, other.intact) == (None, True)


def test_the_findings_of_one_object_are_limited(read):
    ports = "".join(f"  - {{port: {n}x}}\n" for n in range(MAX_FINDINGS + 7))
    reading = read("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n" + ports)
    assert len(reading.found) == MAX_FINDINGS + 1
    assert "7 more findings" in reading.text


def test_a_service(read_spec):
    reading = read_spec(
        "Service",
        """
        type: NodePort
        clusterIP: 10.0.0.1
        clusterIPs: [10.0.0.1, "FD00::1"]
        selector: {app: shop}
        sessionAffinity: None
        ports:
        - {name: http, port: 80, targetPort: web, nodePort: 30000, appProtocol: http}
        - {name: admin, port: 81, targetPort: 8081, protocol: TCP}
        - {name: dns, port: 81, protocol: UDP}
        """,
    )
    service = reading.object
    assert reading.found == []
    assert service.cluster_ips == ("10.0.0.1", "fd00::1")
    assert service.selector == {"app": "shop"}
    assert not service.headless
    assert service.ports == (
        ServicePort("http", 80, "web", "TCP", "http"),
        ServicePort("admin", 81, 8081),
        ServicePort("dns", 81, 81, "UDP"),
    )


@pytest.mark.parametrize(
    "spec", [" {clusterIP: None, ports: [{port: 80}]}", " {clusterIP: None}", " {clusterIPs: [None], ports: []}"]
)
def test_headless_services(read_spec, spec):
    reading = read_spec("Service", spec)
    assert reading.object.headless
    assert reading.object.cluster_ips == ()
    assert reading.found == []


def test_external_names(read_spec):
    reading = read_spec("Service", " {type: ExternalName, externalName: Db.example.com}")
    assert reading.object.external_name == "Db.example.com"
    assert reading.found == []
    assert read_spec("Service", " {type: ExternalName}").object is None
    assert read_spec("Service", " {type: ExternalName, externalName: 'a b'}").object is None


@pytest.mark.parametrize(
    ("port", "code"),
    [
        ("{port: 0}", "TL1108"),
        ("{port: '80'}", "TL1108"),
        ("{port: true}", "TL1108"),
        ("{port: 1.5}", "TL1108"),
        ("{targetPort: 80}", "TL1102"),
        ("{port: 1, targetPort: 70000}", "TL1108"),
        ("{port: 1, targetPort: '80'}", "TL1108"),
        ("{port: 1, targetPort: [80]}", "TL1108"),
        ("{port: 1, protocol: tcp}", "TL1105"),
        ("{port: 1, name: A}", "TL1104"),
        ("{port: 1, appProtocol: 5}", "TL1101"),
        ("{port: 80}", "TL1106"),
        ("{port: 1, name: http}", "TL1106"),
        ("80", "TL1101"),
    ],
)
def test_a_wrong_port_is_left_out(read_spec, port, code):
    reading = read_spec(
        "Service",
        f"""
        ports:
        - name: http
          port: 80
        - {port}
        """,
    )
    assert reading.object.ports == (ServicePort("http", 80, 80),)
    assert reading.found == [(code, 8)]
    assert not reading.decoded[0].intact


@pytest.mark.parametrize("address", ["nonsense", "10.0.0.256", "0.0.0.0", "224.0.0.1", "fe80::1%eth0", "5"])
def test_a_wrong_address_is_not_used(read_spec, address):
    reading = read_spec("Service", f" {{clusterIP: {address}, ports: [{{port: 80}}]}}")
    assert reading.object.cluster_ips == ()
    assert reading.found == [("TL1109", 4)]


def test_a_selector_with_a_wrong_entry_does_not_select_more(read_spec):
    reading = read_spec("Service", " {selector: {app: shop, version: 2}, ports: [{port: 80}]}")
    assert reading.object is None
    assert reading.found == [("TL1101", 4)]


def test_unknown_fields_are_warnings_with_the_meant_name(read_spec):
    reading = read_spec("Service", " {ports: [{port: 80, targetport: 81}], selektor: {app: shop}}")
    assert reading.object is not None
    assert [code for code, _ in reading.found] == ["TL1103", "TL1103"]
    assert "'targetPort'" in reading.text
    assert "'selector'" in reading.text
