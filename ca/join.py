"""Join directories: `STATE/join/<namespace>/<workload>/` with what one sidecar needs to join, and nothing
else.

In: tokens and the trust bundle. Out: the files `token` (for one exchange), `stream-token` (for a bare Envoy; may be
missing) and `bundle.pem`, replaced by rename, so that whoever watches the directory sees whole files only.
"""

from __future__ import annotations

import re
from pathlib import Path

from ca.private_file import (
    StateError,
    make_private_directory,
    read_private,
    remove_unfinished,
    require_private_directory,
    write_private,
)

TOKEN = "token"
STREAM_TOKEN = "stream-token"
BUNDLE = "bundle.pem"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
"""Wider than the names of Kubernetes, and never a path: no slash, no leading dot."""


def join_directory(state_dir: Path, namespace: str, workload: str) -> Path:
    """Where the files of a workload lie. StateError for names that cannot be names of directories."""
    for name in (namespace, workload):
        if not _NAME.fullmatch(name):
            raise StateError(f"{name!r} cannot name a join directory: use letters, digits, '.', '-', '_'")
    return state_dir / "join" / namespace / workload


def write_join(
    state_dir: Path, namespace: str, workload: str, token: str, bundle_pem: bytes, *, stream_token: str | None = None
) -> Path:
    """Write the files where their content changed, readable by the owner alone; return their directory. Without a
    `stream_token` there is no file of that name afterwards.

    The bundle comes first: a token is of no use to a sidecar that cannot recognise the control plane.
    Raises StateError when the names or the file system do not allow it.
    """
    directory = join_directory(state_dir, namespace, workload)
    make_private_directory(directory)
    for private in (directory.parent.parent, directory.parent, directory):
        require_private_directory(private)
    remove_unfinished(directory)
    for name, content in (
        (BUNDLE, bundle_pem),
        (TOKEN, token.encode("ascii")),
        (STREAM_TOKEN, None if stream_token is None else stream_token.encode("ascii")),
    ):
        path = directory / name
        if content is None:
            _unlink(path)
        elif read_private(path) != content:
            # Not durable: after a power failure the next start writes them again.
            write_private(path, content, durable=False)
    return directory


def remove_join(state_dir: Path, namespace: str, workload: str) -> None:
    """Remove the directory of a workload that is gone, and its namespace's if it was the last. Idempotent."""
    directory = join_directory(state_dir, namespace, workload)
    if not directory.exists():
        return
    try:
        remove_unfinished(directory)
        for name in (TOKEN, STREAM_TOKEN, BUNDLE):
            (directory / name).unlink(missing_ok=True)
        directory.rmdir()
        if not any(directory.parent.iterdir()):
            directory.parent.rmdir()
    except OSError as error:
        raise StateError(f"cannot remove {directory}: {error.strerror}") from error


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"cannot remove {path}: {error.strerror}") from error
