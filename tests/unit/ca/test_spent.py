"""Single use: told apart from a second one by every thread, and after every crash."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ca.private_file import StateError
from ca.spent import KEPT_AFTER_EXPIRY, SpentTokens

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ONE, TWO = "1" * 32, "2" * 32

USES_UNTIL_KILLED = """
import itertools, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ca.spent import SpentTokens
now = datetime.now(UTC)
spent = SpentTokens(Path(sys.argv[1]), now)
for number in itertools.count():
    assert spent.spend(f"{number:032x}", now + timedelta(days=1), now)
    print(number, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spent-tokens"


def test_once(path: Path) -> None:
    with SpentTokens(path, NOW) as spent:
        assert ONE not in spent
        assert spent.spend(ONE, NOW + DAY, NOW)
        assert ONE in spent
        assert not spent.spend(ONE, NOW + DAY, NOW)
        assert spent.spend(TWO, NOW + DAY, NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_over_a_restart(path: Path) -> None:
    for first in (True, False, False):
        with SpentTokens(path, NOW) as spent:
            assert spent.spend(ONE, NOW + DAY, NOW) is first


def test_of_many_at_once_one_wins(path: Path) -> None:
    wins: list[bool] = []
    with SpentTokens(path, NOW) as spent:
        ready = threading.Barrier(8)

        def use() -> None:
            ready.wait()
            wins.append(spent.spend(ONE, NOW + DAY, NOW))

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(wins) == [False] * 7 + [True]


def test_killed_at_any_point(path: Path) -> None:
    """What was answered before kill -9 is remembered after it."""
    for patience in (1, 7, 40):
        path.unlink(missing_ok=True)
        command = [sys.executable, "-c", USES_UNTIL_KILLED, path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ}, text=True) as process:
            assert process.stdout is not None
            answered = [int(process.stdout.readline()) for _ in range(patience)]
            process.send_signal(signal.SIGKILL)
            answered += [int(line) for line in process.stdout if line.endswith("\n")]
        with SpentTokens(path, datetime.now(UTC)) as spent:
            assert all(f"{number:032x}" in spent for number in answered)


@pytest.mark.parametrize("torn", [b"1", b"1804000000 ", b"1804000000 " + b"3" * 32])
def test_what_a_crash_cut_off_was_not_answered(path: Path, torn: bytes) -> None:
    with SpentTokens(path, NOW) as spent:
        spent.spend(ONE, NOW + DAY, NOW)
    with path.open("ab") as file:
        file.write(torn)
    with SpentTokens(path, NOW) as spent:
        assert ONE in spent
        assert "3" * 32 not in spent
        assert spent.spend(TWO, NOW + DAY, NOW)
    with SpentTokens(path, NOW) as spent:
        assert ONE in spent
        assert TWO in spent


@pytest.mark.parametrize("line", [b"nonsense\n", b"\n", b"12 " + b"x" * 32 + b"\n", b"-1 " + b"1" * 32 + b"\n"])
def test_damage_is_an_error(path: Path, line: bytes) -> None:
    path.write_bytes(line)
    path.chmod(0o600)
    with pytest.raises(StateError, match="is damaged: remove it together with"):
        SpentTokens(path, NOW)


def test_others_must_not_read_it(path: Path) -> None:
    path.touch(0o644)
    with pytest.raises(StateError, match="chmod 600"):
        SpentTokens(path, NOW)


def test_expired_ones_are_forgotten_in_the_end(path: Path) -> None:
    with SpentTokens(path, NOW) as spent:
        spent.spend(ONE, NOW + DAY, NOW)
    with SpentTokens(path, NOW + DAY + KEPT_AFTER_EXPIRY) as spent:
        assert ONE in spent, "a clock set back by a day must not make it good again"
    with SpentTokens(path, NOW + DAY + KEPT_AFTER_EXPIRY + timedelta(seconds=1)) as spent:
        assert ONE not in spent
    assert path.read_bytes() == b""


def test_the_file_does_not_grow_without_end(path: Path) -> None:
    later = NOW
    with SpentTokens(path, NOW) as spent:
        for number in range(5000):
            later += timedelta(hours=1)
            assert spent.spend(f"{number:032x}", later, later)
        assert len(path.read_bytes().splitlines()) < 1024 + 2 * 25 + 1
        assert f"{4999:032x}" in spent


def test_a_disk_that_refuses_spends_nothing(path: Path) -> None:
    with SpentTokens(path, NOW) as spent:
        os.close(spent._file)
        spent._file = os.open(path, os.O_RDONLY)  # writing fails
        with pytest.raises(StateError, match="cannot write"):
            spent.spend(ONE, NOW + DAY, NOW)
        assert ONE not in spent
        os.close(spent._file)
        spent._file = os.open(path, os.O_WRONLY)
        assert spent.spend(ONE, NOW + DAY, NOW)
