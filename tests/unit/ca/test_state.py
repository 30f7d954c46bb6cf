from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import ca
from ca.authority import ROOT_LIFETIME
from ca.identity import TrustDomain, WorkloadIdentity
from ca.state import StateError, load_or_create

REPOSITORY = Path(ca.__file__).parents[1]
FILES = ["intermediate.pem", "join-token.key", "lock", "root.pem"]


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name(script)), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


@pytest.fixture
def created(tmp_path: Path, trust_domain: TrustDomain, now: datetime) -> Path:
    load_or_create(tmp_path, trust_domain, now).close()
    return tmp_path / "ca"


def test_modes_are_private_whatever_the_umask(tmp_path: Path, trust_domain: TrustDomain, now: datetime) -> None:
    before = os.umask(0)
    try:
        load_or_create(tmp_path / "a" / "state", trust_domain, now).close()
    finally:
        os.umask(before)
    folder = tmp_path / "a" / "state" / "ca"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for directory in (folder, folder.parent, folder.parent.parent):
        assert directory.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_everything_is_the_same_after_a_restart(
    created: Path, trust_domain: TrustDomain, now: datetime, identity: WorkloadIdentity
) -> None:
    before = content(created)
    with load_or_create(created.parent, trust_domain, now + timedelta(days=3)) as state:
        authority = state.authority(now + timedelta(days=3))
        assert authority.root.to_pem() == before["root.pem"]
        assert authority.intermediate.to_pem() == before["intermediate.pem"]
        assert state.join_token_key.hex().encode() + b"\n" == before["join-token.key"]
        assert len(state.join_token_key) == 32
        authority.issue(identity.spiffe_id, timedelta(hours=1), now + timedelta(days=3))
    assert content(created) == before


def test_the_intermediate_is_renewed_and_stored(created: Path, trust_domain: TrustDomain, now: datetime) -> None:
    old = content(created)
    late = now + timedelta(days=330)
    with load_or_create(created.parent, trust_domain, now) as state:
        first = state.authority(now)
        assert state.authority(now + timedelta(days=300)) is first
        second = state.authority(late)
        assert second.root == first.root
        assert second.intermediate.to_pem() == content(created)["intermediate.pem"] != old["intermediate.pem"]
        assert state.authority(late) is second
    with load_or_create(created.parent, trust_domain, now + timedelta(days=3000)) as state:
        assert state.authority(now + timedelta(days=3000)).root == first.root
    assert content(created)["root.pem"] == old["root.pem"]


@pytest.mark.parametrize("name", [".", "root.pem", "intermediate.pem", "join-token.key"])
@pytest.mark.parametrize("bit", [0o040, 0o004, 0o020])
def test_what_others_can_open_is_refused(
    created: Path, trust_domain: TrustDomain, now: datetime, name: str, bit: int
) -> None:
    path = created / name
    right = path.stat().st_mode & 0o777
    path.chmod(right | bit)
    with pytest.raises(StateError) as refused:
        load_or_create(created.parent, trust_domain, now)
    assert f"chmod {right:o} {path}" in str(refused.value)
    assert "\n" not in str(refused.value)
    path.chmod(right)
    load_or_create(created.parent, trust_domain, now).close()


def test_another_trust_domain(created: Path, now: datetime) -> None:
    with pytest.raises(StateError, match=r"belongs to trust domain mesh\.test, not other\.test"):
        load_or_create(created.parent, TrustDomain("other.test"), now)


def test_a_second_control_plane(created: Path, trust_domain: TrustDomain, now: datetime) -> None:
    with load_or_create(created.parent, trust_domain, now):
        (created.parent / "0").symlink_to(created.parent)
        second = subprocess.run(
            python("endless_creation.py", str(created.parent)),
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert second.returncode == 1
        assert f"in use by another control plane (process {os.getpid()})" in second.stderr
        with pytest.raises(StateError, match="in use by another control plane"):
            load_or_create(created.parent, trust_domain, now)
    load_or_create(created.parent, trust_domain, now).close()


def test_a_failed_open_releases_the_lock(created: Path, trust_domain: TrustDomain, now: datetime) -> None:
    with pytest.raises(StateError):
        load_or_create(created.parent, TrustDomain("other.test"), now)
    load_or_create(created.parent, trust_domain, now).close()


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAA==\n"])
@pytest.mark.parametrize("name", ["root.pem", "intermediate.pem", "join-token.key"])
def test_damaged_files(created: Path, trust_domain: TrustDomain, now: datetime, name: str, damage: bytes) -> None:
    (created / name).write_bytes(damage)
    with pytest.raises(StateError, match=f"{name} is damaged"):
        load_or_create(created.parent, trust_domain, now)


def test_half_a_signer_is_damage(created: Path, trust_domain: TrustDomain, now: datetime) -> None:
    path = created / "root.pem"
    path.write_bytes(path.read_bytes().partition(b"-----BEGIN PRIVATE")[0])
    with pytest.raises(StateError, match=r"root\.pem is damaged"):
        load_or_create(created.parent, trust_domain, now)


def test_a_lost_root_is_not_replaced_silently(created: Path, trust_domain: TrustDomain, now: datetime) -> None:
    (created / "root.pem").unlink()
    with pytest.raises(StateError, match=r"root\.pem is missing: restore it"):
        load_or_create(created.parent, trust_domain, now)
    assert not (created / "root.pem").exists()


def test_parts_of_two_authorities(
    created: Path, trust_domain: TrustDomain, now: datetime, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    load_or_create(other, trust_domain, now).close()
    (created / "intermediate.pem").write_bytes((other / "ca" / "intermediate.pem").read_bytes())
    with pytest.raises(StateError, match="was not signed by the root; remove it"):
        load_or_create(created.parent, trust_domain, now)
    (created / "intermediate.pem").unlink()
    load_or_create(created.parent, trust_domain, now).close()


@pytest.mark.parametrize(
    ("shift", "text"),
    [(ROOT_LIFETIME, "ended at"), (timedelta(days=-2) - ROOT_LIFETIME, "not valid before")],
)
def test_a_clock_outside_the_roots_life(
    created: Path, trust_domain: TrustDomain, now: datetime, shift: timedelta, text: str
) -> None:
    (created / "intermediate.pem").unlink()
    with pytest.raises(StateError, match=text):
        load_or_create(created.parent, trust_domain, now + shift)


def test_a_state_directory_that_cannot_be_made(tmp_path: Path, trust_domain: TrustDomain, now: datetime) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot create"):
        load_or_create(tmp_path / "file" / "state", trust_domain, now)


def test_no_text_form_shows_a_key(created: Path, trust_domain: TrustDomain, now: datetime) -> None:
    with load_or_create(created.parent, trust_domain, now) as state:
        for text in (repr(state), str(state), repr([state])):
            assert state.join_token_key.hex() not in text
            assert repr(state.join_token_key) not in text
            assert "PRIVATE" not in text


def test_death_at_every_step_leaves_a_loadable_state(tmp_path: Path) -> None:
    result = subprocess.run(
        python("crash_points.py", str(tmp_path)),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 12


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_kill_from_outside(tmp_path: Path, trust_domain: TrustDomain, now: datetime, rounds: int) -> None:
    with subprocess.Popen(
        python("endless_creation.py", str(tmp_path)), env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(rounds):
            process.stdout.readline()
        process.kill()
    for state in sorted(tmp_path.iterdir()):
        root = state / "ca" / "root.pem"
        before = root.read_bytes() if root.exists() else None
        load_or_create(state, trust_domain, now).close()
        assert before in (None, root.read_bytes())
        assert sorted(path.name for path in (state / "ca").iterdir()) == FILES
