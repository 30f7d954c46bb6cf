"""Death at any moment of what changes a state directory: the old or the new state is left, and nothing beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

import ca
from ca.identity import TrustDomain
from ca.state import load_or_create

REPOSITORY = Path(ca.__file__).parents[1]


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name(script)), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory where the system has one: thousands of syncs of a disk would take minutes."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


# The least number of calls into the system that each takes: the test would be blind if it counted fewer.
@pytest.mark.parametrize(
    ("change", "least"),
    [
        ("create", 60),
        ("take-over", 60),
        ("begin", 40),
        ("begin-offline", 60),
        ("activate", 12),
        ("retire", 20),
        ("export", 20),
        ("issue", 10),
    ],
)
def test_death_at_every_call_into_the_system(memory: Path, change: str, least: int) -> None:
    result = subprocess.run(
        python("crash_points.py", str(memory), change),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= least


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
        before = [path.read_bytes() for path in state.rglob("root.pem")]
        load_or_create(state, trust_domain, now).close()
        after = [path.read_bytes() for path in state.rglob("root.pem")]
        assert len(after) == 1
        assert before in ([], after)
