"""All objects -> the mesh model, from scratch."""

from __future__ import annotations

from smi.index import MeshObjects
from smi.model import MeshSnapshot
from smi.resolve.mesh import MeshModel


def resolve(objects: MeshObjects) -> MeshSnapshot:
    """The mesh model of `objects`: a pure function, blind to the order in which objects were read."""
    model = MeshModel()
    model.apply(objects.events())
    return model.snapshot()
