"""Which connected proxies have acknowledged what a rotation of the root gave them.

In: connects, disconnects, and that a proxy has accepted something. Out: sets of proxies. Each event costs one look at
one proxy, and outside of a rotation nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ca.rotation import Phase
from ca.secrets import IDENTITY, TRUST
from ca.state import CaState
from deploy.identities import Identities
from deploy.trust import Trust
from xds.resource import TypeUrl
from xds.status import ProxyStatus


class Acknowledgements:
    """``streams`` gives the open streams of a proxy.

    ``trusting`` and ``moved`` are as in `ca.rotation.Observed`. Who is in them stays there through the phase, connected
    or not: a running Envoy keeps what it has acknowledged, and one that starts asks before it takes part.
    """

    def __init__(
        self, state: CaState, identities: Identities, trust: Trust, streams: Callable[[str], Iterable[ProxyStatus]]
    ) -> None:
        self._state = state
        self._identities = identities
        self._trust = trust
        self._streams = streams
        self.connected: set[str] = set()
        self.trusting: set[str] = set()
        self.moved: set[str] = set()
        self.missing: set[str] = set()
        """Connected proxies that the next step waits for; empty outside of a rotation."""

    def enter(self, proxy: str) -> None:
        """A proxy has connected."""
        self.connected.add(proxy)
        if self._state.phase is not Phase.STABLE and not self._done(proxy):
            self.missing.add(proxy)

    def leave(self, proxy: str) -> None:
        """The last stream of a proxy has ended."""
        self.connected.discard(proxy)
        self.missing.discard(proxy)

    def begin(self, *, same_roots: bool) -> None:
        """A phase has begun. ``same_roots``: those that are trusted have not changed."""
        if not same_roots:
            self.trusting.clear()
        self.moved.clear()
        self.missing = set() if self._state.phase is Phase.STABLE else set(self.connected)
        self.look_again()

    def look_again(self) -> None:
        """Look at all that are missing: something about them may have changed without a word."""
        for proxy in tuple(self.missing):
            self.look(proxy)

    def look(self, proxy: str) -> bool:
        """See what a proxy has acknowledged by now. Whether it is missing no more since this look."""
        if proxy not in self.missing:
            return False
        streams = tuple(self._streams(proxy))
        if not streams:
            return False
        if proxy not in self.trusting and all(map(self._trusts, streams)):
            self.trusting.add(proxy)
        if self._state.phase is Phase.ACTIVATED and all(self._has_moved(proxy, each) for each in streams):
            self.moved.add(proxy)
        if not self._done(proxy):
            return False
        self.missing.discard(proxy)
        return True

    def _done(self, proxy: str) -> bool:
        return proxy in self.trusting and (self._state.phase is not Phase.ACTIVATED or proxy in self.moved)

    def _trusts(self, stream: ProxyStatus) -> bool:
        holding = stream.holding(TypeUrl.SECRET, TRUST)
        # Without peers that it must believe, a proxy does not ask; if it does one day, it gets what is right then.
        return stream.begun if holding is None else self._trust.is_present(holding.acked)

    def _has_moved(self, proxy: str, stream: ProxyStatus) -> bool:
        issued = self._identities.issued(proxy)
        if issued is None or issued.root != self._state.issuing_root:
            return False
        holding = stream.holding(TypeUrl.SECRET, IDENTITY)
        return stream.begun if holding is None else holding.acked == issued.version
