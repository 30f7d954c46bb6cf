"""The rule of rotation: by example, and in meshes that live through years of accidents."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.authority import ROOT_LIFETIME
from ca.rotation import ROOT_RENEWAL, Observed, Phase, Reason, RootLife, RotationState, Step, next_step, waits
from tests.unit.ca.simulated_mesh import NAMES, NEXT, START, SimulatedMesh, settle, wander

HOUR = timedelta(hours=1)
OLD, NEW = RootLife("old", START + ROOT_LIFETIME), RootLife("new", START + 2 * ROOT_LIFETIME)
STABLE = RotationState(Phase.STABLE, OLD, None, START)
PREPARED = RotationState(Phase.PREPARED, OLD, NEW, START, old_leaves_end=START + HOUR)
ACTIVATED = replace(PREPARED, phase=Phase.ACTIVATED)


def seen(connected: str = "", trusting: str = "", moved: str = "", absent: str = "") -> Observed:
    """Each letter is a proxy; the absent ones hold a leaf for another hour."""
    return Observed(frozenset(connected), frozenset(trusting), frozenset(moved), dict.fromkeys(absent, START + HOUR))


@pytest.mark.parametrize(
    ("state", "observed", "step"),
    [
        (STABLE, seen("ab"), None),
        (replace(STABLE, requested=True), seen("ab"), Step.BEGIN),
        (PREPARED, seen("ab", "ab"), Step.ACTIVATE),
        (PREPARED, seen("ab", "a"), None),
        (PREPARED, seen("ab", ""), None),
        (PREPARED, seen(), Step.ACTIVATE),
        (PREPARED, seen("a", "a", absent="b"), None),  # it runs on, and would refuse new leaves
        (PREPARED, seen("a", "ab", absent="b"), Step.ACTIVATE),  # it acknowledged before it left
        (replace(PREPARED, old_leaves_end=None), seen("a", "a", absent="b"), Step.ACTIVATE),
        (ACTIVATED, seen("ab", "ab", "ab"), Step.RETIRE),
        (ACTIVATED, seen("ab", "ab", "a"), None),
        (ACTIVATED, seen("ab", "a", "ab"), None),
        (ACTIVATED, seen("a", "a", "a", absent="b"), None),
        (ACTIVATED, seen("a", "ab", "ab", absent="b"), Step.RETIRE),
        (ACTIVATED, seen("a", "ab", "a", absent="b"), None),
        (ACTIVATED, seen(), Step.RETIRE),
    ],
)
def test_what_each_step_waits_for(state: RotationState, observed: Observed, step: Step | None) -> None:
    assert next_step(replace(state, observed=observed), START) is step
    if observed.absent and step is None:
        # When the leaves of those who are away have ended, they hold nobody up any more.
        missing = waits(replace(state, observed=observed), START + HOUR)
        assert all(wait.reason is not Reason.ABSENT for wait in missing)


def test_a_shorter_life_than_that_of_all_leaves_counts() -> None:
    state = replace(PREPARED, old_leaves_end=START + 9 * HOUR, observed=seen("a", "a", absent="b"))
    assert waits(state, START)[0].until == START + HOUR
    assert next_step(state, START + HOUR) is Step.ACTIVATE
    state = replace(state, old_leaves_end=START + HOUR / 2)
    assert next_step(state, START + HOUR / 2) is Step.ACTIVATE


def test_waits_name_the_proxies() -> None:
    state = replace(ACTIVATED, observed=seen("cdab", "cab", "cb", absent="xy"))
    assert [(wait.reason, wait.proxies, wait.until) for wait in waits(state, START)] == [
        (Reason.BUNDLE, ("d",), None),
        (Reason.IDENTITY, ("a", "d"), None),
        (Reason.ABSENT, ("x", "y"), START + HOUR),
    ]
    assert [str(wait) for wait in waits(state, START)] == [
        "1 proxy (d) to acknowledge the new trust bundle",
        "2 proxies (a, d) to acknowledge a certificate of the new root",
        f"2 proxies (x, y) to connect, or for their certificates to end at {START + HOUR}",
    ]
    (many,) = waits(replace(PREPARED, observed=seen("abcdefg")), START)
    assert str(many) == "7 proxies (a, b, c, d, e, ...) to acknowledge the new trust bundle"


def test_a_rotation_begins_by_itself_in_the_last_fifth() -> None:
    due = OLD.ends - ROOT_RENEWAL
    assert ROOT_RENEWAL * 5 == ROOT_LIFETIME
    assert next_step(STABLE, due) is None
    (wait,) = waits(STABLE, due)
    assert (wait.reason, wait.until) == (Reason.NOT_DUE, due)
    assert next_step(STABLE, due + timedelta(seconds=1)) is Step.BEGIN


def test_with_an_offline_key_only_a_person_begins() -> None:
    offline = replace(STABLE, root=replace(OLD, offline=True))
    assert next_step(offline, OLD.ends - HOUR) is None
    assert next_step(replace(offline, requested=True), START) is Step.BEGIN


@pytest.mark.parametrize("state", [PREPARED, ACTIVATED])
def test_nothing_is_waited_for_when_the_old_root_has_ended(state: RotationState) -> None:
    stuck = replace(state, observed=seen("ab"))
    assert next_step(stuck, OLD.ends - timedelta(seconds=1)) is None
    assert next_step(stuck, OLD.ends) is not None


LIFETIMES = st.sampled_from([timedelta(minutes=1), timedelta(hours=24), timedelta(days=90)])


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), lifetime=LIFETIMES, offline=st.booleans())
def test_years_of_accidents(seed: int, lifetime: timedelta, offline: bool) -> None:
    source = random.Random(seed)
    mesh = SimulatedMesh(lifetime, offline)
    for _ in range(400):
        wander(mesh, source, longest=lifetime * source.choice([0.1, 1, 4]))
    mesh.requested = True
    before = mesh.made
    settle(mesh)
    mesh.renew()
    settle(mesh)
    assert mesh.phase is Phase.STABLE
    assert not mesh.requested
    assert mesh.made == mesh.history.count(Phase.PREPARED) + 1 > before
    assert len(mesh.roots) == 1
    for proxy in mesh.proxies.values():
        assert proxy.trusts == {mesh.roots[0].id}
        assert proxy.leaf is not None
        assert proxy.leaf.root == mesh.roots[0].id
    # No step was left out, and none went back.
    assert all(later is NEXT[earlier] for earlier, later in zip(mesh.history, mesh.history[1:], strict=False))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.lists(st.timedeltas(timedelta(days=-900), timedelta(days=900)), max_size=4))
def test_clock_steps_lose_nobody_who_is_connected(seed: int, steps: list[timedelta]) -> None:
    source = random.Random(seed)
    mesh = SimulatedMesh(timedelta(hours=24))
    settle(mesh)
    mesh.requested = True
    for step in steps:
        mesh.now += step
        for _ in range(40):
            # Nobody is killed or cut off here: what is connected and acknowledges must come through.
            mesh.now += timedelta(minutes=source.randint(0, 60))
            mesh.acknowledge(source.choice(NAMES))
            mesh.renew()
            mesh.drive()
            mesh.check()
    settle(mesh)
    assert mesh.phase is Phase.STABLE


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_roots_never_end_while_they_issue(seed: int) -> None:
    source = random.Random(seed)
    mesh = SimulatedMesh(timedelta(hours=24))
    settle(mesh)
    for _ in range(60):  # a century, looked at every other year or so
        mesh.now += timedelta(days=source.randint(1, 700))
        mesh.renew()
        settle(mesh)
        assert mesh.now < mesh.issuing.ends - ROOT_RENEWAL + timedelta(days=1)
    assert mesh.made >= 60 * 350 / 3650 / 2
