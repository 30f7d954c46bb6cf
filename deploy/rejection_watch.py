"""What proxies reject, as diagnostics of the objects behind it: for the debug endpoint, and once each for the log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from deploy.live_mesh import LiveMesh, tell
from deploy.rejections import rejection_diagnostics
from smi.diagnostics import Diagnostic
from xds.rejections import RejectedResource, RejectedVersion
from xds.server import XdsServer

_GATHER = 0.5
"""Seconds in which the rejections of many proxies become one line."""


class RejectionWatch:
    """See the module."""

    def __init__(self, server: XdsServer, live: LiveMesh) -> None:
        self._server = server
        self._live = live
        self._changed = asyncio.Event()
        self._told: set[RejectedVersion] = set()
        server.rejections.on_change.append(self._changed.set)

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All that is rejected now."""
        return self._explained(self._server.rejections)

    async def run(self) -> None:
        """Log what is new, until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(_GATHER)
            self._changed.clear()
            rejected = tuple(self._server.rejections)
            # Once for each version: more proxies that reject it, and tries in vain, are no news.
            tell(self._explained(each for each in rejected if each.resource not in self._told))
            self._told = {each.resource for each in rejected}

    def _explained(self, rejected: Iterable[RejectedResource]) -> tuple[Diagnostic, ...]:
        mesh = self._live.mesh
        return tuple(rejection_diagnostics(rejected, mesh, mesh.objects, self._server.proxies.holders))
