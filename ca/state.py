"""The state directory of the control plane: `STATE/ca`, its one lock, and what it keeps over restarts.

In: a path, the trust domain, the time. Out: the issuer, the bundle and the join token key, the same ones after
every crash. `rotation.json` is the one commit point: roots are stored before it names them, and removed after
it does so no more.
"""

from __future__ import annotations

import os
import secrets
import threading
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from ca.authority import Authority, AuthorityError, create_intermediate, create_root, require_valid
from ca.bundle import TrustBundle
from ca.deadlines import Deadline, deadlines
from ca.identity import TrustDomain
from ca.issuer import Issuer
from ca.offline import key_for_new_root, store_key
from ca.opening import JOIN_TOKEN_KEY, open_record, write_record
from ca.private_file import (
    StateError,
    make_private_directory,
    read_private,
    remove_private,
    require_private_tree,
    write_private,
)
from ca.recorded import RecordedIssuer
from ca.root_files import (
    ROOT,
    forget_other_roots,
    read_authority,
    read_intermediate,
    renew,
    root_folder,
    write_root,
)
from ca.rotation import STEPS, Observed, Phase, RootLife, RotationState, Step
from ca.rotation_record import RotationRecord
from ca.rotation_request import REQUEST, RotationRequest, read_request
from ca.signer import Signer, SigningCertificate
from ca.state_lock import acquire

__all__ = ["CaState", "StateError", "load_or_create"]

_LOCK = "lock"
_JOIN_TOKEN_KEY_LENGTH = 32
_MARGIN = 8
"""The end of leaves is noted this fraction of a life later than need be, so that not each leaf is a write."""


