"""Any sequence of changes, requests and answers: after quiet, the client holds its view, and nobody says more."""

from __future__ import annotations

from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conformance.model import (
    CDS,
    ECDS,
    EDS,
    FULL_STATE,
    LDS,
    PROXY,
    RDS,
    SDS,
    DeltaModel,
    ModelClient,
    SotwModel,
    Wire,
    made,
)
from xds.resource import Resource, TypeUrl
from xds.store import ScopeChange, Store
from xds.view import View

NAMES = ("a", "a/b", "c")
NOTES = ("1", "2", "3")
types = st.sampled_from([CDS, EDS, SDS, ECDS, LDS, RDS])
scopes = st.sampled_from(["x", "y", "z"])
resources = st.builds(made, types, st.sampled_from(NAMES), st.sampled_from(NOTES))
keys = st.tuples(types, st.sampled_from(NAMES))
some_names = st.lists(st.sampled_from([*NAMES, "*", "missing"]), max_size=3, unique=True)
LONGEST_QUIET = 700.0


class Machine(RuleBasedStateMachine):
    client: ModelClient
    delta: bool
    notes: ClassVar = {made(url, name, note).version: note for url in TypeUrl for name in NAMES for note in NOTES}

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.store.set_view(PROXY, View(("x", "y")))
        self.wire = Wire(self.store, delta=self.delta)

    # -- the world

    @rule(
        changes=st.lists(
            st.builds(
                ScopeChange, scopes, st.lists(resources, max_size=3).map(tuple), st.lists(keys, max_size=2).map(tuple)
            ),
            min_size=1,
            max_size=2,
        )
    )
    def change(self, changes: list[ScopeChange]) -> None:
        self.store.apply(changes)

    @rule(scopes=st.lists(scopes, max_size=3))
    def view(self, scopes: list[str]) -> None:
        self.store.set_view(PROXY, View(tuple(scopes)))

    @rule(own=st.lists(resources, max_size=2))
    def own(self, own: list[Resource]) -> None:
        self.store.set_own(PROXY, tuple(own))

    # -- the client

    @rule(poisoned=resources, named=st.booleans())
    def poison(self, poisoned: Resource, named: bool) -> None:
        self.client.poison.add(poisoned.version)
        self.client.names_culprit = named

    @rule(after=st.sampled_from([0.0, 0.0, 0.0, 0.5, 2.0, 6.0]))
    def pump(self, after: float) -> None:
        self.client.pump(after)

    @precondition(lambda self: self.client.queue)
    @rule()
    def take(self) -> None:
        self.client.take()

    @rule()
    def quiet(self) -> None:
        self.settle()
        for type_url, holds in self.client.types.items():
            expected = self.client.expected(type_url)
            unpoisoned = {k: v for k, v in expected.items() if v not in self.client.poison}
            held = {k: v for k, v in holds.versions.items() if expected.get(k) not in self.client.poison}
            if type_url in FULL_STATE:
                assert held == unpoisoned, type_url
            else:
                assert unpoisoned.items() <= held.items(), type_url
        if not self.client.poison:
            assert self.wire.stream.settled
            assert self.wire.stream.deadline() is None
            assert self.client.pump(1000.0) == 0
            assert self.client.rejections == 0
            self.nothing_changes()
            assert self.client.pump(1000.0) == 0

    def nothing_changes(self) -> None:
        """What comes to nothing: equal bytes, an equal view, what is not in view, an answer to what was not sent."""
        record = self.store.record(PROXY)
        assert record.view is not None
        self.store.set_view(PROXY, View(tuple(record.view.scopes)))
        self.store.set_own(PROXY, tuple(each for of_type in record.own.values() for each in of_type.values()))
        for type_url in TypeUrl:
            for name in NAMES:
                found = record.lookup(type_url, name)
                if found is not None and found.name not in record.own.get(type_url, {}):
                    first = next(scope for scope in record.view.scopes if self.has(scope, found))
                    self.store.apply([ScopeChange(first, (made(type_url, name, self.notes[found.version]),))])
        self.store.apply([ScopeChange("elsewhere", (made(CDS, "a", "1"), made(LDS, "a", "1")))])
        for type_url in self.client.types:
            if self.client.types[type_url].nonce:
                self.wire.request(type_url, response_nonce="stale")

    def has(self, scope: str, found: Resource) -> bool:
        probe = self.store.record("probe")
        self.store.set_view("probe", View((scope,)))
        return probe.lookup(found.type_url, found.name) is found

    def settle(self) -> None:
        """Until nothing is left to say, but for what the client rejects anyway."""
        spent = 0.0
        while spent < LONGEST_QUIET:
            responses = 0
            while self.client.pump() or self.client.queue:
                responses += 1
                assert responses < 60, "a loop without time passing"
                while self.client.queue:
                    self.client.take()
            due = self.wire.stream.deadline()
            if due is None:
                return
            step = max(0.0, due - self.wire.now)
            spent += step
            self.wire.now += step


class DeltaMachine(Machine):
    delta = True

    @initialize(sub=st.dictionaries(types, some_names, max_size=6))
    def begin(self, sub: dict[TypeUrl, list[str]]) -> None:
        self.client: Any = DeltaModel(self.wire)
        for type_url, wanted in sub.items():
            self.client.update(type_url, wanted)

    @rule(type_url=types, subscribe=some_names, unsubscribe=some_names, nonce=st.sampled_from(["", "stale"]))
    def update(self, type_url: TypeUrl, subscribe: list[str], unsubscribe: list[str], nonce: str) -> None:
        self.client.update(type_url, subscribe, [each for each in unsubscribe if each not in subscribe], nonce)

    @rule()
    def reconnect(self) -> None:
        self.wire.close()
        self.wire = Wire(self.store, delta=True)
        self.client = self.client.reconnected(self.wire)

    @invariant()
    def everything_is_small(self) -> None:
        assert all(len(sub.unacked) <= 64 for sub in self.wire.stream.substreams.values())


class SotwMachine(Machine):
    delta = False

    @initialize(sub=st.dictionaries(types, some_names, max_size=6))
    def begin(self, sub: dict[TypeUrl, list[str]]) -> None:
        self.client: Any = SotwModel(self.wire)
        for type_url, wanted in sub.items():
            self.client.want(type_url, wanted)

    @rule(type_url=types, wanted=some_names)
    def want(self, type_url: TypeUrl, wanted: list[str]) -> None:
        self.client.want(type_url, wanted)

    @rule()
    def reconnect(self) -> None:
        self.wire.close()
        self.wire = Wire(self.store, delta=False)
        self.client = self.client.reconnected(self.wire)


_fast = settings(max_examples=300, stateful_step_count=30, deadline=None)
_long = settings(max_examples=1500, stateful_step_count=40, deadline=None)
TestDelta = DeltaMachine.TestCase
TestDelta.settings = _fast
TestSotw = SotwMachine.TestCase
TestSotw.settings = _fast


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", [DeltaMachine, SotwMachine])
def test_for_longer(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=_long)
