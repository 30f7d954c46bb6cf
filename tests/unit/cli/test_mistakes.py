"""What a person gets wrong on the command line ends with one clear line and a non-zero code, never a traceback."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ca.identity import TrustDomain
from ca.state import load_or_create
from deploy.cli import tulle

pytestmark = pytest.mark.timeout(20)  # what is wrongly accepted would serve for ever

GOOD = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80}]
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web, address: 10.0.0.1, ports: [{name: http, port: 80}]}
"""
WARNED = "apiVersion: v1\nkind: Sevrice\nmetadata: {name: web, namespace: shop}\n"
BROKEN = "apiVersion: v1\nkind: [\n"


@dataclass(frozen=True)
class Place:
    """Where a command runs: a directory with good objects, and paths and ports that are wrong in one way each."""

    root: Path
    taken: int
    shared: int

    def filled_in(self, argument: str) -> str:
        return argument.format(root=self.root, taken=self.taken, shared=self.shared)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    for name, text in (("good", GOOD), ("warned", GOOD + "---\n" + WARNED), ("broken", GOOD + "---\n" + BROKEN)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "objects.yaml").write_text(text)
    (tmp_path / "file").write_text("")
    (tmp_path / "latin").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "no-join").mkdir()
    open_state = tmp_path / "open-state" / "ca"
    open_state.mkdir(parents=True)
    open_state.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as shared:
        # A listener that would share its port: two control planes on one port would each get a part of the sidecars.
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(("127.0.0.1", 0))
        shared.listen()
        domain = TrustDomain("cluster.local")
        with load_or_create(tmp_path / "locked-state", domain, datetime.now(UTC)):
            yield Place(tmp_path, taken.getsockname()[1], shared.getsockname()[1])


@pytest.fixture
def run(place: Place) -> Callable[[str], Result]:
    def run(command: str) -> Result:
        return CliRunner().invoke(tulle, [place.filled_in(word) for word in command.split()], prog_name="tulle")

    return run


def complaint(done: Result) -> str:
    """The one line that is said; how to call a command, which may stand before it, aside."""
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith(("Usage: ", "Try 'tulle"))]
    assert len(lines) == 1, done.stderr
    return lines[0]


SERVE = "serve {root}/good --state {root}/state --xds-address 127.0.0.1:0 --debug-address 127.0.0.1:0"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("serve {root}/nowhere", "Directory '{root}/nowhere' does not exist."),
        ("serve {root}/file", "Directory '{root}/file' is a file."),
        (f"{SERVE} --state {{root}}/file", "'{root}/file' is a file"),
        (f"{SERVE} --state /proc/nowhere", "cannot create /proc/nowhere"),
        (f"{SERVE} --state {{root}}/open-state", "others can open it: run chmod 700 {root}/open-state/ca"),
        (f"{SERVE} --state {{root}}/locked-state", "is in use by another control plane (process"),
        (f"{SERVE} --xds-address 127.0.0.1:{{taken}}", "127.0.0.1:{taken}"),
        (f"{SERVE} --xds-address 127.0.0.1:{{shared}}", "127.0.0.1:{shared}"),
        (f"{SERVE} --debug-address 127.0.0.1:{{taken}}", "{taken}"),
        (f"{SERVE} --debug-address 127.0.0.1:{{shared}}", "{shared}"),
        (f"{SERVE} --debug-address 0.0.0.0:0", "0.0.0.0:0 is off loopback and needs a token"),
        (f"{SERVE} --debug-address [::]:0", "[::]:0 is off loopback and needs a token"),
        (f"{SERVE} --debug-address nonsense", "'nonsense' is not an address of the form host:port"),
        (f"{SERVE} --xds-address nonsense", "nonsense"),
        (f"{SERVE} --debug-token-file {{root}}/nowhere", "File '{root}/nowhere' does not exist."),
        (f"{SERVE} --debug-token-file {{root}}/file", "{root}/file holds no token"),
        (f"{SERVE} --debug-token-file {{root}}/latin", "{root}/latin holds no token"),
        ("translate {root}/good --proxy shop/nobody", "there is no workload shop/nobody with a sidecar"),
        ("translate {root}/good --proxy nobody", "'nobody' is not NAMESPACE/WORKLOAD"),
        ("translate {root}/nowhere --proxy shop/web-0", "Directory '{root}/nowhere' does not exist."),
        ("translate {root}/good", "Missing option '--proxy'."),
        ("lint {root}/nowhere", "Directory '{root}/nowhere' does not exist."),
        ("explain TL9999", "there is no diagnostic TL9999"),
        ("sidecar shop/web-0 --join {root}/nowhere", "no join directory at {root}/nowhere"),
        ("sidecar shop/web-0 --join {root}/no-join", "{root}/no-join/token is missing"),
        ("sidecar web-0 --join {root}/no-join", "'web-0' is not NAMESPACE/WORKLOAD"),
        ("sidecar shop/web-0 --join {root}/no-join --xds-address here", "'here' is not HOST:PORT"),
        ("bootstrap shop/web-0 --join {root}/nowhere --out {root}/out", "no join directory at {root}/nowhere"),
        ("nonsense", "No such command 'nonsense'."),
    ],
)
def test_a_mistake_is_one_line(run: Callable[[str], Result], place: Place, command: str, says: str) -> None:
    done = run(command)
    assert done.exit_code in {1, 2}
    line = complaint(done)
    assert line.startswith("Error: ")
    assert place.filled_in(says) in line


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("lint {root}/good", 0, ""),
        ("lint {root}/good --strict", 0, ""),
        ("lint {root}/warned", 0, "objects.yaml:15: warning TL1020"),
        ("lint {root}/warned --strict", 1, "objects.yaml:15: warning TL1020"),
        ("lint {root}/broken", 2, ": error TL1003"),
        ("lint {root}/broken --strict", 2, ": error TL1003"),
    ],
)
def test_what_lint_exits_with(run: Callable[[str], Result], command: str, code: int, says: str) -> None:
    done = run(command)
    assert done.exit_code == code, done.output
    assert says in done.stdout
