"""The resources of one kind that service ports own: made while a scope holds the port, put into each that does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from deploy.scope_edits import Resources, ScopeEdits
from smi.model import PortKey

_NOTHING: Resources = ()


class PortResources:
    """`translate` makes the resources of a port that some scope holds."""

    def __init__(self, translate: Callable[[PortKey], Resources]) -> None:
        self._translate = translate
        self._made: dict[PortKey, Resources] = {}

    def follow(
        self,
        outdated: Iterable[PortKey],
        shifts: Mapping[str, Mapping[PortKey, bool]],
        holders: Callable[[PortKey], Iterable[str]],
        edits: ScopeEdits,
    ) -> None:
        """Make anew what is `outdated`, and edit every scope that held or holds the port.

        `shifts`: by scope, the ports that entered or left it, and whether each was in it before. `holders`: the scopes
        that hold a port now.
        """
        shifted: dict[PortKey, dict[str, bool]] = {}
        for scope, ports in shifts.items():
            for key, was in ports.items():
                shifted.setdefault(key, {})[scope] = was
        stale = set(outdated)
        for key in stale | shifted.keys():
            known = self._made.get(key)
            now = holders(key)
            if not now:
                self._made.pop(key, None)
                new = _NOTHING
            elif known is None or key in stale:
                new = self._made[key] = self._translate(key)
            else:
                new = known
            before, moved = known or _NOTHING, shifted.get(key, {})
            for scope in now:
                edits.replace(scope, before if moved.get(scope, True) else _NOTHING, new)
            for scope, was in moved.items():
                if was and scope not in now:
                    edits.replace(scope, before, _NOTHING)
