"""What a client asked for, of one type on one stream: the wildcard rules, as a pure state machine.

In: the names of a request. Out: which of them must be answered. Knows no resources and no responses.

From the protocol text ("How the client specifies what resources to return"):

- ``*`` is the wildcard. Names may stand beside it.
- Legacy: a client that never named anything for a type, and asks, means the wildcard. That holds for LDS and CDS
  only: Envoy re-requests every type on reconnect, also those it wants nothing of.
- Once anything was named (``*`` included), nothing means nothing, for the rest of the stream.
- The empty name is a name like any other, and nobody's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from xds.names import NameSet

WILDCARD = "*"
MAX_NAMES = 30_000
"""Names one client may hold of one type: three for each of 10,000 services, of which Envoy takes half a minute to be
ready. Beyond, it is refused: 100,000 names that do not exist took two seconds in which nobody else was served.
"""


MAX_NAME_LENGTH = 1024
"""Characters; more than two names of Kubernetes and what stands around them."""


class TooManyNames(Exception):  # noqa: N818  # a limit, reads as one
    """The client named more than ``MAX_NAMES`` resources of one type, or a name is no name of any resource."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request asks for anew: names to answer, and whether the wildcard is to be answered in full.

    ``fewer``: the client may have given something up.
    """

    names: Collection[str] = ()
    everything: bool = False
    fewer: bool = False


NOTHING_NEW = Demand()


@dataclass(slots=True)
class Subscription:
    """The subscription of one type on one stream; ``legacy`` until something is named."""

    legacy: bool
    wildcard: bool = False
    names: NameSet = field(default_factory=NameSet)
    requested: bool = False

    def covers(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def covers_all(self, names: Collection[str]) -> bool:
        return self.wildcard or self.names.has_all(names)

    def replace(self, requested: Iterable[str]) -> Demand:
        """SotW: every request carries the whole list. Only what was not asked for before needs an answer."""
        names = dict.fromkeys(requested)
        had_wildcard, self.requested = self.wildcard, True
        if names:
            self.legacy = False
        self.wildcard = self.legacy or WILDCARD in names
        names.pop(WILDCARD, None)
        # In SotW there is no way to say that the empty name does not exist, so it is not worth remembering.
        names.pop("", None)
        added = [name for name in names if name not in self.names]
        fewer = len(names) < len(self.names) + len(added)
        gone = [name for name in self.names if name not in names] if fewer else ()
        if added or fewer:
            self._change(added, gone)
        return Demand(added, self.wildcard and not had_wildcard, fewer or (had_wildcard and not self.wildcard))

    def update(self, subscribe: Iterable[str], unsubscribe: Iterable[str]) -> Demand:
        """Delta: subscribe first, then unsubscribe (the order go-control-plane uses; Envoy never sends both).

        Every subscribed name is answered, known or not; so is a name unsubscribed while the wildcard is on, because
        the client no longer knows whether the wildcard holds it.
        """
        added, removed = dict.fromkeys(subscribe), dict.fromkeys(unsubscribe)
        first, self.requested = not self.requested, True
        if not (first or added or removed):
            return NOTHING_NEW
        everything = False
        if added:
            self.legacy = False
        elif first and self.legacy:
            self.wildcard = everything = True
        if WILDCARD in added:
            self.wildcard = everything = True
        if WILDCARD in removed:
            self.wildcard = everything = False
            self.legacy = False
        fewer = bool(removed)
        for names in (added, removed):
            names.pop(WILDCARD, None)
        self._change(added, removed)
        for name in removed:
            added.pop(name, None)
            if self.wildcard:
                added[name] = None
        return Demand(added, everything, fewer)

    def _change(self, add: Collection[str], remove: Collection[str]) -> None:
        if add or remove:
            if max(map(len, add), default=0) > MAX_NAME_LENGTH:
                raise TooManyNames
            self.names.change(add, remove)
            if len(self.names) > MAX_NAMES:
                raise TooManyNames
