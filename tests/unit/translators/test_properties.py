"""What holds for every mesh: the result depends on what is declared, on nothing else, and names nothing missing."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.configuration import Configuration, Translation
from deploy.live_mesh import LiveMesh
from smi.files import FileChange
from smi.index import Delete, MeshObjects, ObjectEvent, Upsert
from smi.model import MeshSnapshot
from smi.objects import MeshObject
from smi.resolve import resolve
from smi.resolve.mesh import MeshModel
from tests.unit.resolve.conftest import mk_objects
from tests.unit.translators.conftest import decoded, message
from tests.unit.translators.meshes import declarations, objects
from tests.unit.translators.references import references
from tests.unit.translators.scratch import configuration
from xds.resource import TypeUrl
from xds.store import Store

pace = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
SECRETS = {(TypeUrl.SECRET, "identity"), (TypeUrl.SECRET, "trust")}


def fresh(mesh: MeshSnapshot) -> Configuration:
    return configuration(mesh)


def contents_of(served: Configuration) -> tuple[object, object]:
    return served.scopes, served.views


def mirrored(declared: MeshObjects) -> MeshObjects:
    """The same objects, with every mapping in the opposite order."""
    mappings: dict[str, Any] = {
        field.name: dict(reversed(getattr(declared, field.name).items()))
        for field in dataclasses.fields(declared)
        if field.name != "config"
    }
    return dataclasses.replace(declared, **mappings)


@pace
@given(declarations, st.randoms(use_true_random=False))
def test_the_order_of_what_is_declared_does_not_matter(declared: list[MeshObject], chance: random.Random) -> None:
    shuffled = list(declared)
    chance.shuffle(shuffled)
    mesh, again = resolve(mk_objects(*declared)), resolve(mk_objects(*shuffled))
    assert mesh == again
    assert contents_of(fresh(mesh)) == contents_of(fresh(again))


@pace
@given(declarations)
def test_the_order_in_which_objects_are_looked_up_does_not_matter(declared: list[MeshObject]) -> None:
    mesh, again = resolve(mk_objects(*declared)), resolve(mirrored(mk_objects(*declared)))
    assert contents_of(fresh(mesh)) == contents_of(fresh(again))
    assert set(mesh.diagnostics) == set(again.diagnostics)


edits: st.SearchStrategy[ObjectEvent] = st.one_of(objects.map(Upsert), objects.map(lambda one: Delete(one.ref)))


histories = st.lists(st.lists(edits, min_size=1, max_size=4), min_size=1, max_size=6)


@pace
@given(declarations, histories)
def test_following_changes_ends_as_from_scratch(declared: list[MeshObject], history: list[list[ObjectEvent]]) -> None:
    """A model and a translation that followed every change hold, byte for byte, what new ones would."""
    mesh, served = MeshModel(), Configuration()
    translation = Translation(mesh)
    present: dict[object, MeshObject] = {}
    first: list[ObjectEvent] = [Upsert(one) for one in declared]
    for events in [first, *history]:
        for event in events:
            present.pop(event.ref, None)
            if isinstance(event, Upsert):
                present[event.ref] = event.object
        change = mesh.apply(events)
        if change is not None:
            served.take(translation.follow(change))
        scratch = resolve(mk_objects(*present.values()))
        assert mesh.snapshot() == scratch
        if present:
            assert contents_of(served) == contents_of(fresh(scratch))


@pace
@given(declarations, histories)
def test_the_store_ends_as_from_scratch(declared: list[MeshObject], history: list[list[ObjectEvent]]) -> None:
    """What every proxy would be sent is what a control plane would send that has just started."""
    store, present = Store(), dict[object, MeshObject]()
    live = LiveMesh(store)
    for events in [[Upsert(one) for one in declared], *history]:
        live.take(FileChange(tuple(events), ()))
        for event in events:
            present.pop(event.ref, None)
            if isinstance(event, Upsert):
                present[event.ref] = event.object
    restarted = Store()
    LiveMesh(restarted).take(FileChange(tuple(map(Upsert, present.values())), ()))
    assert sorted(store.proxies()) == sorted(restarted.proxies())
    for proxy in restarted.proxies():
        for type_url in TypeUrl:
            kept, made = (each.record(proxy).listing(type_url) for each in (store, restarted))
            assert tuple(kept.resources) == tuple(made.resources)


@pace
@given(declarations)
def test_what_is_named_is_there(declared: list[MeshObject]) -> None:
    served = fresh(resolve(mk_objects(*declared)))
    for proxy in served.views:
        made = decoded(served, proxy)
        assert references(made.messages.values()) - SECRETS <= made.messages.keys()


@pace
@given(declarations)
def test_nothing_is_there_that_nothing_could_name(declared: list[MeshObject]) -> None:
    """Endpoints belong to clusters. Routes without a listener are those of Services that have no virtual address."""
    mesh = resolve(mk_objects(*declared))
    served = fresh(mesh)
    for proxy in served.views:
        made = decoded(served, proxy)
        named = references(made.messages.values())
        assert {(TypeUrl.ENDPOINT, name) for name in made.names(TypeUrl.ENDPOINT)} <= named
        without_address = {f"outbound/{key}" for key in mesh.frontends if key not in mesh.addresses}
        routes = {name for name in made.names(TypeUrl.ROUTE) if (TypeUrl.ROUTE, name) not in named}
        assert routes <= without_address


@pace
@given(declarations)
def test_what_is_shared_tells_nothing_of_who_gets_it(declared: list[MeshObject]) -> None:
    mesh = resolve(mk_objects(*declared))
    served = fresh(mesh)
    serving = {identity for backend in mesh.backends.values() for identity in backend.identities}
    clients = {str(proxy.identity).encode() for proxy in mesh.proxies.values() if proxy.identity not in serving}
    for name in ("mesh", "capture", *mesh.reaches):
        for resource in served.scopes.get(name, {}).values():
            assert not any(client in resource.body for client in clients)


@pace
@given(declarations)
def test_every_resource_is_under_its_own_name(declared: list[MeshObject]) -> None:
    for scope in fresh(resolve(mk_objects(*declared))).scopes.values():
        for (type_url, name), resource in scope.items():
            made = message(resource)
            assert name == getattr(made, "cluster_name" if type_url is TypeUrl.ENDPOINT else "name")
            assert (resource.type_url, resource.name) == (type_url, name)


@pace
@given(declarations)
def test_no_two_listeners_of_a_proxy_want_one_address(declared: list[MeshObject]) -> None:
    """Only on addresses of services: two processes on one host are a person's mistake, which has a diagnostic."""
    served = fresh(resolve(mk_objects(*declared)))
    for proxy in served.views:
        made = decoded(served, proxy)
        taken = []
        for name in made.names(TypeUrl.LISTENER):
            listener = made.listener(name)
            addresses = [listener.address, *(each.address for each in listener.additional_addresses)]
            taken += [(each.socket_address.address, each.socket_address.port_value) for each in addresses]
        assert len(taken) == len(set(taken))
