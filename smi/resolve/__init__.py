"""Objects -> the mesh model: lookups, conflicts and defaults are settled here, with a diagnostic for each doubt."""

from smi.resolve.snapshot import resolve

__all__ = ["resolve"]
