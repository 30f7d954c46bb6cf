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

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

WILDCARD = "*"
MAX_NAMES = 200_000
"""Names one client may hold of one type; beyond, it is refused rather than served from ever more memory."""


class TooManyNames(Exception):  # noqa: N818  # a limit, reads as one
    """The client named more than ``MAX_NAMES`` resources of one type."""


@dataclass(slots=True)
class Demand:
    """What a request asks for anew: names to answer, and whether the wildcard is to be answered in full."""

    names: tuple[str, ...] = ()
    everything: bool = False


@dataclass(slots=True)
class Subscription:
    """The subscription of one type on one stream; ``legacy`` until something is named."""

    legacy: bool
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    requested: bool = False

    def covers(self, name: str) -> bool:
        return self.wildcard or name in self.names

    @property
    def empty(self) -> bool:
        return not self.wildcard and not self.names

    def replace(self, requested: Iterable[str]) -> Demand:
        """SotW: every request carries the whole list. Only what was not asked for before needs an answer."""
        names = {sys.intern(name) for name in requested}
        first, self.requested = not self.requested, True
        had_wildcard, had_names = self.wildcard, self.names
        if names:
            self.legacy = False
        self.wildcard = self.legacy or WILDCARD in names
        names.discard(WILDCARD)
        # In SotW there is no way to say that the empty name does not exist, so it is not worth remembering.
        names.discard("")
        self.names = names
        self._check_size()
        added = tuple(sorted(names if first else names - had_names))
        return Demand(added, everything=self.wildcard and not had_wildcard)

    def update(self, subscribe: Iterable[str], unsubscribe: Iterable[str]) -> Demand:
        """Delta: subscribe first, then unsubscribe (the order go-control-plane uses; Envoy never sends both).

        Every subscribed name is answered, known or not; so is a name unsubscribed while the wildcard is on, because
        the client no longer knows whether the wildcard holds it.
        """
        added = dict.fromkeys(map(sys.intern, subscribe))
        removed = dict.fromkeys(map(sys.intern, unsubscribe))
        first, self.requested = not self.requested, True
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
        for names in (added, removed):
            names.pop(WILDCARD, None)
        self.names.update(added)
        self.names.difference_update(removed)
        self._check_size()
        answers = dict.fromkeys(name for name in added if name not in removed)
        if self.wildcard:
            answers.update(removed)
        return Demand(tuple(answers), everything=everything)

    def _check_size(self) -> None:
        if len(self.names) > MAX_NAMES:
            raise TooManyNames
