"""The outbound scopes in use and what is in them, kept current change by change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from smi.model import PortKey, Reach
from smi.resolve.reaches import ReachSpec

K = TypeVar("K")
T = TypeVar("T", bound=tuple[str, ...])
_EVERYWHERE = ""
"""The place of scopes that name none."""


class Least(Generic[T]):
    """A set that knows its least member. Only taking that one away costs a look at all others."""

    def __init__(self) -> None:
        self._members: set[T] = set()
        self._first: T | None = None

    def add(self, member: T) -> bool:
        """Whether it is the least now."""
        self._members.add(member)
        if self._first is None or member < self._first:
            self._first = member
            return True
        return False

    def discard(self, member: T) -> None:
        self._members.discard(member)
        if member == self._first:
            self._first = min(self._members, default=None)

    def first(self) -> T | None:
        """The least member; None where there is none."""
        return self._first


@dataclass(frozen=True, slots=True)
class ScopeShift:
    """How a scope has changed: the ports that entered or left it, and whether each was in it before."""

    transparent: bool
    frontends: Mapping[PortKey, bool]
    backends: Mapping[PortKey, bool]


@dataclass(eq=False, slots=True)
class Scope:
    """One outbound scope. `backends` counts the frontends that lead to each; `services` the ports of each."""

    spec: ReachSpec
    holders: int = 0
    frontends: set[PortKey] = field(default_factory=set)
    backends: dict[PortKey, int] = field(default_factory=dict)
    services: dict[tuple[str, str], int] = field(default_factory=dict)
    touched_frontends: dict[PortKey, bool] = field(default_factory=dict)
    touched_backends: dict[PortKey, bool] = field(default_factory=dict)

    def reach(self) -> Reach:
        """The scope as it is now."""
        return Reach(self.spec.name, self.spec.transparent, frozenset(self.frontends), frozenset(self.backends))

    def enter(self, frontend: PortKey) -> None:
        self.touched_frontends.setdefault(frontend, False)
        self.frontends.add(frontend)
        service = (frontend.namespace, frontend.service)
        self.services[service] = self.services.get(service, 0) + 1

    def leave(self, frontend: PortKey) -> None:
        self.touched_frontends.setdefault(frontend, True)
        self.frontends.discard(frontend)
        service = (frontend.namespace, frontend.service)
        self.services[service] -= 1
        if not self.services[service]:
            del self.services[service]

    def lead(self, backends: Iterable[PortKey]) -> None:
        for backend in backends:
            count = self.backends.get(backend, 0)
            if not count:
                self.touched_backends.setdefault(backend, False)
            self.backends[backend] = count + 1

    def mislead(self, backends: Iterable[PortKey]) -> None:
        for backend in backends:
            self.backends[backend] -= 1
            if not self.backends[backend]:
                self.touched_backends.setdefault(backend, True)
                del self.backends[backend]

    def drain(self) -> ScopeShift | None:
        """What has changed since the last call."""
        frontends = {key: was for key, was in self.touched_frontends.items() if was != (key in self.frontends)}
        backends = {key: was for key, was in self.touched_backends.items() if was != (key in self.backends)}
        self.touched_frontends.clear()
        self.touched_backends.clear()
        return ScopeShift(self.spec.transparent, frontends, backends) if frontends or backends else None


class Scopes:
    """All scopes in use. `leads` says of every frontend that exists which ports it leads to, itself included."""

    def __init__(self, leads: Mapping[PortKey, tuple[PortKey, ...]]) -> None:
        self.by_name: dict[str, Scope] = {}
        self.with_frontend: dict[PortKey, dict[str, None]] = {}
        """The names of the scopes that hold a frontend."""
        self.with_backend: dict[PortKey, dict[str, None]] = {}
        self._leads = leads
        self._by_namespace: dict[str, set[PortKey]] = {}
        self._by_place: dict[str, dict[str, None]] = {}
        self._by_port: dict[PortKey, dict[str, None]] = {}
        self._new: dict[str, None] = {}
        self._released: dict[str, None] = {}

    def hold(self, spec: ReachSpec) -> None:
        """One proxy more has this scope."""
        scope = self.by_name.get(spec.name)
        if scope is None:
            scope = self.by_name[spec.name] = Scope(spec)
            self._new[spec.name] = None
        scope.holders += 1

    def release(self, spec: ReachSpec) -> None:
        """One proxy less has it."""
        scope = self.by_name[spec.name]
        scope.holders -= 1
        if not scope.holders:
            self._released[spec.name] = None

    def settle(self, changed: Mapping[PortKey, tuple[PortKey, ...] | None]) -> dict[str, ScopeShift]:
        """Follow `changed`: what each of these frontends led to before. Gives what it does to each scope.

        A scope that nobody has any more has lost everything, and a new one has gained all it has.
        """
        touched = self._follow(changed) | self._new
        for name in self._new:
            self._fill(self.by_name[name])
        self._new.clear()
        shifts = {}
        for name in touched:
            shift = self.by_name[name].drain()
            if shift is not None:
                shifts[name] = shift
        for name in self._released:
            scope = self.by_name[name]
            if not scope.holders:
                shifts[name] = self._drop(scope, shifts.get(name))
        self._released.clear()
        for name, shift in shifts.items():
            _enlist(self.with_frontend, name, shift.frontends)
            _enlist(self.with_backend, name, shift.backends)
        return shifts

    def _follow(self, changed: Mapping[PortKey, tuple[PortKey, ...] | None]) -> dict[str, None]:
        """Take the changes into the scopes that are not new. Gives their names."""
        touched: dict[str, None] = {}
        for key, old in changed.items():
            new = self._leads.get(key)
            if old is None:
                self._by_namespace.setdefault(key.namespace, set()).add(key)
            elif new is None:
                self._by_namespace[key.namespace].discard(key)
            for name in self._names_with(key):
                touched[name] = None
                _follow(self.by_name[name], key, old, new)
        return touched

    def _names_with(self, key: PortKey) -> Iterable[str]:
        """The scopes that a frontend belongs to, new ones apart."""
        if not self._by_port and self._by_place.keys() == {_EVERYWHERE}:
            return self._by_place[_EVERYWHERE]
        found: dict[str, None] = {}
        for place in (_EVERYWHERE, key.namespace, f"{key.namespace}/{key.service}"):
            found.update(self._by_place.get(place, {}))
        found.update(self._by_port.get(key, {}))
        return found

    def _fill(self, scope: Scope) -> None:
        """Put everything into a new scope, and see to it that it hears of changes from now on."""
        spec = scope.spec
        if spec.ports is not None:
            frontends: Iterable[PortKey] = [key for key in spec.ports if key in self._leads]
            for port in spec.ports:
                self._by_port.setdefault(port, {})[spec.name] = None
        else:
            frontends = {key: None for place in spec.places for key in self._at(place)} if spec.places else self._leads
            for place in spec.places or (_EVERYWHERE,):
                self._by_place.setdefault(place, {})[spec.name] = None
        for key in frontends:
            scope.enter(key)
            scope.lead(self._leads[key])

    def _at(self, place: str) -> Iterable[PortKey]:
        namespace, slash, service = place.partition("/")
        keys = self._by_namespace.get(namespace, set())
        return [key for key in keys if key.service == service] if slash else keys

    def _drop(self, scope: Scope, last: ScopeShift | None) -> ScopeShift:
        """Take a scope out of use. What it gained in the end was never told to anybody."""
        spec = scope.spec
        del self.by_name[spec.name]
        if spec.ports is not None:
            for port in spec.ports:
                _forget(self._by_port, port, spec.name)
        else:
            for place in spec.places or (_EVERYWHERE,):
                _forget(self._by_place, place, spec.name)
        return ScopeShift(
            spec.transparent,
            _lost(scope.frontends, last.frontends if last else {}),
            _lost(scope.backends, last.backends if last else {}),
        )


def _follow(scope: Scope, key: PortKey, old: tuple[PortKey, ...] | None, new: tuple[PortKey, ...] | None) -> None:
    if old is None:
        scope.enter(key)
    scope.lead(new or ())
    scope.mislead(old or ())
    if new is None:
        scope.leave(key)


def _lost(held: Iterable[PortKey], shifted: Mapping[PortKey, bool]) -> dict[PortKey, bool]:
    """What a scope had before, given what it holds in the end and how that shifted."""
    had = dict.fromkeys((key for key in held if key not in shifted), True)
    return had | {key: True for key, was in shifted.items() if was}


def _enlist(table: dict[PortKey, dict[str, None]], name: str, shifted: Mapping[PortKey, bool]) -> None:
    """What was in the scope `name` is so no longer, what was not is in it now."""
    for key, was in shifted.items():
        if was:
            _forget(table, key, name)
        else:
            table.setdefault(key, {})[name] = None


def _forget(table: dict[K, dict[str, None]], key: K, name: str) -> None:
    table[key].pop(name, None)
    if not table[key]:
        del table[key]
