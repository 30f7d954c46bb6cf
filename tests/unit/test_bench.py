"""The benchmark's own parts, and what can be told of its records at sizes that take a second."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from smi.files import FileSource
from smi.index import Upsert
from tests.bench import bytes_per_change, cold_start, meshes
from tests.bench.mesh_files import SPLIT_SERVICE, write_mesh
from tests.bench.records import Must, Record, quantile, write

_PARAMS = {"proxies": 2}


def test_bytes_depend_on_what_changed_and_not_on_the_size_of_the_mesh() -> None:
    records = list(bytes_per_change.measure([12, 120]))
    assert not [record for record in records if record.name == "bytes_unconcerned" and record.missed]
    growth = [record for record in records if record.name == "bytes_growth"]
    assert {record.params["change"] for record in growth} >= bytes_per_change.MOST.keys()
    assert not [record for record in growth if record.missed]


def test_the_cold_start_can_be_measured() -> None:
    (record,) = cold_start.measure(quick=True)
    assert record.name == "cold_start"
    assert record.value > 0


@pytest.mark.parametrize(
    ("must", "value", "floor", "missed"),
    [
        (Must(value=10), 10, None, False),
        (Must(value=10), 11, None, True),
        (Must(ratio=1.5), 15, 10, False),
        (Must(ratio=1.5), 16, 10, True),
        (Must(above=3), 13, 10, False),
        (Must(above=3), 14, 10, True),
        (None, 14, 10, False),
    ],
)
def test_a_record_says_whether_its_target_is_missed(
    must: Must | None, value: float, floor: float | None, missed: bool
) -> None:
    assert Record("x", value, "ms", floor, {}, must).missed is missed


def test_records_are_written_with_their_targets(tmp_path: Path) -> None:
    write([Record("x", 3.0, "ms", 2.0, _PARAMS, Must(ratio=1.2)), Record("y", 1.0, "B", None, _PARAMS)], tmp_path / "f")
    assert json.loads((tmp_path / "f").read_text()) == [
        {
            "name": "x",
            "value": 3.0,
            "unit": "ms",
            "floor": 2.0,
            "ratio": 1.5,
            "params": {"proxies": 2, "must": "<= 1.2 x floor", "met": False},
        },
        {"name": "y", "value": 1.0, "unit": "B", "floor": None, "ratio": None, "params": {"proxies": 2}},
    ]


def test_quantiles_are_values_that_were_measured() -> None:
    values = list(range(1, 101))
    assert [quantile(values, share) for share in (0.5, 0.9, 0.99)] == [50, 90, 99]
    assert quantile([7.0], 0.9) == 7.0


def test_the_files_of_a_mesh_hold_the_objects_of_a_mesh(tmp_path: Path) -> None:
    write_mesh(tmp_path, 2, 3)
    change = FileSource(tmp_path).load()
    assert change.diagnostics == ()
    found = {event.ref: event.object for event in change.events if isinstance(event, Upsert)}
    wanted = [
        *meshes.mesh(2),
        *meshes.clients(3),
        meshes.split(90),
        meshes.split(50, "split-in-file", SPLIT_SERVICE),
    ]
    assert found.keys() == {each.ref for each in wanted}
    for each in wanted:
        held = found[each.ref]
        assert dataclasses.replace(held, meta=dataclasses.replace(held.meta, location=None)) == each
