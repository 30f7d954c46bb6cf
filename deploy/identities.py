"""Certificates of connected proxies: one key for each, made when it connects, renewed before it expires.

Keys live here and in the proxy, nowhere else; they go with the proxy's last stream.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import grpc

from ca.authority import AuthorityError
from ca.secrets import identity_secret
from ca.state import CaState, StateError
from ca.svid import renew_at
from deploy.clock import now
from deploy.configuration import encoded
from smi.model import Mesh, WorkloadKey
from xds.refusal import Refused
from xds.store import Store

_log = logging.getLogger(__name__)
_RETRY = timedelta(seconds=5)
_LONGEST_WAIT = 60.0
"""Seconds between looks at the wall clock: it may be set, and timers may stand still while a machine sleeps."""
_CROWDED = 1000
"""Entries of the agenda that are not worth tidying up."""
REISSUE_SECONDS, REISSUE_PER_PROXY = 30.0, 0.005
"""Within what time all proxies get a certificate of another root: so long for each, and never longer than that."""


@dataclass(frozen=True, slots=True)
class Issued:
    """The last certificate that a connected proxy was given: the version of its secret, the root it is below (by id),
    and when it ends.
    """

    version: str
    root: str
    ends: datetime


@dataclass(frozen=True, slots=True)
class _Held:
    issued: Issued
    renew_at: datetime


class Identities:
    """Issues and renews; an ``xds.presence.Observer``."""

    def __init__(self, state: CaState, store: Store, mesh: Callable[[], Mesh]) -> None:
        self._state = state
        self._store = store
        self._mesh = mesh
        self._held: dict[str, _Held] = {}
        self._agenda: list[tuple[datetime, str]] = []
        self._ends: dict[str, datetime] = {}
        self._changed = asyncio.Event()
        self.on_renewed: Callable[[str], None] | None = None
        """Hears of each proxy whose certificate was replaced; not all of them have asked for one, and answer."""

    async def on_connect(self, proxy: str) -> None:
        """The proxy gets its certificate before its first answer. Raises Refused when there is none to be had."""
        if _key(proxy) not in self._mesh().proxies:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"proxy {proxy} is not known any more")
        try:
            self._issue(proxy)
        except (StateError, AuthorityError, OSError) as error:
            _log.error("cannot issue a certificate to %s: %s", proxy, error)  # a person's disk or root, not our bug
            reason = "the control plane cannot issue certificates now"
            raise Refused(grpc.StatusCode.UNAVAILABLE, reason) from None

    async def on_disconnect(self, proxy: str) -> None:
        self._held.pop(proxy, None)
        self._store.set_own(proxy, ())

    def issued(self, proxy: str) -> Issued | None:
        """What a connected proxy was given last."""
        held = self._held.get(proxy)
        return None if held is None else held.issued

    def ends(self, moment: datetime) -> Mapping[str, datetime]:
        """When the last certificate ends of each proxy that was given one since we started, connected or not; without
        those that have ended at `moment`.
        """
        for proxy in [proxy for proxy, end in self._ends.items() if end <= moment]:
            del self._ends[proxy]
        return self._ends

    def reissue(self) -> None:
        """Replace all certificates that are not of the root that issues now: soon, and not all in one moment."""
        root, moment = self._state.issuing_root, now()
        old = [proxy for proxy, held in self._held.items() if held.issued.root != root]
        window = min(REISSUE_SECONDS, REISSUE_PER_PROXY * len(old))
        for proxy in old:
            at = moment + timedelta(seconds=random.uniform(0, window))  # noqa: S311  # spreads load, hides nothing
            self._plan(proxy, replace(self._held[proxy], renew_at=at))

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            while self._agenda and self._agenda[0][0] <= now():
                due, proxy = heapq.heappop(self._agenda)
                held = self._held.get(proxy)
                if held is not None and held.renew_at == due:
                    self._renew(proxy, held)
                    await asyncio.sleep(0)  # streams go on between any two
            wait = _LONGEST_WAIT
            if self._agenda:
                wait = min(wait, max(0.0, (self._agenda[0][0] - now()).total_seconds()))
            self._changed.clear()
            # Not wait_for, which loses a cancellation that comes together with what it waits for.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def _renew(self, proxy: str, held: _Held) -> None:
        if _key(proxy) not in self._mesh().proxies:
            self._held.pop(proxy, None)
            return
        try:
            self._issue(proxy)
        except (StateError, AuthorityError, OSError) as error:
            # A disk that is full now may not be so later; what is good until then stays in use.
            _log.error("cannot renew the certificate of %s: %s", proxy, error)  # not our bug
            self._plan(proxy, replace(held, renew_at=now() + _RETRY))
            return
        _log.info("renewed the certificate of %s", proxy)
        if self.on_renewed is not None:
            self.on_renewed(proxy)

    def _issue(self, proxy: str) -> None:
        mesh = self._mesh()
        identity = mesh.proxies[_key(proxy)].identity
        lifetime = timedelta(seconds=mesh.certificate_lifetime)
        moment = now()
        # Asked for each time: another root may issue by now.
        root = self._state.issuing_root
        svid = self._state.authority(moment).issue(identity.spiffe_id, lifetime, moment)
        secret = encoded(identity_secret(svid))
        self._ends[proxy] = svid.not_after
        issued = Issued(secret.version, root, svid.not_after)
        self._plan(proxy, _Held(issued, renew_at(svid, random.random())))  # noqa: S311  # spreads load, hides nothing
        self._store.set_own(proxy, (secret,))

    def _plan(self, proxy: str, held: _Held) -> None:
        self._held[proxy] = held
        if len(self._agenda) > _CROWDED + 2 * len(self._held):
            # What was planned for proxies that have left, or come again.
            self._agenda = [(each.renew_at, name) for name, each in self._held.items()]
            heapq.heapify(self._agenda)
        else:
            heapq.heappush(self._agenda, (held.renew_at, proxy))
        self._changed.set()


def _key(proxy: str) -> WorkloadKey:
    namespace, _, name = proxy.partition("/")
    return WorkloadKey(namespace, name)
