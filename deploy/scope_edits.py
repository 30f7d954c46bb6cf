"""Gathers what changes in scopes, and gives it as one change for each scope."""

from __future__ import annotations

from xds.resource import Resource
from xds.store import ScopeChange

Resources = tuple[Resource, ...]


class ScopeEdits:
    """What becomes of resources, by scope and name. Equal resources that are not the same object count as changed."""

    def __init__(self) -> None:
        self._edits: dict[str, dict[tuple[str, str], Resource | None]] = {}

    def replace(self, scope: str, old: Resources, new: Resources) -> None:
        """In `scope`, what was `old` is `new` now."""
        if old is new:
            return
        before = {(each.type_url, each.name): each for each in old}
        edits = self._edits.get(scope)
        if edits is None:
            edits = self._edits[scope] = {}
        for each in new:
            key = (each.type_url, each.name)
            if before.pop(key, None) is not each:
                edits[key] = each
        edits.update(dict.fromkeys(before))

    def changes(self) -> tuple[ScopeChange, ...]:
        """What is there to do, for each scope that something changes in."""
        return tuple(
            ScopeChange(
                scope,
                tuple(edit for edit in edits.values() if edit is not None),
                tuple(key for key, edit in edits.items() if edit is None),
            )
            for scope, edits in self._edits.items()
            if edits
        )
