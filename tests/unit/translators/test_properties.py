"""What holds for every mesh: the result depends on what is declared, on nothing else, and names nothing missing."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.configuration import Configuration, Contents, Translation, changes
from smi.index import Delete, MeshIndex, MeshObjects, ObjectEvent, Upsert
from smi.model import MeshSnapshot
from smi.objects import MeshObject
from smi.resolve import resolve
from tests.unit.resolve.conftest import mk_objects
from tests.unit.translators.conftest import decoded, message
from tests.unit.translators.meshes import declarations, objects
from tests.unit.translators.references import references
from xds.resource import TypeUrl

pace = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
SECRETS = {(TypeUrl.SECRET, "identity"), (TypeUrl.SECRET, "trust")}


def fresh(mesh: MeshSnapshot) -> Configuration:
    return Translation().configuration(mesh)


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
    assert fresh(mesh) == fresh(again)


@pace
@given(declarations)
def test_the_order_in_which_objects_are_looked_up_does_not_matter(declared: list[MeshObject]) -> None:
    mesh, again = resolve(mk_objects(*declared)), resolve(mirrored(mk_objects(*declared)))
    assert fresh(mesh) == fresh(again)
    assert set(mesh.diagnostics) == set(again.diagnostics)


edits: st.SearchStrategy[ObjectEvent] = st.one_of(objects.map(Upsert), objects.map(lambda one: Delete(one.ref)))


@pace
@given(declarations, st.lists(st.lists(edits, min_size=1, max_size=3), min_size=1, max_size=6))
def test_what_is_remembered_changes_nothing(declared: list[MeshObject], history: list[list[ObjectEvent]]) -> None:
    """A translation that followed every change, and what its changes add up to, equal one from scratch."""
    index, following = MeshIndex(), Translation()
    served: dict[str, Contents] = {}
    before = Configuration({}, {})
    first: list[ObjectEvent] = [Upsert(one) for one in declared]
    for events in [first, *history]:
        index.apply(events)
        mesh = resolve(index.snapshot())
        configuration = following.configuration(mesh)
        assert configuration == fresh(mesh)
        for change in changes(before, configuration):
            contents = served.setdefault(change.scope, {})
            for key in change.removals:
                del contents[key]
            contents.update({(each.type_url, each.name): each for each in change.upserts})
        assert {name: held for name, held in served.items() if held} == {
            name: held for name, held in configuration.scopes.items() if held
        }
        before = configuration


@pace
@given(declarations)
def test_what_is_named_is_there(declared: list[MeshObject]) -> None:
    configuration = fresh(resolve(mk_objects(*declared)))
    for proxy in configuration.views:
        made = decoded(configuration, proxy)
        assert references(made.messages.values()) - SECRETS <= made.messages.keys()


@pace
@given(declarations)
def test_nothing_is_there_that_nothing_could_name(declared: list[MeshObject]) -> None:
    """Endpoints belong to clusters. Routes without a listener are those of Services that have no virtual address."""
    mesh = resolve(mk_objects(*declared))
    configuration = fresh(mesh)
    for proxy in configuration.views:
        made = decoded(configuration, proxy)
        named = references(made.messages.values())
        assert {(TypeUrl.ENDPOINT, name) for name in made.names(TypeUrl.ENDPOINT)} <= named
        without_address = {f"outbound/{key}" for key in mesh.frontends if key not in mesh.addresses}
        routes = {name for name in made.names(TypeUrl.ROUTE) if (TypeUrl.ROUTE, name) not in named}
        assert routes <= without_address


@pace
@given(declarations)
def test_what_is_shared_tells_nothing_of_who_gets_it(declared: list[MeshObject]) -> None:
    mesh = resolve(mk_objects(*declared))
    configuration = fresh(mesh)
    serving = {identity for backend in mesh.backends.values() for identity in backend.identities}
    clients = {str(proxy.identity).encode() for proxy in mesh.proxies.values() if proxy.identity not in serving}
    for name in ("mesh", "capture", *mesh.reaches):
        for resource in configuration.scopes[name].values():
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
    configuration = fresh(resolve(mk_objects(*declared)))
    for proxy in configuration.views:
        made = decoded(configuration, proxy)
        taken = []
        for name in made.names(TypeUrl.LISTENER):
            listener = made.listener(name)
            addresses = [listener.address, *(each.address for each in listener.additional_addresses)]
            taken += [(each.socket_address.address, each.socket_address.port_value) for each in addresses]
        assert len(taken) == len(set(taken))
