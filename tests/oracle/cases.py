"""A mesh from a seed: its documents, the objects in them, and calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from smi.decode import decode
from smi.documents import parse
from smi.index import MeshIndex, MeshObjects, Upsert
from tests.oracle.calls import Call
from tests.oracle.layout import IMAGINED, Layout
from tests.oracle.meshes import Document, as_yaml, random_mesh
from tests.oracle.random_calls import Calls


@dataclass(frozen=True)
class Case:
    """One mesh and the calls that are tried in it. `seed` makes both again."""

    seed: int
    documents: tuple[Document, ...]
    calls: tuple[Call, ...]


def random_case(seed: int, calls: int, layout: Layout = IMAGINED) -> Case:
    """Where meshes are run one after the other, each has Services of its own: nobody keeps connections to them."""
    random = Random(seed)
    documents = random_mesh(random, layout, "" if layout.varied else f"-{seed}")
    source = Calls(random, objects_of(documents))
    return Case(seed, tuple(documents), tuple(source.draw() for _ in range(calls)))


def cases(first: int, meshes: int, calls: int, layout: Layout = IMAGINED) -> Iterator[Case]:
    """`meshes` random meshes with seeds from `first` on, each with so many `calls`."""
    return (random_case(first + number, calls, layout) for number in range(meshes))


def objects_of(documents: list[Document] | tuple[Document, ...]) -> MeshObjects:
    """The declared objects. Fails for a document that is not in force exactly as written."""
    index = MeshIndex()
    parsed, wrong = parse(as_yaml([*documents]), "mesh.yaml")
    assert not wrong, wrong
    for document in parsed:
        found = decode(document)
        assert found.intact, (document.value, found.diagnostics)
        assert found.object is not None, document.value
        index.apply([Upsert(found.object)])
    return index.snapshot()
