"""Kills what changes a state directory at every call into the system, and checks what is left each time.

Run as `python crash_points.py DIRECTORY CHANGE`; prints the number of calls. Each attempt is a forked process that
ends itself with SIGKILL just before its n-th such call, for n = 1, 2, ... until one attempt gets through. Then the
directory is opened: it must be the one before the change or the one after it, without leftovers.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from cryptography import x509

from ca.identity import TrustDomain, WorkloadIdentity
from ca.rotation import Observed, Step
from ca.rotation_request import request_rotation
from ca.signer import load_private_key
from ca.state import load_or_create

DOMAIN = TrustDomain("mesh.test")
NOW = datetime(2027, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
WORKLOAD = WorkloadIdentity(DOMAIN, "shop", "web").spiffe_id
SYSTEM = {"posix", "fcntl", "_io", "io"}
"""Modules whose functions enter the system; the methods of open files are of `_io`."""

Change = Callable[[Path], None]


def advance(step: Step) -> Change:
    def change(state: Path) -> None:
        with load_or_create(state, DOMAIN, LATER) as opened:
            opened.advance(step, LATER)

    return change


def create(state: Path) -> None:
    load_or_create(state, DOMAIN, NOW).close()


def export(state: Path) -> None:
    with load_or_create(state, DOMAIN, LATER) as opened:
        opened.export_root_key(state / "exported.pem")


def issue(state: Path) -> None:
    with load_or_create(state, DOMAIN, LATER) as opened:
        opened.authority(LATER).issue(WORKLOAD, timedelta(hours=24), LATER)


def made(*steps: Step) -> Change:
    """A directory after these steps."""

    def prepare(state: Path) -> None:
        with load_or_create(state, DOMAIN, NOW) as opened:
            for step in steps:
                opened.advance(step, NOW)

    return prepare


def requested(*, offline: bool) -> Change:
    def prepare(state: Path) -> None:
        made()(state)
        request_rotation(state, NOW, state / "new-root.pem" if offline else None)

    return prepare


def older_layout(state: Path) -> None:
    made()(state)
    folder = state / "ca"
    (place,) = (folder / "roots").iterdir()
    for file in place.iterdir():
        file.rename(folder / file.name)
    shutil.rmtree(folder / "roots")
    (folder / "rotation.json").unlink()


CHANGES: dict[str, tuple[Change, Change]] = {
    "create": (lambda state: None, create),
    "take-over": (older_layout, create),
    "begin": (requested(offline=False), advance(Step.BEGIN)),
    "begin-offline": (requested(offline=True), advance(Step.BEGIN)),
    "activate": (made(Step.BEGIN), advance(Step.ACTIVATE)),
    "retire": (made(Step.BEGIN, Step.ACTIVATE), advance(Step.RETIRE)),
    "export": (made(), export),
    "issue": (made(), issue),
}


@dataclass(frozen=True)
class Seen:
    """What counts of a state: everything but keys and times."""

    phase: str
    roots: tuple[bytes, ...]
    issuing: str
    requested: bool
    leaves_end: bool
    keys: tuple[bool, ...]


def seen(state: Path) -> Seen:
    """Open `state` twice: as it was left, and once more, when nothing may change."""
    looks = []
    for _ in range(2):
        with load_or_create(state, DOMAIN, LATER) as opened:
            rotation = opened.rotation(Observed())
            roots = opened.bundle.roots[DOMAIN]
            opened.authority(LATER)
            lives = [rotation.root, *([rotation.next_root] if rotation.next_root else [])]
            looks.append(
                Seen(
                    rotation.phase,
                    roots,
                    opened.issuing_root,
                    rotation.requested,
                    rotation.old_leaves_end is not None,
                    tuple(not life.offline for life in lives),
                )
            )
        check_leftovers(state / "ca", [life.id for life in lives], requested=rotation.requested)
    assert looks[0] == looks[1]
    return looks[0]


def check_leftovers(folder: Path, roots: list[str], *, requested: bool) -> None:
    expected = {"join-token.key", "lock", "rotation.json", "roots"} | ({"rotation.request"} if requested else set())
    left = {path.name for path in folder.iterdir()}
    assert left - {"rotation.request"} == expected - {"rotation.request"}, left
    assert sorted(path.name for path in (folder / "roots").iterdir()) == sorted(roots)
    for root in roots:
        assert {path.name for path in (folder / "roots" / root).iterdir()} == {"root.pem", "intermediate.pem"}


def attempt(change: Change, state: Path, step: int) -> bool:
    """Run `change` in a process of its own that dies before its system call `step`; whether it lived."""
    child = os.fork()
    if child == 0:
        left = step

        def count(_frame: FrameType, event: str, function: object) -> None:
            nonlocal left
            if event != "c_call":
                return
            owner = getattr(function, "__self__", None)
            if getattr(function, "__module__", None) in SYSTEM or type(owner).__module__ in SYSTEM:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        change(state)
        sys.setprofile(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


def main() -> None:
    root = Path(sys.argv[1])
    prepare, change = CHANGES[sys.argv[2]]
    prepare(root / "prepared")
    (root / "prepared").mkdir(exist_ok=True)
    # A first run in this process, so that imports which happen on first use are not counted.
    copy(root, "warm")
    change(root / "warm")
    new = seen(root / "warm")
    copy(root, "old")
    old = seen(root / "old") if sys.argv[2] not in ("create", "take-over") else new
    step = 1
    while True:
        state = copy(root, str(step))
        lived = attempt(change, state, step)
        found = seen(state)
        check_roots(sys.argv[2], state, found, old)
        assert is_like(found, new) or (is_like(found, old) and not lived), f"call {step}: {found}"
        if lived:
            break
        if not is_like(found, new):
            change(state)  # it can be repeated
            assert is_like(seen(state), new)
        shutil.rmtree(state)
        step += 1
    sys.stdout.write(f"{step - 1}\n")


def check_roots(change: str, state: Path, found: Seen, old: Seen) -> None:
    """No root is lost or exchanged, and no key."""
    match change:
        case "create":
            return
        case "begin" | "begin-offline":
            assert found.roots[0] == old.roots[0]
        case "retire":
            assert found.roots in (old.roots, old.roots[1:])
        case _:
            assert found.roots == old.roots
    if not all(found.keys):
        name = "exported.pem" if change == "export" else "new-root.pem"
        key = load_private_key((state / name).read_bytes())
        assert x509.load_pem_x509_certificate(found.roots[-1]).public_key() == key.public_key()


def is_like(found: Seen, model: Seen) -> bool:
    """Whether two states are equal but for which root is new: that differs each time."""
    return replace(found, roots=(), issuing="") == replace(model, roots=(), issuing="") and len(found.roots) == len(
        model.roots
    )


def copy(root: Path, name: str) -> Path:
    """A directory like the prepared one; the path of an offline key in a request follows it."""
    shutil.copytree(root / "prepared", root / name)
    request = root / name / "ca" / "rotation.request"
    if request.exists():
        request.write_text(request.read_text().replace(str(root / "prepared"), str(root / name)))
    return root / name


if __name__ == "__main__":
    main()
