"""Which of several objects that claim the same thing has it."""

from __future__ import annotations

from smi.objects import MeshObject


def age_key(thing: MeshObject) -> tuple[str, str, str]:
    """Orders objects that claim the same thing: the oldest first, then by name. Objects from files have no age."""
    return (thing.meta.created, thing.meta.namespace, thing.meta.name)
