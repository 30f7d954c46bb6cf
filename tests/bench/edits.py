"""Kinds of change, each as events that can be made again and again, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from smi.index import Delete, ObjectEvent, Upsert
from tests.bench import meshes


@dataclass(frozen=True, slots=True)
class Kind:
    """``events`` makes the change with a number, from 0; ``back`` undoes it, where that is a change of its own."""

    name: str
    events: Callable[[int, int], Sequence[ObjectEvent]]
    back_name: str = ""

    def back(self, services: int, number: int) -> list[ObjectEvent]:
        """Deletes what ``events`` made."""
        return [Delete(event.ref) for event in self.events(services, number)]


def _weight(_services: int, number: int) -> Sequence[ObjectEvent]:
    return [Upsert(meshes.split(20 + number % 60))]


def _endpoint(services: int, number: int) -> Sequence[ObjectEvent]:
    return [Upsert(meshes.workload(number % services, meshes.ENDPOINTS))]


def _service(services: int, number: int) -> Sequence[ObjectEvent]:
    return [Upsert(each) for each in meshes.service_objects(services + number)]


def _target(_services: int, number: int) -> Sequence[ObjectEvent]:
    return [Upsert(meshes.target_of_clients(f"caller-{number}"))]


KINDS = (
    Kind("weight edit", _weight),
    Kind("endpoint added", _endpoint, "endpoint removed"),
    Kind("TrafficTarget added", _target, "TrafficTarget removed"),
    # Last, because clusters of removed services follow a minute later, and must not disturb the others.
    Kind("service added", _service, "service removed"),
)
