"""`tulle demo`: every fact holds, a wrong one makes it fail, and nothing of it stays behind, however it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.demo.bookstore_mesh import OBJECTS
from deploy.demo.errors import DemoError
from deploy.demo.local_mesh import LocalMesh
from deploy.demo.private_namespaces import what_is_missing
from deploy.demo.waiting import eventually

pytestmark = pytest.mark.envoy

Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where a demo has its temporary files."""
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


@pytest.fixture
def run(temporary: Path) -> Iterator[Run]:
    """Starts `tulle demo` with arguments; at the end no process of it may be left."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "deploy.cli", "demo", *map(str, arguments)]
        environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def processes_with(temporary: Path) -> list[str]:
    """The command lines of all processes that a demo with these temporary files has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={temporary}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # ended meanwhile
            continue
    return found


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What `process` prints up to the line with `text`."""
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if text in line:
            return "".join(printed)
    raise AssertionError("".join(printed))


def check_complete(printed: str) -> None:
    """The table is there, and all of it held."""
    held = re.search(r"^all (\d+) facts held$", printed, re.MULTILINE)
    assert held, printed
    assert int(held[1]) == printed.count("│ ✔ │") >= 30
    for claim in (
        "bookbuyer: GET /books/%2e%2e/till",
        "spiffe://cluster.local/ns/bookbuyer/sa/boo",
        "plaintext straight to bookstore-v1's",
        "split 50/50: 1000 calls",
        "configurations that an Envoy rejected",
    ):
        assert claim in printed


def test_every_fact_holds_and_nothing_is_left(run: Run, temporary: Path) -> None:
    process = run()
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    check_complete(printed)
    assert processes_with(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.root
def test_transparent_mode_needs_no_configuration_in_applications(run: Run, temporary: Path) -> None:
    if reason := what_is_missing():
        pytest.skip(reason)
    process = run("--transparent")
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    check_complete(printed)
    assert processes_with(temporary) == []
    assert list(temporary.iterdir()) == []


def test_a_fact_that_does_not_hold_makes_it_fail(run: Run, tmp_path: Path, temporary: Path) -> None:
    shutil.copytree(OBJECTS, tmp_path / "objects")
    split = tmp_path / "objects" / "split.yaml"
    swapped = split.read_text().replace("$v1", "$other").replace("$v2", "$v1").replace("$other", "$v2")
    split.write_text(swapped)
    process = run("--objects", tmp_path / "objects")
    printed, _ = process.communicate()
    assert process.returncode == 1
    assert "split 100/0: in effect: expected < 1 s, found not within 10 s" in printed
    assert "did not hold; the rest was not tried" in printed
    assert processes_with(temporary) == []


def test_broken_objects_are_explained(run: Run, tmp_path: Path) -> None:
    shutil.copytree(OBJECTS, tmp_path / "objects")
    (tmp_path / "objects" / "access.yaml").write_text("kind: TrafficTarget\n")
    process = run("--objects", tmp_path / "objects")
    printed, _ = process.communicate()
    assert process.returncode == 1
    assert "the control plane says: error TL" in printed


def test_keep_offers_what_to_try_until_ctrl_c(run: Run, temporary: Path) -> None:
    process = run("--keep")
    printed = read_until(process, "and call again")
    check_complete(printed)
    allowed, refused, thief = re.findall(r"curl -sS (\S+)", printed)[:3]
    with urllib.request.urlopen(allowed, timeout=10) as answer:
        assert b"spiffe://cluster.local/ns/bookbuyer/sa/bookbuyer" in answer.read()
    for url in (refused, thief):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url, timeout=10)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=15)
    assert rest.strip() == "stopped; everything is cleaned up"
    assert process.returncode == 0
    assert processes_with(temporary) == []


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["until it ends", "the control plane", "5 sidecars", "a TrafficTarget"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_can_be_stopped_at_any_time(run: Run, temporary: Path, moment: str, number: signal.Signals, code: int) -> None:
    process = run()
    read_until(process, moment)
    process.send_signal(number)
    rest, _ = process.communicate(timeout=15)
    assert rest.strip().splitlines()[-1] == "stopped; everything is cleaned up"
    assert "Traceback" not in rest
    assert process.returncode == code
    assert processes_with(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_transparent_mode_can_be_stopped(run: Run, temporary: Path, number: signal.Signals) -> None:
    if reason := what_is_missing():
        pytest.skip(reason)
    process = run("--transparent")
    read_until(process, "5 sidecars")
    process.send_signal(number)
    rest, _ = process.communicate(timeout=15)
    assert "Traceback" not in rest
    assert process.returncode == 128 + number
    assert processes_with(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), pytest.param(("--transparent",), marks=pytest.mark.root)])
async def test_kill_leaves_no_process(run: Run, temporary: Path, arguments: tuple[str, ...]) -> None:
    if arguments and (reason := what_is_missing()):
        pytest.skip(reason)
    process = run(*arguments)
    read_until(process, "5 applications")
    assert len(processes_with(temporary)) >= 2
    process.kill()

    async def all_gone() -> bool:
        return not processes_with(temporary)

    await eventually(all_gone, "every process of the demo to be gone")


def test_what_is_no_envoy_is_named(run: Run) -> None:
    process = run("--envoy", "/bin/true")
    printed, _ = process.communicate()
    assert process.returncode == 1
    assert printed.startswith("Error: /bin/true is not Envoy")


async def test_a_failed_start_tells_the_last_words_of_the_process(tmp_path: Path) -> None:
    (tmp_path / "mesh").mkdir()
    workload = "{metadata: {name: v1, namespace: shop}, spec: {address: 127.0.0.1}}"
    (tmp_path / "mesh" / "v1.yaml").write_text(
        f"{{apiVersion: tulle.dev/v1alpha1, kind: Workload, {workload.removeprefix('{')}\n"
    )
    async with LocalMesh(tmp_path / "mesh", work_dir=tmp_path / "work", envoy=Path("/bin/true")) as mesh:
        with pytest.raises(DemoError, match=r"shop/v1-sidecar ended with code 1.*\n +Error: /bin/true is not Envoy"):
            await mesh.start_sidecar("shop/v1")
