"""Kills the creation of a state directory at every step it takes, and checks what is left each time.

Run as `python crash_points.py DIRECTORY`; prints the number of steps. Each attempt is a forked process that ends
itself with SIGKILL just before its n-th file operation, for n = 1, 2, ... until one attempt gets through.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from ca.identity import TrustDomain
from ca.state import load_or_create

DOMAIN = TrustDomain("mesh.test")
NOW = datetime(2027, 3, 1, tzinfo=UTC)
OPERATIONS = {"open", "os.chmod", "os.mkdir", "os.rename", "os.remove", "os.truncate", "fcntl.flock"}


def attempt(state: Path, step: int) -> bool:
    """Open `state` in a process of its own that dies before its file operation `step`; whether it lived."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in OPERATIONS:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        load_or_create(state, DOMAIN, NOW)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


def main() -> None:
    # A first run here, so that imports which happen on first use are not counted as steps.
    load_or_create(Path(sys.argv[1]) / "warm", DOMAIN, NOW).close()
    step = 1
    while True:
        state = Path(sys.argv[1]) / str(step)
        lived = attempt(state, step)
        root = state / "ca" / "root.pem"
        before = root.read_bytes() if root.exists() else None
        with load_or_create(state, DOMAIN, NOW) as opened:
            assert before in (None, root.read_bytes()), f"step {step}: the root changed"
            key = opened.join_token_key
        with load_or_create(state, DOMAIN, NOW) as again:
            assert again.join_token_key == key
        names = sorted(path.name for path in (state / "ca").iterdir())
        assert names == ["intermediate.pem", "join-token.key", "lock", "root.pem"], f"step {step}: {names}"
        if lived:
            break
        step += 1
    sys.stdout.write(f"{step - 1}\n")


if __name__ == "__main__":
    main()