class CaState:
    """An open state directory. It stays locked against other processes until `close`, or until this process
    ends. Threads may share it.
    """

    def __init__(
        self, folder: Path, lock: int, record: RotationRecord, roots: Roots, authority: Authority, join_token_key: bytes
    ) -> None:
        self._folder = folder
        self._lock: int | None = lock
        self._guard = threading.RLock()
        self._record = record
        self._roots = roots
        self._authority = authority
        self._bundle = _bundle(roots)
        self.join_token_key = join_token_key
        self.leaves_end_at_start = max(record.leaves_end.values(), default=None)
        """When the last leaf ends that was issued before this process opened the directory; None if none was."""

    @property
    def trust_domain(self) -> TrustDomain:
        return self._authority.trust_domain

    @property
    def phase(self) -> Phase:
        """Where the rotation of the root is."""
        return self._record.phase

    @property
    def issuing_root(self) -> str:
        """The id of the root that leaves come from now (`SigningCertificate.id`)."""
        return self._record.issuing

    @property
    def bundle(self) -> TrustBundle:
        """The roots to trust now: both during a rotation, the older first, and the same bytes in both phases."""
        return self._bundle

    def authority(self, now: datetime) -> Issuer:
        """The issuer to use at `now`. Once in many months this stores a new intermediate first.

        Raises StateError when the root, or an intermediate that only the offline key can renew, has ended.
        """
        with self._guard:
            if self._authority.needs_intermediate(now):
                self._require_open()
                self._authority = _with_fresh_intermediate(self._folder, self._authority, now)
            _require_valid_root(self._folder, self._authority, now)
            return RecordedIssuer(self._authority, self._bundle, self._note)

    def rotation(self, observed: Observed) -> RotationState:
        """What `ca.rotation.next_step` looks at. Reads whether a rotation is requested."""
        with self._guard:
            record = self._record
            return RotationState(
                phase=record.phase,
                root=_life(self._roots[record.root]),
                next_root=None if record.next_root is None else _life(self._roots[record.next_root]),
                since=record.since,
                requested=self._request() is not None,
                old_leaves_end=record.leaves_end.get(record.root),
                observed=observed,
            )

    def advance(self, step: Step, now: datetime) -> None:
        """Take a step that `next_step` returned, durably; `phase`, `bundle` and `authority` then are the new ones.

        Raises ValueError when it is not the step that follows, and StateError when a file cannot be read or
        written, the one for an offline key among them: try again later.
        """
        with self._guard:
            self._require_open()
            if step is not STEPS[self.phase][0]:
                raise ValueError(f"the step {step} does not follow the phase {self.phase}")
            match step:
                case Step.BEGIN:
                    self._begin(now)
                case Step.ACTIVATE:
                    record = self._record.activated(now)
                    authority = read_authority(self._folder, record.issuing, self.trust_domain, now)
                    self._commit(record, self._roots)
                    self._authority = authority
                case Step.RETIRE:
                    record = self._record.retired(now)
                    self._commit(record, {record.root: self._roots[record.root]})
                    forget_other_roots(self._folder, record.roots)

    def deadlines(self) -> tuple[Deadline, ...]:
        """When the root that issues, and its intermediate, must be renewed, and by whom."""
        with self._guard:
            return deadlines(_life(self._authority.root), self._authority.intermediate.certificate)

    def export_root_key(self, path: Path) -> None:
        """Move the root's key to `path` (mode 0600), out of the state directory.

        Raises StateError when it is not here, a rotation is under way, or `path` has another key or is in this
        directory. An interrupted export can be repeated.
        """
        with self._guard:
            self._require_open()
            root = self._roots[self._record.root]
            place = root_folder(self._folder, root.id)
            if self.phase is not Phase.STABLE:
                raise StateError("a rotation of the root is under way: export the key of the new root when it is over")
            if not isinstance(root, Signer):
                raise StateError(f"{place / ROOT} has no key: it was exported before")
            if path.resolve().is_relative_to(self._folder.resolve()):
                raise StateError(f"{path} is in {self._folder}, where the key is already: choose a path elsewhere")
            store_key(path, root.private_key)
            bare = SigningCertificate(root.certificate)
            write_private(place / ROOT, bare.to_pem(), durable=True)
            self._roots = {bare.id: bare}
            self._authority = Authority(bare, self._authority.intermediate)

    def close(self) -> None:
        """Release the lock; may be called again."""
        with self._guard:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _begin(self, now: datetime) -> None:
        old = self._roots[self._record.root].certificate
        request = self._request()
        path = request.root_key if request else None
        key = key_for_new_root(path, old.public_key()) if path else None
        signer = create_root(self.trust_domain, now, key=key, not_before=old.not_valid_before_utc)
        root = SigningCertificate(signer.certificate) if path else signer
        write_root(self._folder, root, create_intermediate(signer, now))
        record = self._record.begun(root.id, now, request.id if request else None)
        self._commit(record, {**self._roots, root.id: root})
        if request is not None:
            remove_private(self._folder / REQUEST)

    def _request(self) -> RotationRequest | None:
        request = read_request(self._folder)
        return None if request is None or request.id == self._record.served_request else request

    def _note(self, root: str, end: datetime, now: datetime) -> None:
        with self._guard:
            self._require_open()
            if root != self._record.issuing:
                raise AuthorityError("another root issues by now: ask for the authority anew")
            noted = self._record.leaves_end.get(root)
            if noted is None or noted < end:
                self._commit(self._record.with_leaves_end(root, end + (end - now) / _MARGIN), self._roots)

    def _commit(self, record: RotationRecord, roots: Roots) -> None:
        write_record(self._folder, record)
        if roots is not self._roots:
            self._roots, self._bundle = roots, _bundle(roots)
        self._record = record

    def _require_open(self) -> None:
        if self._lock is None:
            raise StateError(f"{self._folder} is closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"CaState({str(self._folder)!r})"


Roots = dict[str, SigningCertificate]
"""The trusted roots by id, the older first."""


def load_or_create(state_dir: Path, trust_domain: TrustDomain, now: datetime) -> CaState:
    """Open `state_dir/ca`, creating what is missing. The first root is made once and never again.

    Raises StateError when another process holds the directory, others could read it, it belongs to another
    trust domain, its root has expired, or its content is damaged.
    """
    folder = state_dir / "ca"
    make_private_directory(folder)
    require_private_tree(folder)
    lock = acquire(folder / _LOCK)
    try:
        record, roots = open_record(folder, trust_domain, now)
        if record.phase is Phase.PREPARED and roots[record.root].certificate.not_valid_after_utc <= now:
            # Nothing can be issued by the old root any more, and nothing that it issued counts.
            record = record.activated(now)
            write_record(folder, record)
        authority = read_authority(folder, record.issuing, trust_domain, now)
        if authority.needs_intermediate(now):
            authority = _with_fresh_intermediate(folder, authority, now)
        _require_valid_root(folder, authority, now)
        if record.phase is Phase.PREPARED and record.next_root is not None:
            read_authority(folder, record.next_root, trust_domain, now)  # damage shows now, not when it is needed
        join_token_key = _load_join_token_key(folder / JOIN_TOKEN_KEY)
    except BaseException:
        os.close(lock)
        raise
    return CaState(folder, lock, record, roots, authority, join_token_key)


def _with_fresh_intermediate(folder: Path, authority: Authority, now: datetime) -> Authority:
    """`authority` with a new intermediate: a stored one that a person made, if the root's key is offline."""
    if isinstance(authority.root, Signer):
        return renew(folder, authority.root, now)
    stored = read_intermediate(root_folder(folder, authority.root.id), authority.root) or authority
    if now >= stored.intermediate.certificate.not_valid_after_utc:
        return renew(folder, authority.root, now)  # raises, and says what to do
    return stored


def _require_valid_root(folder: Path, authority: Authority, now: datetime) -> None:
    try:
        require_valid(authority.root, "root", now)
    except AuthorityError as error:
        path = root_folder(folder, authority.root.id) / ROOT
        raise StateError(f"cannot use {path}: {error}; if the clock is right, remove {folder} to begin anew") from error


def _bundle(roots: Roots) -> TrustBundle:
    certificates = list(roots.values())
    domain = certificates[0].trust_domain
    return TrustBundle(domain, {domain: tuple(root.certificate_pem for root in certificates)})


def _life(root: SigningCertificate) -> RootLife:
    return RootLife(root.id, root.certificate.not_valid_after_utc, offline=not isinstance(root, Signer))


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
