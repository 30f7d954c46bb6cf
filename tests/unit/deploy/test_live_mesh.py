"""Changes of objects reach exactly the streams they concern."""

from __future__ import annotations

import dataclasses

from smi.objects import CaptureMode, WorkloadPort
from smi.resolve.codes import TRUST_DOMAIN_FIXED
from tests.unit.deploy.conftest import Scene, Sink, config, service, workload


def test_a_proxy_is_told_of_what_it_sees_and_of_nothing_else(scene: Scene) -> None:
    narrow = workload("narrow")
    narrow = dataclasses.replace(narrow, meta=dataclasses.replace(narrow.meta, annotations={"tulle.dev/reaches": "x"}))
    scene.declare(service("web"), workload("web"), workload("client"), narrow)
    client, bystander = Sink(scene.store, "shop/client"), Sink(scene.store, "shop/narrow")
    scene.declare(workload("web", address="10.0.0.2"))
    assert client.changed == ["outbound/shop/web/80"]
    assert bystander.changed == []


def test_the_same_objects_again_change_nothing(scene: Scene) -> None:
    assert scene.declare(service("web"), workload("web"))
    sink = Sink(scene.store, "shop/web")
    assert not scene.declare(service("web"), workload("web"))
    assert sink.changed == []


def test_an_object_that_moved_in_its_file_changes_no_resource(scene: Scene) -> None:
    scene.declare(service("web"), workload("web"))
    sink = Sink(scene.store, "shop/web")
    moved = service("web")
    scene.declare(dataclasses.replace(moved, meta=dataclasses.replace(moved.meta, created="2026-01-01T00:00:00Z")))
    assert sink.changed == []


def test_streams_end_when_the_workload_is_gone(scene: Scene) -> None:
    scene.declare(workload("web"))
    sink = Sink(scene.store, "shop/web")
    scene.withdraw(workload("web"))
    assert len(sink.revoked) == 1
    assert not scene.store.has_view("shop/web")


def test_streams_end_when_the_identity_or_the_capture_mode_is_another(scene: Scene) -> None:
    scene.declare(workload("web"))
    sink = Sink(scene.store, "shop/web")
    scene.declare(workload("web", service_account="other"))
    assert len(sink.revoked) == 1
    explicit = (WorkloadPort("http", 8080, 9090),)
    scene.declare(workload("web", service_account="other", capture=CaptureMode.EXPLICIT, ports=explicit))
    assert len(sink.revoked) == 2
    assert scene.store.has_view("shop/web")


def test_the_trust_domain_stays_as_it_was_at_the_start(scene: Scene) -> None:
    scene.declare(config(trust_domain="first.example"), workload("web"))
    scene.declare(config(trust_domain="second.example"))
    assert scene.live.mesh.settings.trust_domain.name == "first.example"
    assert [each.code for each in scene.live.diagnostics if each.code == TRUST_DOMAIN_FIXED.code]
    scene.declare(config(trust_domain="first.example"))
    assert not [each for each in scene.live.diagnostics if each.code == TRUST_DOMAIN_FIXED.code]
