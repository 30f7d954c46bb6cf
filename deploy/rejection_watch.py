"""What proxies reject, as diagnostics of the objects behind it: for the debug endpoint, and once each for the log."""

from __future__ import annotations

import asyncio

from deploy.live_mesh import LiveMesh, tell
from deploy.rejections import rejection_diagnostics
from smi.diagnostics import Diagnostic
from xds.server import XdsServer

_GATHER = 0.5
"""Seconds in which the rejections of many proxies become one line."""


class RejectionWatch:
    """See the module."""

    def __init__(self, server: XdsServer, live: LiveMesh) -> None:
        self._server = server
        self._live = live
        self._changed = asyncio.Event()
        self._known: set[tuple[object, ...]] = set()
        server.rejections.on_change.append(self._changed.set)

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All that is rejected now."""
        mesh = self._live.mesh
        return tuple(rejection_diagnostics(self._server.rejections, mesh, mesh.objects, self._server.proxies.holders))

    async def run(self) -> None:
        """Log what is new, until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(_GATHER)
            self._changed.clear()
            found = {(each.code, each.object, each.message): each for each in self.diagnostics()}
            tell(each for key, each in found.items() if key not in self._known)
            self._known = set(found)
