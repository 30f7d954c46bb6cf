"""Random cases are interesting: about half of them are allowed, and every wrong reading is found out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from smi.index import MeshObjects
from tests.oracle.agreement import disagreement
from tests.oracle.calls import Call, Verdict
from tests.oracle.cases import Case, cases, objects_of
from tests.oracle.oracle import Oracle
from tests.oracle.wrong_readings import WRONG, PathIsSearched, TargetsLeak

MESHES, CALLS = 120, 25
"""As many as `make test` tries: what is found out here is found out there."""


@dataclass(frozen=True)
class Judged:
    objects: MeshObjects
    calls: tuple[Call, ...]
    verdicts: tuple[Verdict, ...]


class Known:
    """The same cases on every run, with the right verdicts; made when they are first asked for."""

    def __init__(self) -> None:
        self._cases = cases(0, MESHES, CALLS)
        self._made: list[Judged] = []

    def __iter__(self) -> Iterator[Judged]:
        yield from self._made
        for case in self._cases:
            self._made.append(_judged(case))
            yield self._made[-1]


def _judged(case: Case) -> Judged:
    objects = objects_of(case.documents)
    oracle = Oracle(objects)
    return Judged(objects, case.calls, tuple(oracle.decide(call) for call in case.calls))


@pytest.fixture(scope="module")
def known() -> Known:
    return Known()


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_wrong_reading_is_found_out(known: Known, wrong: type[Oracle]) -> None:
    for number, case in enumerate(known, 1):
        other = wrong(case.objects)
        if any(other.decide(call) != verdict for call, verdict in zip(case.calls, case.verdicts, strict=True)):
            print(f"{wrong.__name__}: found out by mesh {number}")  # noqa: T201
            return
    pytest.fail(f"{MESHES * CALLS} cases do not tell {wrong.__name__} from the right reading")


def test_calls_are_interesting(known: Known) -> None:
    found: Counter[str] = Counter()
    for case in known:
        for verdict in case.verdicts:
            answers = [each for places in verdict.endpoints.values() for each in places.values()]
            found["allowed"] += any(answers)
            found["denied"] += not all(answers)
            found["divided"] += len(verdict.shares) > 1
            found["failed"] += not answers
    tried = MESHES * CALLS
    assert 0.3 * tried < found["allowed"] < 0.7 * tried, found
    assert 0.3 * tried < found["denied"] < 0.7 * tried, found
    assert found["divided"] > 0.05 * tried, found
    assert found["failed"] < 0.2 * tried, found


@pytest.mark.parametrize("wrong", [PathIsSearched, TargetsLeak])
def test_a_disagreement_is_told_with_a_small_mesh_that_shows_it(wrong: type[Oracle]) -> None:
    told = disagreement(cases(0, MESHES, CALLS), wrong)
    assert told is not None
    about, _, text = told.partition("apiVersion:")
    documents = [*yaml.safe_load_all(f"apiVersion:{text}")]
    assert len(documents) < 10, told
    kinds = {each["kind"] for each in documents}
    assert "Service" in kinds, told
    assert " -> " in about
