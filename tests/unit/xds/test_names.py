"""Sets of names: they behave as sets, share what they have in common, and stay cheap to change."""

from __future__ import annotations

import random
import sys
import tracemalloc
from collections.abc import Iterable

import hypothesis.strategies as st
import pytest
from hypothesis import given

from xds.names import NameSet, _pool

LETTERS = [f"name-{number}" for number in range(60)]


def made(names: Iterable[str]) -> NameSet:
    """A set of names that are strings of its own, as those of a request are."""
    new = NameSet()
    new.change(["".join(list(name)) for name in names], ())
    return new


some = st.lists(st.sampled_from(LETTERS), max_size=40)


@given(st.lists(st.tuples(some, some), max_size=8))
def test_it_is_a_set(steps: list[tuple[list[str], list[str]]]) -> None:
    names, model = NameSet(), set[str]()
    for add, remove in steps:
        names.change(add, remove)
        model = (model | set(add)) - set(remove)
        assert sorted(names) == sorted(model)
        assert len(names) == len(model)
        assert all((name in names) == (name in model) for name in LETTERS)


def cost_of(count: int, names: list[str], *, change: int) -> float:
    """Bytes each of so many sets takes, after each has changed by some names, at different times."""
    shuffled = random.Random(1)
    first = made(names)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        sets = [made(names[: len(names) - number % 10]) for number in range(count)]
        for step in range(change):
            shuffled.shuffle(sets)
            for each in sets:
                each.change([f"new-{step}"], [f"new-{step - 100}"])
        return (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()
        assert len(first) == len(names)


@pytest.mark.parametrize("change", [0, 20, 250])
def test_equal_and_nearly_equal_sets_cost_next_to_nothing(change: int) -> None:
    names = [f"service-{number}" for number in range(1000)]
    assert cost_of(100, names, change=change) < sys.getsizeof(set(names)) / 8


def test_changing_one_name_does_not_cost_all_names() -> None:
    """Steps, not seconds: how often all names are gone through while a thousand are added one by one."""
    names = made(f"service-{number}" for number in range(10_000))
    bases = {id(names._base)}
    kept = [names._base]
    for number in range(1000):
        names.change([f"new-{number}"], ())
        if id(names._base) not in bases:
            bases.add(id(names._base))
            kept.append(names._base)
    assert len(kept) <= 1 + 1000 * 64 / 10_000


def test_what_nobody_uses_is_gone() -> None:
    names = made(f"only-here-{number}" for number in range(100))
    key = hash(names._base)
    assert key in _pool._known
    del names
    assert key not in _pool._known
