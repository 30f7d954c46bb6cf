"""Files and directories that only their owner may read, written so that a crash leaves the old or the new
content.

In: paths and bytes. Out: bytes, or StateError with one line a person can act on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_TEMPORARY = ".tulle-new-"


class StateError(Exception):
    """The state directory cannot be used as it is; the text names the path and what to do."""


def make_private_directory(path: Path) -> None:
    """Create `path` and the missing directories above it, each 0700. An existing directory is left as it
    is.
    """
    missing = []
    for directory in (path, *path.parents):
        if directory.exists():
            break
        missing.append(directory)
    for directory in reversed(missing):
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            sync_directory(directory.parent)
        except OSError as error:
            raise StateError(f"cannot create {directory}: {error.strerror}") from error


def require_private_directory(path: Path) -> None:
    """Raise StateError unless `path` is a directory that only its owner may look into."""
    try:
        found = path.stat()
    except OSError as error:
        raise StateError(f"cannot open {path}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise StateError(f"{path} is not a directory")
    if found.st_mode & _OTHERS:
        raise StateError(f"{path} holds secrets and others can open it: run chmod 700 {path}")


def require_private_tree(path: Path) -> None:
    """Raise StateError unless `path` and everything below it belongs to this user, and nobody else can open it."""
    _require_private(path)
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            require_private_tree(entry)


def _require_private(path: Path) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise StateError(f"cannot open {path}: {error.strerror}") from error
    if found.st_uid != os.geteuid():
        raise StateError(f"{path} belongs to another user (id {found.st_uid}): run chown {os.geteuid()} {path}")
    if found.st_mode & _OTHERS:
        mode = 700 if stat.S_ISDIR(found.st_mode) else 600
        raise StateError(f"{path} is secret and others can open it: run chmod {mode} {path}")


def read_private(path: Path) -> bytes | None:
    """The content of `path`, or None when it does not exist. StateError when others can read it."""
    try:
        with path.open("rb") as file:
            # Checked on the open file, so it cannot be exchanged between the check and the reading.
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                raise StateError(f"{path} is secret and others can read it: run chmod 600 {path}")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}") from error


def write_private(path: Path, content: bytes, *, durable: bool) -> None:
    """Replace `path` by a file of mode 0600 in one step. `durable` waits until it would survive a power
    failure.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
        if durable:
            sync_directory(path.parent)
    except OSError as error:
        raise StateError(f"cannot write {path}: {error.strerror}") from error


def remove_unfinished(directory: Path) -> None:
    """Remove what interrupted calls of `write_private` left behind; call it only while nobody else writes."""
    for leftover in directory.glob(f"{_TEMPORARY}*"):
        try:
            leftover.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(f"cannot remove {leftover}: {error.strerror}") from error


def remove_private_tree(directory: Path) -> None:
    """Remove `directory` and all files in it, and wait until that would survive a power failure."""
    try:
        shutil.rmtree(directory)
        sync_directory(directory.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError(f"cannot remove {directory}: {error.strerror}") from error


def remove_private(path: Path) -> None:
    """Remove a file, if it is there, and wait until that would survive a power failure."""
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise StateError(f"cannot remove {path}: {error.strerror}") from error


def sync_directory(path: Path) -> None:
    """Wait until renames and new entries in `path` would survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
