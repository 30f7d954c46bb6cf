"""The benchmark's own parts, and what can be told of its records at sizes that take a second."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import multiprocessing
from pathlib import Path
from types import ModuleType

import pytest

from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from smi.files import FileSource
from smi.index import Upsert
from tests.bench import (
    bytes_per_change,
    churn,
    cold_start,
    convergence,
    cpu_per_change,
    memory_per_proxy,
    meshes,
    reconnect_storm,
    wire,
)
from tests.bench.__main__ import BENCHES
from tests.bench.credentials import make_credentials
from tests.bench.crowd import Crowd, Marks
from tests.bench.mesh_files import SPLIT_SERVICE, write_mesh
from tests.bench.records import Must, Record, quantile, write
from xds.resource import TypeUrl

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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "names"),
    [
        (cpu_per_change, {"cpu_per_change"}),
        (convergence, {"convergence", "convergence_file", "convergence_file_added"}),
        (memory_per_proxy, {"memory_per_proxy"}),
        (reconnect_storm, {"reconnect_storm", "reconnect_bytes"}),
        (churn, {"churn", "churn_backlog", "churn_merged"}),
    ],
)
def test_servers_and_fleets_run_and_are_measured(module: ModuleType, names: set[str]) -> None:
    before = multiprocessing.active_children()
    records = list(module.measure(quick=True))
    assert {record.name for record in records} == names
    measured = [record for record in records if record.name == module.__name__.rpartition(".")[2]]
    assert measured
    assert all(record.value > 0 and record.floor is not None and record.floor > 0 for record in measured)
    assert multiprocessing.active_children() == before, "no process is left behind"


@pytest.mark.parametrize("name", BENCHES)
def test_every_benchmark_can_be_run_quickly(name: str) -> None:
    measure = importlib.import_module(f"tests.bench.{name}").measure
    assert "quick" in inspect.signature(measure).parameters


def test_simulated_proxies_are_as_heavy_as_envoys() -> None:
    """Envoy 1.40 sends a node of 61 kB with every delta request."""
    assert 55_000 < len(wire.node_field("shop/client-0", wire.shared_node())) < 65_000


def test_the_head_of_a_response_is_found_whatever_precedes_it() -> None:
    response = DeltaDiscoveryResponse(system_version_info="1", type_url=TypeUrl.ROUTE, nonce="n" * 200)
    response.resources.add(name="x" * 300)
    assert wire.read_head(response.SerializeToString()) == (TypeUrl.ROUTE.encode(), b"n" * 200)


def test_requests_made_of_parts_are_requests() -> None:
    parts = (
        wire.node_field("shop/a", b""),
        wire.type_field(TypeUrl.ROUTE),
        wire.subscribe_fields(["a", "b"]),
        wire.unsubscribe_fields(["c"]),
        wire.version_fields({"a": "1"}),
        wire.nonce_field(b"7"),
    )
    assert DeltaDiscoveryRequest.FromString(b"".join(parts)) == DeltaDiscoveryRequest(
        node={"id": "shop/a"},
        type_url=TypeUrl.ROUTE,
        resource_names_subscribe=["a", "b"],
        resource_names_unsubscribe=["c"],
        initial_resource_versions={"a": "1"},
        response_nonce="7",
    )


def test_floor_tells_answers_from_questions() -> None:
    head = wire.node_field("shop/a", b"") + wire.type_field(TypeUrl.ROUTE)
    assert wire.read_request(head + wire.nonce_field(b"7")) == (TypeUrl.ROUTE.encode(), True)
    assert wire.read_request(head + wire.subscribe_fields(["a"])) == (TypeUrl.ROUTE.encode(), False)


def test_marks_count_a_later_change_of_a_service_for_its_earlier_ones() -> None:
    marks = Marks(changes=6, services=2, proxies=2)
    marks.seen(0, b"..10.200.0.4..")
    marks.seen(1, b"..10.200.0.0..10.200.0.1..")
    assert marks.missing == [0, 1, 1, 2, 1, 2]
    assert marks.last[0] > 0


def test_only_what_a_proxy_does_not_hold_is_recorded_for_the_floor() -> None:
    crowd = Crowd(make_credentials())
    crowd.log = []
    for version in ("1", "1", "2"):
        response = DeltaDiscoveryResponse(type_url=TypeUrl.ROUTE)
        response.resources.add(name="a", version=version)
        crowd.remember(response)
    assert [[each.version for each in response.resources] for response in crowd.log] == [["1"], [], ["2"]]
