"""The build hook of hatchling: generated modules exist before any wheel, and travel inside it.

In: a source tree. Out: compiled ``.proto`` files in that tree (which is all that an editable install needs)
and, for an ordinary wheel, the list of generated files, which git ignores and hatchling would leave out.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtosBuildHook(BuildHookInterface[Any]):
    """Runs ``protos/compile.py``; found by the path that pyproject.toml names."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling names it
        """Compile, and add the modules to what is built. ``version`` is "standard" or "editable"."""
        repository = Path(self.root)
        # By path: while building, the source tree is not importable.
        compile_protos = runpy.run_path(str(repository / "protos" / "compile.py"))["compile_protos"]
        build_data["artifacts"].extend(
            f"/{module.relative_to(repository).as_posix()}" for module in compile_protos(repository)
        )
