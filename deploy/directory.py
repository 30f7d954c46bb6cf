"""A directory of objects, read once: for tools that start nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.configuration import Configuration, Translation
from smi.diagnostics import Diagnostic
from smi.files import FileSource
from smi.resolve.mesh import MeshModel


@dataclass(frozen=True, slots=True)
class Reading:
    """The mesh model of a directory, what it serves, and everything that is wrong there, sorted by place."""

    mesh: MeshModel
    configuration: Configuration
    diagnostics: tuple[Diagnostic, ...]


def read_directory(directory: Path) -> Reading:
    """Read, decode, resolve and translate everything below `directory`."""
    source, mesh, configuration = FileSource(directory), MeshModel(), Configuration()
    change = mesh.apply(source.load().events)
    if change is not None:
        configuration.take(Translation(mesh).follow(change))
    return Reading(mesh, configuration, sorted_diagnostics(source.diagnostics, mesh.diagnostics()))


def sorted_diagnostics(*groups: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    """All diagnostics in one order: by file and line, the worst first."""
    return tuple(sorted((each for group in groups for each in group), key=Diagnostic.sort_key))
