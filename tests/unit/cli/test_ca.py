"""`tulle ca`: what it says of a state directory, with a control plane and without, and how it takes mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from ca.authority import INTERMEDIATE_LIFETIME
from ca.identity import TrustDomain
from ca.inventory import read_inventory
from ca.rotation import Observed, Phase, Reason, Step, Wait
from ca.state import CaState, load_or_create
from deploy.cli import tulle
from deploy.cli.ca_report import Picture, as_lines
from deploy.rotation_status import RotationStatus, ServingMark, is_served, write_status

Run = Callable[..., Result]
DOMAIN = TrustDomain("cluster.local")
NOW = datetime.now(UTC)
TULLE = [sys.executable, "-m", "deploy.cli", "ca"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    load_or_create(tmp_path / "state", DOMAIN, NOW).close()
    return tmp_path / "state"


@pytest.fixture
def state(folder: Path) -> Iterator[CaState]:
    with load_or_create(folder, DOMAIN, NOW) as opened:
        yield opened


@pytest.fixture
def run(folder: Path) -> Run:
    def run(*words: str | Path, state: Path = folder) -> Result:
        return CliRunner().invoke(tulle, ["ca", *map(str, words), "--state", str(state)], prog_name="tulle")

    return run


@pytest.fixture
def served(folder: Path) -> Iterator[ServingMark]:
    mark = ServingMark(folder)
    assert mark.put()
    yield mark
    mark.close()


def report(state: CaState, **changes: object) -> RotationStatus:
    """What a control plane would write of this state."""
    present = state.rotation(Observed())
    values: dict[str, object] = {
        "phase": state.phase,
        "since": NOW,
        "root": present.root.id,
        "next_root": None if present.next_root is None else present.next_root.id,
        "proxies": 3,
        "connected": 2,
        "trusting": 1,
        "moved": 0,
    }
    return RotationStatus(**{**values, **changes})


def one_line(done: Result) -> str:
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_status_without_a_control_plane(run: Run, folder: Path) -> None:
    done = run("status")
    assert done.exit_code == 0
    assert "not running" in done.stdout
    root = read_inventory(folder).record.root
    assert f"{root}: signs, key here" in done.stdout
    data = json.loads(run("status", "-o", "json").stdout)
    assert (data["phase"], data["control_plane"], data["signing_root"]) == ("stable", "not running", root)
    assert data["proxies"] is None
    assert data["warnings"] == []


def test_status_during_a_rotation(run: Run, folder: Path, state: CaState, served: ServingMark) -> None:
    assert served.put()
    assert "has not reported" in run("status").stdout
    state.advance(Step.BEGIN, NOW)
    waits = (Wait(Reason.BUNDLE, ("shop/web",)), Wait(Reason.ABSENT, ("shop/old",), NOW + timedelta(hours=5)))
    write_status(folder, report(state, waits=waits))
    text = run("status").stdout
    assert "2 of 3 proxies connected, 1 trust both roots" in text
    assert "1 proxy (shop/web) to acknowledge" in text
    assert "1 proxy (shop/old) to connect" in text
    assert "(in 4 hours)" in text
    assert text.count("does not sign") == 1
    data = json.loads(run("status", "-o", "json").stdout)
    assert data["proxies"] == {"declared": 3, "connected": 2, "trusting": 1, "moved": 0}
    assert [each["proxies"] for each in data["waits"]] == [["shop/web"], ["shop/old"]]
    assert [each["role"] for each in data["roots"]] == ["old root", "new root"]
    # What was reported of the phase before says nothing of this one.
    state.advance(Step.ACTIVATE, NOW)
    assert "has not reported" in run("status").stdout
    write_status(folder, report(state, problem="the disk is full"))
    assert "the rotation cannot go on: the disk is full" in run("status").stdout


def test_what_a_dead_control_plane_reported_does_not_count(run: Run, folder: Path, state: CaState) -> None:
    mark = ServingMark(folder)
    assert mark.put()
    write_status(folder, report(state))
    assert "2 of 3" in run("status").stdout
    mark.close()
    assert "2 of 3" not in run("status").stdout


def test_the_mark_of_a_control_plane(folder: Path) -> None:
    first, second = ServingMark(folder), ServingMark(folder)
    assert not is_served(folder)
    assert first.put()
    assert is_served(folder)
    assert not second.put()
    first.close()
    assert second.put()
    second.close()
    assert not is_served(folder)


def test_what_is_due_is_told(folder: Path) -> None:
    def warnings(after: timedelta) -> list[str]:
        picture = Picture(read_inventory(folder), served=False, reported=None, now=NOW + after)
        return [text for label, text in as_lines(picture) if label == "warning"]

    assert warnings(timedelta(0)) == []
    [due] = warnings(INTERMEDIATE_LIFETIME - timedelta(days=30))
    assert "the control plane renews it by itself" in due
    [urgent] = warnings(INTERMEDIATE_LIFETIME - timedelta(days=1))
    assert urgent.startswith("urgent: ")
    assert "has ended" in warnings(INTERMEDIATE_LIFETIME + timedelta(days=1))[0]


def test_rotate_is_requested_once(run: Run, folder: Path) -> None:
    done = run("rotate")
    assert done.exit_code == 0
    assert "no control plane is running" in done.stdout
    first = read_inventory(folder).request
    assert first is not None
    assert "requested already" in one_line(run("rotate"))
    assert read_inventory(folder).request == first
    assert "requested" in run("status").stdout


def test_rotate_while_it_rotates(run: Run, folder: Path, state: CaState) -> None:
    state.advance(Step.BEGIN, NOW)
    assert "under way already (prepared since" in one_line(run("rotate"))
    assert "under way already" in one_line(run("rotate", "--watch", "--root-key-out", folder / "new.key"))
    assert read_inventory(folder).request is None


def test_rotate_with_an_offline_key(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run("export-root-key", tmp_path / "root.key").exit_code == 0
    assert "key offline" in run("status").stdout
    assert "--root-key-out" in one_line(run("rotate"))
    assert "directory that exists" in one_line(run("rotate", "--root-key-out", tmp_path / "nowhere" / "new.key"))
    assert run("rotate", "--root-key-out", tmp_path / "new.key").exit_code == 0
    request = read_inventory(folder).request
    assert request is not None
    assert request.root_key == tmp_path / "new.key"


def test_an_offline_key_renews_the_intermediate(run: Run, folder: Path, tmp_path: Path) -> None:
    assert "has its key" not in run("status").stdout
    key = tmp_path / "root.key"
    assert run("export-root-key", key).exit_code == 0
    before = read_inventory(folder).roots[0].intermediate
    assert run("renew-intermediate", "--root-key", key).exit_code == 0
    assert read_inventory(folder).roots[0].intermediate != before
    wrong = tmp_path / "wrong.key"
    wrong.write_text("no key")
    assert "cannot use" in one_line(run("renew-intermediate", "--root-key", wrong))
    assert "PRIVATE KEY" not in run("inspect").stdout


def test_the_key_is_not_exported_beside_a_control_plane(run: Run, state: CaState, tmp_path: Path) -> None:
    assert "in use by another control plane" in one_line(run("export-root-key", tmp_path / "root.key"))
    assert not (tmp_path / "root.key").exists()
    assert state.phase is Phase.STABLE


def test_inspect(run: Run, folder: Path) -> None:
    text = run("inspect").stdout
    for word in ("spiffe://cluster.local", "critical: key_cert_sign, crl_sign", "serialNumber=", "its intermediate"):
        assert word in text
    [chain] = json.loads(run("inspect", "-o", "json").stdout)
    stored = read_inventory(folder).roots[0]
    assert int(chain["root"]["serial"], 16) == stored.certificate.serial_number
    assert chain["root"]["sha256"].startswith(stored.life.id)
    assert chain["intermediate"]["issuer"] == chain["root"]["subject"]
    pem = run("inspect", "-o", "pem").stdout.encode()
    assert x509.load_pem_x509_certificates(pem) == [stored.certificate]


@pytest.mark.parametrize("words", [("status",), ("rotate",), ("inspect",)])
def test_a_directory_that_is_none(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "no state directory" in one_line(run(*words, state=tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_a_damaged_state_is_one_line(run: Run, folder: Path) -> None:
    (folder / "ca" / "rotation.json").write_text("{")
    assert "damaged" in one_line(run("status"))


def test_watching_ends_when_the_old_root_is_gone(folder: Path, state: CaState, served: ServingMark) -> None:
    assert served.put()
    command = [*TULLE, "rotate", "--watch", "--state", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        lines = iter(watching.stdout)
        assert "requested" in next(lines)
        assert "waiting for the control plane to begin" in next(lines)
        state.advance(Step.BEGIN, NOW)
        write_status(folder, report(state, waits=(Wait(Reason.BUNDLE, ("shop/web",)),)))
        line = next(each for each in lines if "shop/web" in each)
        assert "1 of 2 connected proxies trust the new root" in line
        state.advance(Step.ACTIVATE, NOW)
        write_status(folder, report(state, moved=2))
        assert any("2 of 2 connected proxies have a certificate of the new root" in each for each in lines)
        state.advance(Step.RETIRE, NOW)
        assert "is gone" in "".join(lines)
        assert watching.wait(20) == 0


def test_an_interrupted_watch_leaves_the_rotation_alone(folder: Path) -> None:
    with subprocess.Popen(
        [*TULLE, "rotate", "--watch", "--state", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell in the background lets its children ignore SIGINT; a terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # the child execs at once
    ) as watching:
        assert watching.stdout is not None
        assert "requested" in watching.stdout.readline()
        assert "start tulle serve" in watching.stdout.readline()
        os.kill(watching.pid, signal.SIGINT)
        _, complaint = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert complaint == "the rotation goes on without being watched: tulle ca status tells how far it is\n"
    assert read_inventory(folder).request is not None
