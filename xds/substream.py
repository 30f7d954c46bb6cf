"""One type on one stream: what the client holds, as far as it differs from what it should hold.

In: demands of requests, changes of the view, answers of the client; time as an argument. Out: batches to send.

The client's state is not copied. What a client holds of a name is what its view says, unless the name is in one of
four small dictionaries:

- ``pending``: changed or asked for, to be settled by the next ``collect``
- ``leaving``: gone from the view, but the client may not know yet (see ``policy.Removal``)
- ``held``:    rejected by this client (see ``quarantine``)
- ``unacked``: sent, not yet answered

so a proxy in agreement costs next to nothing however much it sees, and changes merge by themselves: what changes
twice is pending once.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from operator import attrgetter
from typing import Final, Protocol

from xds.ledger import ASKED, DRAIN, GRACE, UNASKED, Batch, Gate, Leaving, Pending
from xds.placeholder import placeholder
from xds.policy import Missing, Removal, policy_of
from xds.quarantine import Held, backoff, blamed
from xds.resource import Resource
from xds.subscription import Demand, Subscription
from xds.view import Change, Listing

MAX_UNACKED = 64
"""Responses of one type remembered for a client that answers none; older ones count as accepted."""
_NO_VERSIONS: Final[Mapping[str, str]] = {}
_in_order = attrgetter("rank", "name")


class World(Protocol):
    """What the proxy of a stream sees, always current."""

    def lookup(self, type_url: str, name: str) -> Resource | None: ...

    def listing(self, type_url: str) -> Listing: ...


class SubStream:
    """See the module. ``delta``: which variant the client speaks; SotW cannot say that a name is gone.

    ``prefix`` is what begins every response.
    """

    __slots__ = (
        "_brought",
        "_changed_at",
        "_delta",
        "_everything",
        "_initial",
        "_world",
        "held",
        "last_nonce",
        "leaving",
        "new_gate",
        "pending",
        "policy",
        "prefix",
        "subscription",
        "type_url",
        "unacked",
    )

    def __init__(self, type_url: str, world: World, *, delta: bool, prefix: bytes) -> None:
        self.type_url = type_url
        self.prefix = prefix
        self.policy = policy_of(type_url)
        self.subscription = Subscription(legacy=self.policy.legacy_wildcard)
        self.pending: dict[str, Pending] = {}
        self.leaving: dict[str, Leaving] = {}
        self.held: dict[str, Held] = {}
        self.unacked: dict[str, Batch] = {}
        self.last_nonce = ""
        self.new_gate: Gate | None = None
        self._world = world
        self._delta = delta
        self._everything = False
        self._initial: Mapping[str, str] = _NO_VERSIONS
        self._brought: dict[str, Resource] | None = None
        self._changed_at: float | None = None

    def lookup(self, name: str) -> Resource | None:
        return self._world.lookup(self.type_url, name)

    def _answer_to(self, name: str) -> Resource | None:
        """What a client that asks for a name gets: the resource or its placeholder; None where there is neither."""
        return self.lookup(name) or placeholder(self.type_url, name)

    # -- what happens

    def demand(self, demand: Demand, initial: Mapping[str, str]) -> None:
        """The subscription has changed. ``initial``: versions a delta client reports in its first request."""
        brought, self._brought = self._brought, None
        if demand.fewer and not self.subscription.wildcard:
            self._everything = False
            for names in (self.pending, self.leaving, self.held):
                for name in [name for name in names if name not in self.subscription.names]:
                    del names[name]
        if demand.everything:
            self._everything = True
            self._initial = initial or self._initial
        if not (initial or brought or self.leaving or self.held):
            self.pending.update(dict.fromkeys(demand.names, ASKED))
            return
        for name in demand.names:
            if brought and name in brought and brought[name] is self.lookup(name):
                continue
            if not self._spared(name, initial):
                left, held = self.leaving.pop(name, None), self.held.pop(name, None)
                base = left.base if left else held.previous if held else None
                self.pending[name] = ASKED if base is None else Pending(base, asked=True)

    def foresee(self, names: Iterable[str]) -> None:
        """The client subscribes to names, and has not answered yet the response that brings some of them unasked.

        It answers when it has taken a response in, so it takes this one in with the subscription in force, and needs
        no second copy. Had it answered before it asked, it may have dropped what it did not want yet.
        """
        under_way = [batch.unasked for batch in self.unacked.values() if batch.unasked]
        if under_way:
            brought = {name: unasked.pop(name) for name in names for unasked in under_way if name in unasked}
            self._brought = {**(self._brought or {}), **brought}

    def _spared(self, name: str, initial: Mapping[str, str]) -> bool:
        """Whether a client that reports its versions need not be told about a name it asks for."""
        if name not in initial or not (self.policy.trusts_versions or self.policy.removal is Removal.NEVER):
            return False
        current = self._answer_to(name)
        if current is None:
            # Saying "removed" breaks what may use it; the client keeps what it has until it unsubscribes.
            return self.policy.removal is Removal.NEVER
        return self.policy.trusts_versions and initial[name] == current.version

    def owe(self, owed: dict[str, Pending], now: float) -> bool:
        """Note down what several changes make due, if the client is subscribed to all of it and nothing stands in
        the way. Whether that was so; otherwise each change must be offered.
        """
        if self.held or self.leaving or not self.subscription.covers_all(owed):
            return False
        # What was due before stays as it was: its base is what the client holds.
        self.pending = {**owed, **self.pending} if self.pending else dict(owed)
        if self._changed_at is None:
            self._changed_at = now
        return True

    def offer(self, change: Change, now: float) -> None:
        """Something in the view has changed."""
        name = change.name
        if not self.subscription.covers(name):
            return
        held = self.held.get(name)
        if held is not None:
            if change.new is not None and change.new.version == held.version:
                return
            del self.held[name]
            self.pending[name] = Pending(held.previous, unsure=True)
        elif name in self.leaving:
            left = self.leaving.pop(name)
            self.pending[name] = Pending(left.base, unsure=left.base is None)
        elif name not in self.pending:
            self.pending[name] = Pending(change.old)
        if self._changed_at is None:
            self._changed_at = now

    def resend(self, name: str) -> None:
        """Send a name although it has not changed, unless the client rejects it anyway.

        It need not be subscribed to yet. The endpoints of a new cluster follow it unasked: were they to wait for the
        question, routes to the cluster would arrive while it warms, and answer 503.
        """
        if name not in self.held and name not in self.pending:
            left = self.leaving.pop(name, None)
            if left is not None:
                self.pending[name] = Pending(left.base, asked=True)
            else:
                covered = self.subscription.covers(name)
                self.pending[name] = Pending(self.lookup(name), asked=True) if covered else UNASKED

    def _unclaimed(self, name: str) -> bool:
        return self.subscription.covers(name) and name not in self.held and name not in self.pending

    def sent(self, nonce: str, batch: Batch) -> list[str]:
        """A batch is on its way under a nonce. Returns the nonces whose answer is not waited for any more."""
        self.last_nonce = nonce
        self.unacked[nonce] = batch
        if len(self.unacked) <= MAX_UNACKED:
            return []
        forgotten = list(self.unacked)[:-MAX_UNACKED]
        for old in forgotten:
            del self.unacked[old]
        return forgotten

    def acknowledge(self, nonce: str) -> Batch | None:
        """The client has accepted a response; None when the nonce is none that waits for an answer."""
        batch = self.unacked.pop(nonce, None)
        if batch is not None and self.held:
            for resource in batch.resources:
                held = self.held.get(resource.name)
                if held is not None and held.version == resource.version:
                    del self.held[resource.name]
        return batch

    def reject(self, nonce: str, message: str, now: float) -> tuple[str, ...]:
        """The client has rejected a response. Returns the names held responsible.

        Types whose good parts are applied all the same need nothing more; of the others, what is not to blame is
        sent again without the rest.
        """
        self._brought = None
        batch = self.unacked.pop(nonce, None)
        if batch is None:
            return ()
        suspects = {resource.name: resource for resource in batch.resources if batch.is_new(resource)}
        guilty = blamed(message, suspects) or set(suspects)
        for name, resource in suspects.items():
            previous = batch.bases.get(name)
            if name in guilty:
                self._hold(resource, previous, now)
            elif not self.policy.applies_parts and self._unclaimed(name):
                self.pending[name] = Pending(previous, unsure=True)
        return tuple(sorted(guilty))

    def _hold(self, rejected: Resource, previous: Resource | None, now: float) -> None:
        name = rejected.name
        for later in self.unacked.values():
            later.rebase(rejected, previous)
        if name in self.pending:
            self.pending[name] = Pending(previous, self.pending[name].asked, unsure=True)
        elif name in self.leaving:
            self.leaving[name].base = previous
        elif self.subscription.covers(name):
            current = self._answer_to(name)
            if current is not None and current.version == rejected.version:
                known = self.held.get(name)
                attempts = 1 if known is None else known.attempts + 1
                self.held[name] = Held(rejected.version, previous, attempts, now + backoff(attempts))

    # -- what is to be sent

    @property
    def quiet(self) -> bool:
        """Whether ``collect`` would have nothing to say, now and later."""
        return not (self.pending or self._everything or self.leaving or self.held)

    def collect(self, now: float, outstanding: Container[str]) -> list[Batch]:
        """What to send now. ``outstanding``: the nonces of the whole stream that wait for an answer."""
        resources: list[Resource] = []
        removed: list[str] = []
        batch = Batch(resources, removed=removed, changed_at=self._changed_at)
        listing = self._world.listing(self.type_url) if self._everything else None
        whole = False
        if listing is not None:
            self._greet(listing, now, resources, removed)
        whole = listing is not None and len(resources) == len(listing)
        if self.pending:
            self._settle(now, batch, resources, removed)
        if self.leaving:
            self._let_go(now, outstanding, resources, removed)
        alone = self._retry(now, resources, batch.bases, heal=bool(removed)) if self.held else []
        if listing is not None and whole and len(resources) == len(listing):
            batch.resources = batch.listing = listing
        elif len(resources) > 1:
            resources.sort(key=_in_order)
        removed.sort()
        answer_nothing, self._everything, self._changed_at = self._everything, False, None
        return [batch, *alone] if resources or removed or answer_nothing else alone

    def _settle(self, now: float, batch: Batch, resources: list[Resource], removed: list[str]) -> None:
        """Settle the pending names."""
        lookup, type_url = self._world.lookup, self.type_url
        for name, entry in self.pending.items():
            current, base = lookup(type_url, name), entry.base
            if current is None:
                self._miss(name, entry, now, resources, removed)
            elif entry.asked or entry.unsure or base is None or base.version != current.version:
                resources.append(current)
                if base is not None:
                    batch.bases[name] = base
                elif entry is UNASKED:
                    batch.unasked[name] = current
        self.pending.clear()

    def _greet(self, listing: Listing, now: float, resources: list[Resource], removed: list[str]) -> None:
        """Everything, to a client that has just asked for the wildcard, less what it reports to have."""
        initial, self._initial = self._initial, _NO_VERSIONS
        self.held.clear()
        names = {resource.name for resource in listing}
        for name in names:
            self.pending.pop(name, None)
        trusted = initial if self.policy.trusts_versions else {}
        resources.extend(each for each in listing if trusted.get(each.name) != each.version)
        for name in initial:
            entry = self.pending.get(name)
            if name in names or (entry is not None and entry.asked):
                continue
            if self.policy.removal is Removal.AT_ONCE:
                self.pending.pop(name, None)
                removed.append(name)
            elif self.policy.removal is Removal.AFTER_USERS:
                self.pending.pop(name, None)
                # Its users may not have been told yet on this stream, so there is no answer to wait for.
                self.leaving[name] = Leaving(None, Gate(now + GRACE))

    def _miss(self, name: str, entry: Pending, now: float, resources: list[Resource], removed: list[str]) -> None:
        """Settle a name that is not in the view."""
        if entry.asked:
            stand_in = placeholder(self.type_url, name)
            if stand_in is not None:
                resources.append(stand_in)
            elif self.policy.missing is not Missing.SILENCE:
                removed.append(name)
        elif entry.base is None and not entry.unsure:
            return
        elif self.policy.removal is Removal.AT_ONCE:
            removed.append(name)
        elif self.policy.removal is Removal.AFTER_USERS:
            self.new_gate = self.new_gate or Gate(now + GRACE)
            self.leaving[name] = Leaving(entry.base, self.new_gate)
        elif self.policy.removal is Removal.PLACEHOLDER:
            self.leaving[name] = Leaving(entry.base, Gate(now + DRAIN))

    def _let_go(self, now: float, outstanding: Container[str], resources: list[Resource], removed: list[str]) -> None:
        """Settle the names whose waiting is over."""
        for name in [name for name, left in self.leaving.items() if left.gate.is_open(now, outstanding)]:
            del self.leaving[name]
            stand_in = placeholder(self.type_url, name)
            if stand_in is not None:
                resources.append(stand_in)
            else:
                removed.append(name)

    def _retry(self, now: float, resources: list[Resource], bases: dict[str, Resource], *, heal: bool) -> list[Batch]:
        """Try held resources again: all of them, in this response, when something else goes away (it may have been
        in their way); else those whose time has come, each in a response of its own, so that one does not drag the
        others down. In SotW a response holds the whole type, so there they go one after the other.
        """
        due = [name for name, held in self.held.items() if held.retry_at is not None and (heal or now >= held.retry_at)]
        together = heal or self._in_turn
        if self._in_turn and not heal:
            due = [] if self._trying else sorted(due, key=lambda name: self.held[name].retry_at or 0.0)[:1]
        alone = []
        for name in due:
            current, held = self._answer_to(name), self.held[name]
            if current is None:
                continue
            held.retry_at = None
            own_bases = {} if held.previous is None else {name: held.previous}
            if together:
                resources.append(current)
                bases.update(own_bases)
            else:
                alone.append(Batch([current], own_bases))
        return alone

    @property
    def _in_turn(self) -> bool:
        """Whether a response always holds everything, so that rejected resources cannot be told apart in one."""
        return self.policy.full_state and not self._delta

    @property
    def _trying(self) -> bool:
        """Whether a rejected resource is out for another try."""
        return bool(self.unacked) and any(held.retry_at is None for held in self.held.values())

    def full_state(self) -> Listing:
        """All the client shall hold, for a SotW response: held resources in their previous form, and what leaves."""
        held = {name: entry.previous for name, entry in self.held.items() if entry.retry_at is not None}
        if self.subscription.wildcard and not held and not self.leaving:
            return self._world.listing(self.type_url)
        if self.subscription.wildcard:
            content: dict[str, Resource | None] = {each.name: each for each in self._world.listing(self.type_url)}
        else:
            content = {name: self.lookup(name) for name in self.subscription.names}
        content.update((name, left.base) for name, left in self.leaving.items())
        content.update(held)
        return Listing.of(each for each in content.values() if each is not None)

    def deadline(self) -> float | None:
        """When ``collect`` will have something to say without anything happening before."""
        times = [left.gate.deadline for left in self.leaving.values()]
        if not (self._in_turn and self._trying):
            times += [held.retry_at for held in self.held.values() if held.retry_at is not None]
        return min(times, default=None)

    @property
    def settled(self) -> bool:
        """Whether the client has accepted all that its view says; what it may lose later on does not count."""
        return not (self._everything or self.pending or self.held or self.unacked)
