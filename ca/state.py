"""The state directory of the control plane: `STATE/ca`, its one lock, and what it keeps over restarts.

In: a path, the trust domain, the time. Out: the authority and the join token key, the same ones after every
crash. Each file is replaced in one step, and a signer's certificate and key share a file, so there is no
half-made pair.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from ca.authority import Authority, AuthorityError, create_intermediate, create_root
from ca.identity import TrustDomain
from ca.private_file import (
    StateError,
    make_private_directory,
    read_private,
    remove_unfinished,
    require_private_directory,
    write_private,
)
from ca.signer import Signer

__all__ = ["CaState", "StateError", "load_or_create"]

_ROOT = "root.pem"
_INTERMEDIATE = "intermediate.pem"
_JOIN_TOKEN_KEY = "join-token.key"
_LOCK = "lock"
_JOIN_TOKEN_KEY_LENGTH = 32


class CaState:
    """An open state directory. It stays locked against other processes until `close`, or until this process
    ends.
    """

    def __init__(self, folder: Path, lock: int, authority: Authority, join_token_key: bytes) -> None:
        self._folder = folder
        self._lock: int | None = lock
        self._authority = authority
        self.join_token_key = join_token_key

    @property
    def trust_domain(self) -> TrustDomain:
        return self._authority.trust_domain

    def authority(self, now: datetime) -> Authority:
        """The authority to issue with at `now`. Once in many months this stores a new intermediate first."""
        if self._authority.needs_intermediate(now):
            if self._lock is None:
                raise StateError(f"{self._folder} is closed")
            self._authority = _renewed(self._folder, self._authority.root, now)
        return self._authority

    def close(self) -> None:
        """Release the lock; may be called again."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"CaState({str(self._folder)!r})"


def load_or_create(state_dir: Path, trust_domain: TrustDomain, now: datetime) -> CaState:
    """Open `state_dir/ca`, creating what is missing. A root is made once and never again.

    Raises StateError when another process holds the directory, others could read it, it belongs to another
    trust domain, its root has expired, or its content is damaged.
    """
    folder = state_dir / "ca"
    make_private_directory(folder)
    require_private_directory(folder)
    lock = _acquire(folder / _LOCK)
    try:
        remove_unfinished(folder)
        root = _load_root(folder, trust_domain, now)
        join_token_key = _load_join_token_key(folder / _JOIN_TOKEN_KEY)
        authority = _load_authority(folder, root, now)
    except BaseException:
        os.close(lock)
        raise
    return CaState(folder, lock, authority, join_token_key)


def _acquire(path: Path) -> int:
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


def _load_root(folder: Path, trust_domain: TrustDomain, now: datetime) -> Signer:
    path = folder / _ROOT
    root = _load_signer(path)
    if root is None:
        if (folder / _INTERMEDIATE).exists():
            # A new root would silently cut off every proxy that trusts the old one.
            raise StateError(f"{path} is missing: restore it, or remove {folder} to begin with a new root")
        root = create_root(trust_domain, now)
        write_private(path, root.to_pem(), durable=True)
    if root.trust_domain != trust_domain:
        raise StateError(
            f"{folder} belongs to trust domain {root.trust_domain}, not {trust_domain}:"
            " keep that trust domain, or choose another state directory"
        )
    ends = root.certificate.not_valid_after_utc
    if ends <= now:
        raise StateError(f"the root in {path} ended at {ends}: remove {folder} to begin with a new root")
    return root


def _load_authority(folder: Path, root: Signer, now: datetime) -> Authority:
    path = folder / _INTERMEDIATE
    intermediate = _load_signer(path)
    if intermediate is None:
        return _renewed(folder, root, now)
    try:
        authority = Authority(root, intermediate)
    except ValueError as error:
        raise StateError(f"{path} does not fit {folder / _ROOT}: {error}; remove it to get a new one") from error
    return _renewed(folder, root, now) if authority.needs_intermediate(now) else authority


def _renewed(folder: Path, root: Signer, now: datetime) -> Authority:
    try:
        intermediate = create_intermediate(root, now)
    except AuthorityError as error:
        raise StateError(f"cannot use {folder / _ROOT}: {error}") from error
    write_private(folder / _INTERMEDIATE, intermediate.to_pem(), durable=True)
    return Authority(root, intermediate)


def _load_signer(path: Path) -> Signer | None:
    pem = read_private(path)
    if pem is None:
        return None
    try:
        signer = Signer.from_pem(pem)
        _ = signer.trust_domain
    except ValueError as error:
        raise StateError(f"{path} is damaged: {error}; restore it from a backup") from error
    return signer


def _load_join_token_key(path: Path) -> bytes:
    stored = read_private(path)
    if stored is None:
        key = secrets.token_bytes(_JOIN_TOKEN_KEY_LENGTH)
        write_private(path, key.hex().encode() + b"\n", durable=True)
        return key
    try:
        key = bytes.fromhex(stored.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _JOIN_TOKEN_KEY_LENGTH:
        raise StateError(f"{path} is damaged: remove it to get a new key; every join token is then issued anew")
    return key
