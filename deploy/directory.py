"""A directory of objects, read once: for tools that start nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smi.diagnostics import Diagnostic
from smi.files import FileSource
from smi.index import MeshIndex
from smi.model import MeshSnapshot
from smi.resolve import resolve


@dataclass(frozen=True, slots=True)
class Reading:
    """The mesh model of a directory, and everything that is wrong there, sorted by place."""

    mesh: MeshSnapshot
    diagnostics: tuple[Diagnostic, ...]


def read_directory(directory: Path) -> Reading:
    """Read, decode and resolve everything below `directory`."""
    source = FileSource(directory)
    index = MeshIndex()
    index.apply(source.load().events)
    mesh = resolve(index.snapshot())
    return Reading(mesh, sorted_diagnostics(source.diagnostics, mesh.diagnostics))


def sorted_diagnostics(*groups: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    """All diagnostics in one order: by file and line, the worst first."""
    return tuple(sorted((each for group in groups for each in group), key=Diagnostic.sort_key))
