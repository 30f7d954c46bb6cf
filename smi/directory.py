"""Which files of a directory hold objects, and whether they changed: stamps instead of contents.

Files are `*.yaml`, `*.yml` and `*.json` at any depth. Hidden files and directories are left out, and with them the
temporary files of editors and the `..data` directories that Kubernetes puts into mounted ConfigMaps; their content
is reached through the symbolic links beside them.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = (".yaml", ".yml", ".json")
MAX_DEPTH = 16
_HIDDEN = (".", "#", "~")
_RACY_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file, or who may read it, does. A link has the stamp of what it leads to.

    `racy`: the file was written so recently that another write might leave the same times behind.
    """

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    racy: bool = field(default=False, compare=False)


@dataclass(slots=True)
class Listing:
    """The files of a directory by their path in it, and what could not be looked at, with the reason."""

    files: dict[str, Stamp] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def hides(self, path: str) -> bool:
        """Whether `path` could not be seen, so that its absence does not mean that it was deleted."""
        return any(place in (path, ".") or path.startswith(f"{place}/") for place in self.unreadable)


def list_directory(directory: Path) -> Listing:
    """Look at every file in `directory`. Raises nothing: a missing directory is an unreadable `.`."""
    listing = Listing()
    _list(directory, "", listing, frozenset())
    return listing


def identity(directory: Path) -> tuple[int, int] | None:
    """What tells a directory from another one at the same path; None when there is none."""
    try:
        found = directory.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _list(directory: Path, prefix: str, listing: Listing, above: frozenset[tuple[int, int]]) -> None:
    here = identity(directory)
    if here in above or len(above) >= MAX_DEPTH:  # a symbolic link to a directory above
        return
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        listing.unreadable[prefix.rstrip("/") or "."] = error.strerror or str(error)
        return
    for entry in found:
        if entry.name.startswith(_HIDDEN):
            continue
        path = prefix + entry.name
        try:
            status = entry.stat()
        except OSError as error:
            if entry.name.endswith(SUFFIXES) and (entry.is_symlink() or not isinstance(error, FileNotFoundError)):
                listing.unreadable[path] = error.strerror or str(error)
            continue
        if stat.S_ISDIR(status.st_mode):
            _list(Path(entry.path), f"{path}/", listing, above | ({here} if here else set()))
        elif entry.name.endswith(SUFFIXES):
            _stamp(path, status, listing)


def _stamp(path: str, status: os.stat_result, listing: Listing) -> None:
    if not stat.S_ISREG(status.st_mode):
        listing.unreadable[path] = "not a regular file"
        return
    racy = abs(time.time_ns() - status.st_ctime_ns) < _RACY_NS
    times = (status.st_mtime_ns, status.st_ctime_ns)
    listing.files[path] = Stamp(status.st_dev, status.st_ino, status.st_size, *times, racy=racy)
