from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import ca
from ca.authority import ROOT_LIFETIME
from ca.identity import TrustDomain, WorkloadIdentity
from ca.state import CaState, StateError, load_or_create

REPOSITORY = Path(ca.__file__).parents[1]
FILES = ["join-token.key", "lock", "roots/*/intermediate.pem", "roots/*/root.pem", "rotation.json"]


def pem_of(chain: bytes) -> list[bytes]:
    return [one.public_bytes(Encoding.PEM) for one in x509.load_pem_x509_certificates(chain)]


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name(script)), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def content(folder: Path) -> dict[str, bytes]:
    """What the files below STATE/ca hold, by name: without the folder of the one root."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def names(folder: Path) -> list[str]:
    """The files below STATE/ca, the ids of roots written as a star."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(f"roots/*/{path.name}" if path.parts[0] == "roots" else str(path) for path in found)


def place(folder: Path, name: str) -> Path:
    """The file or folder of that name below STATE/ca, of its one root if it is a root's."""
    if name == "roots/ID":
        return next((folder / "roots").iterdir())
    return folder if name == "." else next(folder.rglob(name))


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
    assert names(folder) == FILES
    for path in (folder, folder.parent, folder.parent.parent, *folder.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_everything_is_the_same_after_a_restart(
    created: Path, trust_domain: TrustDomain, now: datetime, identity: WorkloadIdentity
) -> None:
    before = content(created)
    with load_or_create(created.parent, trust_domain, now + timedelta(days=3)) as state:
        issuer = state.authority(now + timedelta(days=3))
        svid = issuer.issue(identity.spiffe_id, timedelta(hours=1), now + timedelta(days=3))
        assert issuer.bundle == state.bundle
        assert before["root.pem"].startswith(state.bundle.own_pem)
        assert before["intermediate.pem"].startswith(pem_of(svid.certificate_chain_pem)[1])
        assert state.join_token_key.hex().encode() + b"\n" == before["join-token.key"]
        assert len(state.join_token_key) == 32
    after = content(created)
    assert before.pop("rotation.json") != after.pop("rotation.json")  # it notes until when the leaf is in use
    assert after == before


def test_the_intermediate_is_renewed_and_stored(
    created: Path, trust_domain: TrustDomain, now: datetime, identity: WorkloadIdentity
) -> None:
    old = content(created)

    def intermediate(state: CaState, moment: datetime) -> bytes:
        svid = state.authority(moment).issue(identity.spiffe_id, timedelta(hours=1), moment)
        return pem_of(svid.certificate_chain_pem)[1]

    late = now + timedelta(days=330)
    with load_or_create(created.parent, trust_domain, now) as state:
        first = intermediate(state, now)
        assert intermediate(state, now + timedelta(days=300)) == first
        second = intermediate(state, late)
        assert second != first
        assert old["intermediate.pem"].startswith(first)
        assert content(created)["intermediate.pem"].startswith(second)
        assert intermediate(state, late) == second
    with load_or_create(created.parent, trust_domain, now + timedelta(days=3000)) as state:
        assert intermediate(state, now + timedelta(days=3000)) not in (first, second)
    assert content(created)["root.pem"] == old["root.pem"]


@pytest.mark.parametrize(
    "name", [".", "roots", "roots/ID", "root.pem", "intermediate.pem", "join-token.key", "rotation.json", "lock"]
)
@pytest.mark.parametrize("bit", [0o040, 0o004, 0o020])
def test_what_others_can_open_is_refused(
    created: Path, trust_domain: TrustDomain, now: datetime, name: str, bit: int
) -> None:
    path = place(created, name)
    right = path.stat().st_mode & 0o777
    path.chmod(right | bit)
    with pytest.raises(StateError) as refused:
        load_or_create(created.parent, trust_domain, now)
    assert f"chmod {right:o} {path}" in str(refused.value)
    assert "\n" not in str(refused.value)
    path.chmod(right)
    load_or_create(created.parent, trust_domain, now).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", [".", "root.pem", "rotation.json"])
def test_what_belongs_to_another_user_is_refused(
    created: Path, trust_domain: TrustDomain, now: datetime, name: str
) -> None:
    path = place(created, name)
    os.chown(path, 65_534, -1)
    with pytest.raises(StateError, match=rf"belongs to another user \(id 65534\): run chown 0 {path}"):
        load_or_create(created.parent, trust_domain, now)


def test_files_of_others_and_lost_links_are_refused(created: Path, trust_domain: TrustDomain, now: datetime) -> None:
    """Whatever lies in the directory: it may be the copy of a key."""
    (created / "roots" / "backup").mkdir(mode=0o700)
    path = created / "roots" / "backup" / "old.pem"
    path.touch(mode=0o644)
    with pytest.raises(StateError, match=f"run chmod 600 {path}"):
        load_or_create(created.parent, trust_domain, now)
    path.unlink()
    path.symlink_to(created / "nowhere")
    with pytest.raises(StateError, match=f"cannot open {path}: No such file"):
        load_or_create(created.parent, trust_domain, now)
    path.unlink()
    path.touch(mode=0o600)
    load_or_create(created.parent, trust_domain, now).close()
    assert path.exists(), "what a person put there is not removed"


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
@pytest.mark.parametrize("name", ["root.pem", "intermediate.pem", "join-token.key", "rotation.json"])
def test_damaged_files(created: Path, trust_domain: TrustDomain, now: datetime, name: str, damage: bytes) -> None:
    place(created, name).write_bytes(damage)
    with pytest.raises(StateError, match=f"{name} is damaged"):
        load_or_create(created.parent, trust_domain, now)


def test_half_a_signer_is_damage(created: Path, trust_domain: TrustDomain, now: datetime) -> None:
    path = place(created, "root.pem")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StateError, match=r"root\.pem is damaged"):
        load_or_create(created.parent, trust_domain, now)


def test_a_lost_root_is_not_replaced_silently(created: Path, trust_domain: TrustDomain, now: datetime) -> None:
    place(created, "root.pem").unlink()
    with pytest.raises(StateError, match=r"root\.pem is missing: restore it"):
        load_or_create(created.parent, trust_domain, now)
    assert not list(created.rglob("root.pem"))


def test_parts_of_two_authorities(
    created: Path, trust_domain: TrustDomain, now: datetime, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    load_or_create(other, trust_domain, now).close()
    path = place(created, "intermediate.pem")
    path.write_bytes(place(other, "intermediate.pem").read_bytes())
    with pytest.raises(StateError, match="was not signed by the root; remove it"):
        load_or_create(created.parent, trust_domain, now)
    path.unlink()
    load_or_create(created.parent, trust_domain, now).close()


@pytest.mark.parametrize(
    ("shift", "text"),
    [(ROOT_LIFETIME, "ended at"), (timedelta(days=-2) - ROOT_LIFETIME, "not valid before")],
)
def test_a_clock_outside_the_roots_life(
    created: Path, trust_domain: TrustDomain, now: datetime, shift: timedelta, text: str
) -> None:
    place(created, "intermediate.pem").unlink()
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
