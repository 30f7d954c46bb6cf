"""The entries of a sub-stream's books: what is owed, going, and on its way to one client. See ``substream``."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field

from xds.resource import Resource
from xds.view import Listing

GRACE = 5.0
"""Seconds a removal waits at most for an answer."""
DRAIN = 65.0
"""Seconds that connections of a listener that was changed or removed may go on: Envoy's drain time, which the sidecar
launcher sets to 60, and a little. What they use must stay for as long, or they answer 503 and 403 meanwhile."""
MAX_RESPONSE_BYTES = 1 << 20
"""Above this, responses are split where the protocol allows it."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A name to be settled with the next response.

    ``base`` is what the client holds; ``asked``: it must be answered, changed or not; ``unsure``: ``base`` is a
    guess, because a rejected response may have been applied in part.
    """

    base: Resource | None
    asked: bool = False
    unsure: bool = False


ASKED = Pending(None, asked=True)
"""What a client asks for that it does not hold."""
UNASKED = Pending(None, asked=True)
"""What a client is sent that it has not asked for yet."""


@dataclass(slots=True)
class Gate:
    """What removals wait for: an answer to each of ``nonces``, at most until ``deadline``.

    ``nonces`` is None while they are not known, and for removals that wait for time alone.
    """

    deadline: float
    nonces: frozenset[str] | None = None

    def is_open(self, now: float, outstanding: Container[str]) -> bool:
        if now >= self.deadline:
            return True
        return self.nonces is not None and not any(nonce in outstanding for nonce in self.nonces)


@dataclass(slots=True)
class Leaving:
    """A name that is gone from the view, and what the client still holds under it (None: unknown)."""

    base: Resource | None
    gate: Gate


@dataclass(slots=True)
class Batch:
    """What one response is about: new or changed resources, what they replace, and names that are gone.

    ``listing`` is set when ``resources`` is all there is of the type. ``changed_at`` is when the oldest of the
    changes arrived; None when the client asked for it all. ``unasked`` are resources that the client had not
    subscribed to when they were sent.
    """

    resources: Sequence[Resource] | Listing = ()
    bases: dict[str, Resource] = field(default_factory=dict)
    removed: Sequence[str] = ()
    listing: Listing | None = None
    changed_at: float | None = None
    unasked: dict[str, Resource] = field(default_factory=dict)

    def is_new(self, resource: Resource) -> bool:
        """Whether the client did not hold these very bytes before."""
        base = self.bases.get(resource.name)
        return base is None or base.version != resource.version

    def rebase(self, replaced: Resource, previous: Resource | None) -> None:
        """``replaced`` was rejected after all: the client held ``previous`` all the time."""
        if self.bases.get(replaced.name) is replaced:
            if previous is None:
                del self.bases[replaced.name]
            else:
                self.bases[replaced.name] = previous

    def split(self) -> Iterator[Batch]:
        """The same in parts of about ``MAX_RESPONSE_BYTES``; removed names go with the first."""
        if sum(len(each.body) for each in self.resources) <= MAX_RESPONSE_BYTES:
            yield self
            return
        part: list[Resource] = []
        size, removed = 0, self.removed
        for resource in self.resources:
            if part and size + len(resource.body) > MAX_RESPONSE_BYTES:
                yield self._part(part, removed)
                part, size, removed = [], 0, ()
            part.append(resource)
            size += len(resource.body)
        yield self._part(part, removed)

    def _part(self, resources: list[Resource], removed: Sequence[str]) -> Batch:
        unasked = {each.name: each for each in resources if each.name in self.unasked}
        return Batch(resources, self.bases, removed, changed_at=self.changed_at, unasked=unasked)
