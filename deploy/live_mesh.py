"""The present mesh: takes changes of objects, and turns them into changes of what is served."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

from deploy.configuration import EMPTY, Configuration, Translation, changes
from deploy.directory import sorted_diagnostics
from smi.diagnostics import Diagnostic, Severity
from smi.files import FileChange
from smi.index import MeshIndex, MeshObjects
from smi.model import MeshSnapshot, WorkloadKey
from smi.resolve import resolve
from smi.resolve.codes import TRUST_DOMAIN_FIXED
from xds.store import Store

_log = logging.getLogger(__name__)
_LEVELS = {Severity.ERROR: logging.ERROR, Severity.WARNING: logging.WARNING, Severity.INFO: logging.DEBUG}


class LiveMesh:
    """The one writer of the index and of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index = MeshIndex()
        self._translation = Translation()
        self._served: Configuration = EMPTY
        self._trust_domain: str | None = None
        self._fixed: tuple[Diagnostic, ...] = ()
        self.mesh: MeshSnapshot = resolve(self._index.snapshot())
        self.diagnostics: tuple[Diagnostic, ...] = ()

    def take(self, change: FileChange) -> bool:
        """Take a change of the declared objects; whether it changed the mesh. Everything is done when this returns."""
        changed = bool(self._index.apply(change.events)) or self._trust_domain is None
        if changed:
            objects, fixed = self._with_fixed_trust_domain(self._index.snapshot())
            before, self.mesh, self._fixed = self.mesh, resolve(objects), fixed
            self._serve(self._translation.configuration(self.mesh), _to_come_again(before, self.mesh))
        self._tell(sorted_diagnostics(tuple(change.diagnostics), self.mesh.diagnostics, self._fixed))
        return changed

    def _serve(self, configuration: Configuration, changed: Iterable[WorkloadKey]) -> None:
        old, self._served = self._served, configuration
        ended = {*changed, *(old.views.keys() - configuration.views.keys())}
        for key in ended:
            self._store.set_view(str(key), None)
        self._store.apply(changes(old, configuration))
        for key, view in configuration.views.items():
            if key in ended or old.views.get(key) != view:
                self._store.set_view(str(key), view)

    def _with_fixed_trust_domain(self, objects: MeshObjects) -> tuple[MeshObjects, tuple[Diagnostic, ...]]:
        """Every identity and the root itself carry the trust domain: it stays what it was at the start."""
        if self._trust_domain is None:
            self._trust_domain = objects.config.trust_domain
        if objects.config.trust_domain == self._trust_domain:
            return objects, ()
        message = f"trustDomain is {self._trust_domain} until the control plane is started anew"
        found = TRUST_DOMAIN_FIXED.diagnostic(message, object=objects.config.ref, location=objects.config.meta.location)
        config = dataclasses.replace(objects.config, trust_domain=self._trust_domain)
        return dataclasses.replace(objects, config=config), (found,)

    def _tell(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        """Log what is new, once."""
        known = set(self.diagnostics)
        self.diagnostics = diagnostics
        for each in diagnostics:
            if each not in known:
                about = f"{each.object}: " if each.object else ""
                _log.log(_LEVELS[each.severity], "%s %s %s%s", each.location or "-", each.code, about, each.message)


def _to_come_again(before: MeshSnapshot, after: MeshSnapshot) -> list[WorkloadKey]:
    """Proxies whose streams must end: what they proved or claimed to be is not what they are declared to be now."""
    return [
        key
        for key, old in before.proxies.items()
        if (new := after.proxies.get(key)) is not None and (new.identity, new.capture) != (old.identity, old.capture)
    ]
