"""Certificates of connected proxies: one key for each, made when it connects, renewed before it expires.

Keys live here and in the proxy, nowhere else; they go with the proxy's last stream.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ca.secrets import identity_secret
from ca.state import CaState, StateError
from ca.svid import X509Svid, renew_at
from deploy.clock import now
from deploy.configuration import encoded
from smi.model import Mesh, WorkloadKey
from xds.store import Store

_log = logging.getLogger(__name__)
_RETRY = timedelta(seconds=5)
_LONGEST_WAIT = 60.0
"""Seconds between looks at the wall clock: it may be set, and timers may stand still while a machine sleeps."""


@dataclass(frozen=True, slots=True)
class _Held:
    svid: X509Svid
    renew_at: datetime


class Identities:
    """Issues and renews; an ``xds.presence.Observer``."""

    def __init__(self, state: CaState, store: Store, mesh: Callable[[], Mesh]) -> None:
        self._state = state
        self._store = store
        self._mesh = mesh
        self._held: dict[str, _Held] = {}
        self._changed = asyncio.Event()

    async def on_connect(self, proxy: str) -> None:
        """The proxy gets its certificate before its first answer."""
        self._issue(proxy)
        self._changed.set()

    async def on_disconnect(self, proxy: str) -> None:
        self._held.pop(proxy, None)
        self._store.set_own(proxy, ())

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            for proxy, held in list(self._held.items()):
                if held.renew_at <= now():
                    self._renew(proxy)
            next_renewal = min((held.renew_at for held in self._held.values()), default=None)
            wait = _LONGEST_WAIT
            if next_renewal is not None:
                wait = min(wait, max(0.05, (next_renewal - now()).total_seconds()))
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    def _renew(self, proxy: str) -> None:
        namespace, _, name = proxy.partition("/")
        if WorkloadKey(namespace, name) not in self._mesh().proxies:
            self._held.pop(proxy, None)
            return
        try:
            self._issue(proxy)
        except (StateError, OSError) as error:
            # A disk that is full now may not be so later; what is good until then stays in use.
            _log.error("cannot renew the certificate of %s: %s", proxy, error)  # not our bug
            self._held[proxy] = replace(self._held[proxy], renew_at=now() + _RETRY)
            return
        _log.info("renewed the certificate of %s", proxy)

    def _issue(self, proxy: str) -> None:
        namespace, _, name = proxy.partition("/")
        mesh = self._mesh()
        identity = mesh.proxies[WorkloadKey(namespace, name)].identity
        lifetime = timedelta(seconds=mesh.certificate_lifetime)
        moment = now()
        svid = self._state.authority(moment).issue(identity.spiffe_id, lifetime, moment)
        self._held[proxy] = _Held(svid, renew_at(svid, random.random()))  # noqa: S311  # spreads load, hides nothing
        self._store.set_own(proxy, (encoded(identity_secret(svid)),))
