"""A rotation on disk: what is trusted, who issues, and what is stored in each phase; requests; offline root keys."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ca.authority import INTERMEDIATE_LIFETIME, ROOT_LIFETIME, AuthorityError
from ca.deadlines import Urgency
from ca.identity import TrustDomain, WorkloadIdentity, control_plane_id
from ca.inventory import read_inventory
from ca.offline import renew_intermediate
from ca.rotation import ROOT_RENEWAL, Observed, Phase, Step, next_step
from ca.rotation_request import request_rotation
from ca.signer import load_private_key, new_private_key, private_key_pem
from ca.state import CaState, StateError, load_or_create
from ca.validation import SvidError, verify_svid

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def state(tmp_path: Path, trust_domain: TrustDomain, now: datetime) -> Iterator[CaState]:
    with load_or_create(tmp_path / "state", trust_domain, now) as opened:
        yield opened


@pytest.fixture
def directory(state: CaState, tmp_path: Path) -> Path:
    return tmp_path / "state"


def reopened(state: CaState, directory: Path, now: datetime) -> CaState:
    state.close()
    return load_or_create(directory, state.trust_domain, now)


def leaf(state: CaState, identity: WorkloadIdentity, now: datetime, lifetime: timedelta = HOUR) -> bytes:
    return state.authority(now).issue(identity.spiffe_id, lifetime, now).certificate_chain_pem


def openssl_verifies(chain: bytes, roots: bytes, now: datetime, folder: Path) -> bool:
    """The opinion of the openssl command, with strict X.509 rules."""
    (folder / "roots.pem").write_bytes(roots)
    (folder / "chain.pem").write_bytes(chain)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-attime", str(int(now.timestamp()))]
    command += ["-no-CApath", "-no-CAstore", "-CAfile", "roots.pem", "-untrusted", "chain.pem", "chain.pem"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def accepted(chain: bytes, state: CaState, now: datetime, folder: Path) -> bool:
    """Whether the bundle of `state` is enough to believe `chain`; our own verification and openssl agree."""
    try:
        verify_svid(chain, state.bundle, now)
        ours = True
    except SvidError:
        ours = False
    if shutil.which("openssl"):
        assert openssl_verifies(chain, state.bundle.own_pem, now, folder) == ours
    return ours


def test_old_and_new_chains_in_each_phase(
    state: CaState, directory: Path, identity: WorkloadIdentity, now: datetime, tmp_path: Path
) -> None:
    first, before = state.issuing_root, state.bundle
    old = leaf(state, identity, now)

    state.advance(Step.BEGIN, now)
    both = state.bundle
    assert (state.phase, state.issuing_root) == (Phase.PREPARED, first)
    assert both.own_pem.startswith(before.own_pem)  # the older first: the order does not change
    also_old = leaf(state, identity, now)
    assert all(accepted(chain, state, now, tmp_path) for chain in (old, also_old))

    state.advance(Step.ACTIVATE, now)
    assert (state.phase, state.bundle.own_pem) == (Phase.ACTIVATED, both.own_pem)
    assert state.issuing_root != first
    new = leaf(state, identity, now)
    assert all(accepted(chain, state, now, tmp_path) for chain in (old, also_old, new))

    state.advance(Step.RETIRE, now)
    assert state.phase is Phase.STABLE
    assert before.own_pem + state.bundle.own_pem == both.own_pem
    assert accepted(new, state, now, tmp_path)
    assert not accepted(old, state, now, tmp_path)
    assert [path.name for path in (directory / "ca" / "roots").iterdir()] == [state.issuing_root]


def test_each_phase_survives_a_restart(
    state: CaState, directory: Path, identity: WorkloadIdentity, now: datetime
) -> None:
    opened = state
    for number, step in enumerate([Step.BEGIN, Step.ACTIVATE, Step.RETIRE]):
        moment = now + number * HOUR
        opened.advance(step, moment)
        bundle, issuing, rotation = opened.bundle, opened.issuing_root, opened.rotation(Observed())
        opened = reopened(opened, directory, moment + HOUR)
        assert (opened.bundle, opened.issuing_root) == (bundle, issuing)
        assert opened.bundle.own_pem == bundle.own_pem
        assert opened.rotation(Observed()) == rotation
        assert rotation.since == moment
    leaf(opened, identity, now + DAY)
    opened.close()


@pytest.mark.parametrize("step", list(Step))
def test_no_step_out_of_turn(state: CaState, now: datetime, step: Step) -> None:
    for due in Step:
        if step is not due:
            with pytest.raises(ValueError, match="does not follow"):
                state.advance(step, now)
        state.advance(due, now)


def test_the_end_of_leaves_is_kept(state: CaState, directory: Path, identity: WorkloadIdentity, now: datetime) -> None:
    assert state.rotation(Observed()).old_leaves_end is None
    assert state.leaves_end_at_start is None
    state.authority(now).issue(control_plane_id(identity.trust_domain), DAY, now)
    assert state.rotation(Observed()).old_leaves_end is None  # the control plane replaces its own at once
    leaf(state, identity, now, DAY)
    public_key = new_private_key().public_key()
    state.authority(now).sign(identity.spiffe_id, public_key, 2 * DAY, now)
    noted = state.rotation(Observed()).old_leaves_end
    assert noted is not None
    assert now + 2 * DAY <= noted <= now + 2.5 * DAY
    opened = reopened(state, directory, now)
    assert opened.leaves_end_at_start == noted
    opened.advance(Step.BEGIN, now)
    opened.advance(Step.ACTIVATE, now)
    leaf(opened, identity, now, 5 * DAY)
    rotation = opened.rotation(Observed(absent={"shop/web": now + 9 * DAY}))
    assert rotation.old_leaves_end == noted
    assert next_step(rotation, now) is None
    assert next_step(rotation, noted) is Step.RETIRE
    opened.advance(Step.RETIRE, now)
    after = opened.rotation(Observed()).old_leaves_end
    assert after is not None
    assert after >= now + 5 * DAY
    opened.close()


def test_not_each_leaf_is_a_write(state: CaState, directory: Path, identity: WorkloadIdentity, now: datetime) -> None:
    path, writes = directory / "ca" / "rotation.json", set()
    for minute in range(24 * 60):  # a day of leaves that live a day
        leaf(state, identity, now + timedelta(minutes=minute), DAY)
        writes.add(path.stat().st_ino)
        writes.add(path.stat().st_mtime_ns)
    assert len(writes) <= 2 * 9


def test_an_issuer_from_before_a_step_refuses(state: CaState, identity: WorkloadIdentity, now: datetime) -> None:
    state.advance(Step.BEGIN, now)
    issuer = state.authority(now)
    issuer.issue(identity.spiffe_id, HOUR, now)
    state.advance(Step.ACTIVATE, now)
    with pytest.raises(AuthorityError, match="ask for the authority anew"):
        issuer.issue(identity.spiffe_id, HOUR, now)


def test_keys_that_stay_with_the_workload(state: CaState, identity: WorkloadIdentity, now: datetime) -> None:
    key = new_private_key()
    chain = state.authority(now).sign(identity.spiffe_id, key.public_key(), HOUR, now)
    assert verify_svid(chain, state.bundle, now) == identity.spiffe_id
    assert x509.load_pem_x509_certificate(chain).public_key() == key.public_key()
    assert b"PRIVATE" not in chain
    with pytest.raises(AuthorityError, match="curve P-256, not secp384r1"):
        state.authority(now).sign(identity.spiffe_id, ec.generate_private_key(ec.SECP384R1()).public_key(), HOUR, now)


def test_a_request_is_obeyed_once(state: CaState, directory: Path, now: datetime) -> None:
    assert next_step(state.rotation(Observed()), now) is None
    request_rotation(directory, now)
    assert read_inventory(directory).request is not None
    stored = (directory / "ca" / "rotation.request").read_bytes()
    assert next_step(state.rotation(Observed()), now) is Step.BEGIN
    state.advance(Step.BEGIN, now)
    assert not (directory / "ca" / "rotation.request").exists()
    (directory / "ca" / "rotation.request").write_bytes(stored)  # as if it had died before the removal
    (directory / "ca" / "rotation.request").chmod(0o600)
    assert not state.rotation(Observed()).requested
    assert read_inventory(directory).request is None
    request_rotation(directory, now)  # another wish, while one is under way
    state.advance(Step.ACTIVATE, now)
    state.advance(Step.RETIRE, now)
    assert next_step(state.rotation(Observed()), now) is Step.BEGIN


def test_a_root_of_a_wrong_clock_is_usable_when_the_clock_is_right_again(
    state: CaState, directory: Path, identity: WorkloadIdentity, now: datetime
) -> None:
    wrong = now + ROOT_LIFETIME - 200 * DAY
    assert next_step(state.rotation(Observed()), wrong) is Step.BEGIN
    for step in Step:
        state.advance(step, wrong)
    leaf(state, identity, wrong)
    assert verify_svid(leaf(state, identity, now), state.bundle, now) == identity.spiffe_id
    opened = reopened(state, directory, now)
    leaf(opened, identity, now)
    opened.close()


@pytest.mark.parametrize("steps", [[Step.BEGIN], [Step.BEGIN, Step.ACTIVATE]])
def test_a_rotation_interrupted_for_years_goes_on(
    state: CaState, directory: Path, identity: WorkloadIdentity, now: datetime, steps: list[Step]
) -> None:
    late = now + ROOT_LIFETIME - DAY
    for step in steps:
        state.advance(step, late)
    opened = reopened(state, directory, late + 2 * DAY)
    assert opened.phase is Phase.ACTIVATED
    assert verify_svid(leaf(opened, identity, late + 2 * DAY), opened.bundle, late + 2 * DAY) == identity.spiffe_id
    assert next_step(opened.rotation(Observed(frozenset("a"))), late + 2 * DAY) is Step.RETIRE
    opened.close()


def test_an_exported_root_key(
    state: CaState, directory: Path, identity: WorkloadIdentity, now: datetime, tmp_path: Path
) -> None:
    key, bundle = tmp_path / "root.key", state.bundle
    with pytest.raises(StateError, match="choose a path elsewhere"):
        state.export_root_key(directory / "ca" / "root.key")
    state.export_root_key(key)
    assert key.stat().st_mode & 0o777 == 0o600
    private = load_private_key(key.read_bytes())
    assert private.public_key() == x509.load_pem_x509_certificate(bundle.own_pem).public_key()
    (stored,) = directory.rglob("root.pem")
    assert b"PRIVATE" not in stored.read_bytes()
    with pytest.raises(StateError, match="was exported before"):
        state.export_root_key(key)
    opened = reopened(state, directory, now)
    assert opened.bundle == bundle
    leaf(opened, identity, now)

    # Weeks before the end it is due, days before it is urgent, then leaves cannot be issued.
    intermediate = next(each for each in opened.deadlines() if each.subject == "intermediate")
    assert intermediate.action is not None
    ends = now + INTERMEDIATE_LIFETIME
    found = [intermediate.urgency(ends - days * DAY) for days in (61, 59, 13, 0)]
    assert found == [Urgency.LATER, Urgency.DUE, Urgency.URGENT, Urgency.ENDED]
    leaf(opened, identity, ends - 30 * DAY)
    with pytest.raises(StateError, match=r"tulle ca renew-intermediate --state \S+ --root-key FILE"):
        opened.authority(ends)

    # The control plane that runs takes the new one, without a restart.
    renew_intermediate(directory, key, ends - 10 * DAY)
    assert verify_svid(leaf(opened, identity, ends + DAY), opened.bundle, ends + DAY) == identity.spiffe_id
    opened.close()


def test_renewal_with_the_wrong_key(state: CaState, directory: Path, now: datetime, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.key"
    with pytest.raises(StateError, match=r"cannot read \S+wrong.key: No such file"):
        renew_intermediate(directory, wrong, now)
    wrong.write_bytes(b"nonsense")
    with pytest.raises(StateError, match="no readable, unencrypted private key"):
        renew_intermediate(directory, wrong, now)
    wrong.write_bytes(private_key_pem(new_private_key()))
    with pytest.raises(StateError, match="is not that of a root in"):
        renew_intermediate(directory, wrong, now)
    (stored,) = directory.rglob("root.pem")
    with pytest.raises(StateError, match="renewed without being asked"):
        renew_intermediate(directory, stored, now)
    with pytest.raises(StateError, match="holds another key"):
        state.export_root_key(wrong)


@pytest.mark.parametrize("brought", [False, True])
def test_a_new_root_whose_key_is_never_stored_here(
    state: CaState, directory: Path, identity: WorkloadIdentity, now: datetime, tmp_path: Path, brought: bool
) -> None:
    key = tmp_path / "new-root.key"
    if brought:
        key.write_bytes(private_key_pem(new_private_key()))
    request_rotation(directory, now, key)
    for step in Step:
        state.advance(step, now)
    text = load_private_key(key.read_bytes())
    assert x509.load_pem_x509_certificate(state.bundle.own_pem).public_key() == text.public_key()
    secret = key.read_bytes().splitlines()[1]
    assert not [path for path in directory.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert state.rotation(Observed()).root.offline
    leaf(state, identity, now)
    # The next one begins only when a person asks, and with another key.
    late = now + ROOT_LIFETIME - ROOT_RENEWAL + DAY
    assert next_step(state.rotation(Observed()), late) is None
    request_rotation(directory, now, key)
    with pytest.raises(StateError, match="a new root needs a new key"):
        state.advance(Step.BEGIN, now)
    assert state.phase is Phase.STABLE


def test_a_place_for_the_key_that_cannot_be(directory: Path, now: datetime, tmp_path: Path) -> None:
    for path in (Path("relative.key"), tmp_path / "nowhere" / "root.key"):
        with pytest.raises(StateError, match="give an absolute path"):
            request_rotation(directory, now, path)
    assert not (directory / "ca" / "rotation.request").exists()


def test_the_inventory_needs_no_lock(
    state: CaState, directory: Path, identity: WorkloadIdentity, now: datetime
) -> None:
    leaf(state, identity, now)
    state.advance(Step.BEGIN, now)
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    found = read_inventory(directory)
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before
    assert found.record.phase is Phase.PREPARED
    assert b"".join(root.certificate.public_bytes(Encoding.PEM) for root in found.roots) == state.bundle.own_pem
    assert [root.life.id for root in found.roots] == list(found.record.roots)
    assert all(deadline.action is None for root in found.roots for deadline in root.deadlines)
    assert found.record.leaves_end.keys() == {state.issuing_root}
    assert "PRIVATE" not in repr(found)


def older_layout(directory: Path) -> dict[str, bytes]:
    """Make it what versions before rotation left."""
    folder = directory / "ca"
    (place,) = (folder / "roots").iterdir()
    for file in place.iterdir():
        file.rename(folder / file.name)
    shutil.rmtree(folder / "roots")
    (folder / "rotation.json").unlink()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_older_layout_is_taken_over(
    state: CaState, directory: Path, identity: WorkloadIdentity, now: datetime
) -> None:
    bundle, chain = state.bundle, leaf(state, identity, now)
    state.close()
    older = older_layout(directory)
    with load_or_create(directory, state.trust_domain, now) as opened:
        assert opened.bundle == bundle
        assert opened.join_token_key == state.join_token_key
        assert pem_count(leaf(opened, identity, now)) == 2
        assert leaf(opened, identity, now).endswith(chain[-len(chain) // 3 :])  # the same intermediate
        # Nobody noted what was issued: nothing of it outlives the intermediate.
        assert opened.leaves_end_at_start == (now + INTERMEDIATE_LIFETIME).replace(microsecond=0)
    assert sorted(path.name for path in (directory / "ca").iterdir()) == [
        "join-token.key",
        "lock",
        "roots",
        "rotation.json",
    ]
    (place,) = (directory / "ca" / "roots").iterdir()
    assert {path.name: path.read_bytes() for path in place.iterdir()}.items() <= older.items()


def test_another_root_of_the_older_layout_is_not_removed(state: CaState, directory: Path, now: datetime) -> None:
    state.close()
    other = directory.parent / "other"
    load_or_create(other, state.trust_domain, now).close()
    (root,) = other.rglob("root.pem")
    shutil.copy(root, directory / "ca" / "root.pem")
    with pytest.raises(StateError, match="is none of the roots"):
        load_or_create(directory, state.trust_domain, now)
    assert (directory / "ca" / "root.pem").read_bytes() == root.read_bytes()


def test_a_lost_commit_point(state: CaState, directory: Path, now: datetime) -> None:
    bundle = state.bundle
    (directory / "ca" / "rotation.json").unlink()
    opened = reopened(state, directory, now)
    assert opened.bundle == bundle  # one root: which one counts is clear
    opened.advance(Step.BEGIN, now)
    (directory / "ca" / "rotation.json").unlink()
    with pytest.raises(StateError, match=r"rotation\.json is missing, and says which root counts"):
        reopened(opened, directory, now)
    shutil.rmtree(directory / "ca" / "roots")
    with pytest.raises(StateError, match="restore it, or remove"):
        load_or_create(directory, state.trust_domain, now)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"phase": "activated"}, "does not fit its roots"),
        ({"phase": "other"}, "not a valid Phase"),
        ({"root": "../../elsewhere"}, "32 hexadecimal digits"),
        ({"next_root": "x"}, "32 hexadecimal digits"),
        ({"since": "2027-01-01"}, "no zone"),
        ({"since": 5}, "wrong form"),
        ({"leaves_end": []}, "wrong form"),
        ({"root": "0" * 32}, r"root\.pem is missing"),
    ],
)
def test_damage_of_the_commit_point(
    state: CaState, directory: Path, now: datetime, change: dict[str, object], text: str
) -> None:
    state.close()
    path = directory / "ca" / "rotation.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    roots = sorted((directory / "ca" / "roots").iterdir())
    with pytest.raises(StateError, match=text) as refused:
        load_or_create(directory, state.trust_domain, now)
    assert "restore" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sorted((directory / "ca" / "roots").iterdir()) == roots, "a damaged record must not cost a root"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"id": 1}', b"[" * 100_000])
def test_a_damaged_request(state: CaState, directory: Path, content: bytes) -> None:
    path = directory / "ca" / "rotation.request"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StateError, match=r"rotation\.request is damaged: remove it"):
        state.rotation(Observed())


def test_damage_of_the_next_root_shows_at_start(state: CaState, directory: Path, now: datetime) -> None:
    first = state.issuing_root
    state.advance(Step.BEGIN, now)
    state.close()
    (path,) = (each for each in directory.rglob("intermediate.pem") if each.parent.name != first)
    path.write_bytes(b"nonsense")
    with pytest.raises(StateError, match=r"intermediate\.pem is damaged"):
        load_or_create(directory, state.trust_domain, now)


def test_two_roots_exchanged(state: CaState, directory: Path, now: datetime) -> None:
    state.advance(Step.BEGIN, now)
    state.close()
    one, two = directory.rglob("root.pem")
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    with pytest.raises(StateError, match="is another root than its directory says"):
        load_or_create(directory, state.trust_domain, now)


def pem_count(chain: bytes) -> int:
    return len(x509.load_pem_x509_certificates(chain))
