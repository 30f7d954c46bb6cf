"""The present mesh: takes changes of objects, and turns them into changes of what is served."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from deploy.configuration import Translation
from deploy.directory import sorted_diagnostics
from deploy.garbage import collector_paused
from smi.diagnostics import Diagnostic, Severity
from smi.files import FileChange
from smi.model import ProxyModel, WorkloadKey
from smi.resolve.mesh import MeshModel, ModelChange
from xds.store import Store

_log = logging.getLogger(__name__)
_LEVELS = {Severity.ERROR: logging.ERROR, Severity.WARNING: logging.WARNING, Severity.INFO: logging.DEBUG}


class LiveMesh:
    """The one writer of the mesh model and of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.mesh = MeshModel()
        self._translation = Translation(self.mesh)
        self._started = False
        self._of_source: tuple[Diagnostic, ...] = ()

    def take(self, change: FileChange) -> frozenset[WorkloadKey]:
        """Take a change of the declared objects. Everything is done when this returns.

        Gives the proxies that are others now: new, changed, or gone.
        """
        with collector_paused():
            moved = self.mesh.apply(change.events)
            if not self._started:
                self.mesh.fix_trust_domain()
                self._started = True
            if moved is not None:
                self._serve(moved)
        known, self._of_source = set(self._of_source), tuple(change.diagnostics)
        tell(each for each in self._of_source if each not in known)
        tell(self.mesh.appeared())
        return frozenset(moved.proxies) if moved is not None else frozenset()

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Everything that is wrong now, sorted by place."""
        return sorted_diagnostics(self._of_source, self.mesh.diagnostics())

    def _serve(self, moved: ModelChange) -> None:
        served = self._translation.follow(moved)
        for key, old in moved.proxies.items():
            if old is not None and self._must_come_again(key, old):
                self._store.set_view(str(key), None)
        self._store.apply(served.scopes)
        for key, view in served.views.items():
            if view is not None:
                self._store.set_view(str(key), view)

    def _must_come_again(self, key: WorkloadKey, old: ProxyModel) -> bool:
        """Whether a proxy's streams must end: what it proved or claimed to be is not what it is declared to be now."""
        new = self.mesh.proxies.get(key)
        return new is None or (new.identity, new.capture) != (old.identity, old.capture)


def tell(diagnostics: Iterable[Diagnostic]) -> None:
    """Log findings."""
    for each in diagnostics:
        about = f"{each.object}: " if each.object else ""
        _log.log(_LEVELS[each.severity], "%s %s %s%s", each.location or "-", each.code, about, each.message)
