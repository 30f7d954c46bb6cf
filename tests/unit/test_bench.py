"""What a change sends does not grow with the mesh: the benchmark's own records, at sizes that take a second."""

from __future__ import annotations

import pytest

from tests.bench import bytes_per_change, cold_start

MOST = {
    "weight edit": 1_000,
    "endpoint added": 2_000,
    "endpoint removed": 2_000,
    "service added": 5_000,  # its endpoints go with the cluster, and once more when Envoy asks for them
    "TrafficTarget added": 1_500,
}


def test_bytes_depend_on_what_changed_and_not_on_the_size_of_the_mesh() -> None:
    small, large = (
        {record.params["change"]: record for record in bytes_per_change.measure([size])} for size in (12, 120)
    )
    assert {record.name for record in (*small.values(), *large.values())} == {"bytes_per_change"}, "bystanders get none"
    for change, most in MOST.items():
        assert 0 < large[change].value <= most
        assert large[change].value == pytest.approx(small[change].value, rel=0.1)


def test_the_cold_start_can_be_measured() -> None:
    records = list(cold_start.measure([10]))
    assert {record.name for record in records} == {"cold_start", "recompute_after_edit"}
    assert all(record.value > 0 for record in records)
