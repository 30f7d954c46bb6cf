"""The mesh index: what counts as a change, and what snapshots share."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smi.diagnostics import Location, ObjectRef
from smi.index import DEFAULT_CONFIG, Delete, MeshIndex, ObjectChange, Upsert
from smi.objects import MeshConfig, MeshObject, Meta, Namespace, Service, TCPRoute


def service(name, headless=False, line=1):
    meta = Meta(namespace="shop", name=name, location=Location("a.yaml", line))
    return Service(meta=meta, headless=headless)


def changed(changes):
    return {(each.old or each.new).ref for each in changes}


def test_only_other_values_are_changes():
    index = MeshIndex()
    assert index.apply([Upsert(service("a")), Upsert(service("b"))]) == [
        ObjectChange("Service", ("shop", "a"), None, service("a")),
        ObjectChange("Service", ("shop", "b"), None, service("b")),
    ]
    assert index.apply([Upsert(service("a"))]) == []
    assert changed(index.apply([Upsert(service("a", headless=True))])) == {ObjectRef("Service", "shop", "a")}
    assert index.apply([Delete(ObjectRef("Service", "shop", "c"))]) == []
    assert index.apply([Delete(ObjectRef("Service", "shop", "a"))]) == [
        ObjectChange("Service", ("shop", "a"), service("a", headless=True), None)
    ]
    assert list(index.services) == [("shop", "b")]


def test_an_object_that_moved_has_not_changed_but_its_place_is_known():
    index = MeshIndex()
    index.apply([Upsert(service("b"))])
    assert index.apply([Upsert(service("b", line=9))]) == []
    assert index.services["shop", "b"].meta.location == Location("a.yaml", 9)


def test_a_change_and_its_reversal_are_none():
    index = MeshIndex()
    index.apply([Upsert(service("a"))])
    assert index.apply([Delete(service("a").ref), Upsert(service("a"))]) == []
    assert index.apply([Upsert(service("n")), Delete(service("n").ref)]) == []


def test_the_config_has_a_default():
    index = MeshIndex()
    assert index.config is DEFAULT_CONFIG
    config = MeshConfig(meta=Meta(namespace="", name="default"), trust_domain="mesh.example")
    assert index.apply([Upsert(config)]) == [ObjectChange("MeshConfig", "default", None, config)]
    assert index.config.trust_domain == index.snapshot().config.trust_domain == "mesh.example"
    index.apply([Delete(config.ref)])
    assert index.config is DEFAULT_CONFIG


def test_snapshots_do_not_change():
    index = MeshIndex()
    index.apply([Upsert(service("b")), Upsert(Namespace(meta=Meta(namespace="", name="shop")))])
    first = index.snapshot()
    index.apply([Upsert(service("a"))])
    second = index.snapshot()
    assert list(first.services) == [("shop", "b")]
    assert list(second.services) == [("shop", "a"), ("shop", "b")]
    assert list(second.namespaces) == ["shop"]
    with pytest.raises(TypeError):
        second.services["shop", "x"] = service("x")


def test_unknown_kinds_are_our_own_mistake():
    with pytest.raises(KeyError):
        MeshIndex().apply([Upsert(MeshObject(meta=Meta(namespace="a", name="b")))])


OBJECTS = st.builds(
    lambda kind, namespace, name, mark: kind(meta=Meta(namespace=namespace, name=name, created=mark)),
    st.sampled_from([Service, TCPRoute]),
    st.sampled_from("ab"),
    st.sampled_from("xy"),
    st.sampled_from("12"),
)
EVENTS = st.lists(OBJECTS.map(Upsert) | OBJECTS.map(lambda value: Delete(value.ref)), max_size=12)


@given(batches=st.lists(EVENTS, max_size=4))
@settings(deadline=None)
def test_any_history_ends_like_its_result_from_scratch(batches):
    index = MeshIndex()
    expected: dict[ObjectRef, MeshObject] = {}
    for batch in batches:
        before = dict(expected)
        changes = changed(index.apply(batch))
        for event in batch:
            if isinstance(event, Upsert):
                expected[event.ref] = event.object
            else:
                expected.pop(event.ref, None)
        assert changes == {ref for ref in before | expected if before.get(ref) != expected.get(ref)}
        index.snapshot()
    scratch = MeshIndex()
    scratch.apply([Upsert(value) for value in expected.values()])
    assert index.snapshot() == scratch.snapshot()
    assert list(index.snapshot().services) == list(scratch.snapshot().services)
