"""Changes of objects reach exactly the streams they concern."""

from __future__ import annotations

import dataclasses

from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest
from smi.objects import CaptureMode, MeshObject, WorkloadPort
from smi.resolve.codes import TRUST_DOMAIN_FIXED
from tests.unit.deploy.conftest import Scene, Sink, config, service, workload
from xds.delta import DeltaStream
from xds.resource import TypeUrl


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


def pushed(scene: Scene, *changed: MeshObject) -> list[str]:
    """The types of the responses that a proxy is sent at once because of a change, in their order."""
    stream = DeltaStream(scene.store.record("shop/client"))

    class Listening:
        def offer(self, changes):
            stream.offer(changes, 0.0)

    scene.store.attach("shop/client", Listening())
    for type_url in (TypeUrl.CLUSTER, TypeUrl.LISTENER):
        stream.receive(DeltaDiscoveryRequest(type_url=type_url), 0.0)
    for type_url in (TypeUrl.ENDPOINT, TypeUrl.ROUTE):
        names = ["outbound/shop/web/80"]
        stream.receive(DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names), 0.0)
    for response in stream.poll(0.0):
        stream.receive(DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce), 0.0)
    scene.declare(*changed)
    return [response.type_url for response in stream.poll(0.0)]


def test_an_endpoint_more_is_a_push_of_endpoints_alone(scene: Scene) -> None:
    scene.declare(service("web"), workload("web"), workload("client"))
    more = workload("web-2", meta=dataclasses.replace(workload("web").meta, name="web-2"), address="10.0.0.2")
    assert pushed(scene, dataclasses.replace(more, service_account="web")) == [TypeUrl.ENDPOINT]


def test_a_new_account_behind_a_service_is_a_change_of_its_cluster_first(scene: Scene) -> None:
    """Clients must believe it before they are sent to it."""
    scene.declare(service("web"), workload("web"), workload("client"))
    more = workload("web-2", meta=dataclasses.replace(workload("web").meta, name="web-2"), address="10.0.0.2")
    assert pushed(scene, dataclasses.replace(more, service_account="other")) == [TypeUrl.CLUSTER, TypeUrl.ENDPOINT]
