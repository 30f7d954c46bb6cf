"""The lock of a state directory: one control plane at a time. In: a path. Out: a descriptor that holds the lock."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ca.private_file import StateError


def acquire(path: Path) -> int:
    """Lock `path` until the descriptor that is returned is closed, or this process ends; make it if need be.

    Raises StateError when another process holds it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StateError(f"cannot open {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # For the message of whoever comes second; the lock itself is what counts.
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise StateError(
            f"{path.parent} is in use by another control plane (process {holder}):"
            " stop it, or choose another state directory"
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise StateError(f"cannot lock {path}: {error.strerror}") from error
    return descriptor
