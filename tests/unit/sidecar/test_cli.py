"""What a person sees: mistakes end with one line, and `tulle bootstrap` gives what a bare Envoy needs."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner

from deploy.sidecar.cli import print_bootstrap, sidecar


def test_bootstrap_refers_to_the_files_it_wrote(join: Path, tmp_path: Path) -> None:
    out = tmp_path / "envoy"
    arguments = ["bookstore/v1", "--join", str(join), "--out", str(out), "--xds-address", "[::1]:15999"]
    done = CliRunner().invoke(print_bootstrap, arguments)
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["node"]["id"] == "bookstore/v1"
    assert f'"{out}/token.json"' in done.stdout
    assert f'"{out}/trust.json"' in done.stdout
    assert "stream-token-1" not in done.stdout
    assert "stream-token-1" in (out / "token.json").read_text()
    assert '"address": "::1"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["bookstore", "--join", "x"], "'bookstore' is not NAMESPACE/WORKLOAD"),
        (["a/b", "--join", "x", "--xds-address", "localhost"], "'localhost' is not HOST:PORT"),
        (["a/b", "--join", "no/such/directory"], "no join directory at no/such/directory: is `tulle serve` running"),
        (["a/b"], "Missing option '--join'"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], line: str) -> None:
    done = CliRunner().invoke(sidecar, arguments)
    assert done.exit_code in {1, 2}
    assert line in done.stderr.splitlines()[-1]


def test_ports_file_without_a_directory(join: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(sidecar, ["a/b", "--join", str(join), "--ports-file", str(tmp_path / "no" / "ports")])
    assert (done.exit_code, done.stderr) == (
        1,
        f"Error: the ports file cannot be written: no directory {tmp_path / 'no'}\n",
    )


def test_an_envoy_that_is_none(join: Path) -> None:
    done = CliRunner().invoke(sidecar, ["a/b", "--join", str(join), "--envoy", "/dev/null"])
    assert (done.exit_code, done.stderr) == (1, "Error: /dev/null cannot be run as Envoy: Permission denied\n")


def test_the_join_directory_of_another_workload(join: Path) -> None:
    token = jwt.encode({"tulle/workload": "bookstore/v1"}, "k" * 32, algorithm="HS256")
    (join / "token").write_text(token)
    done = CliRunner().invoke(sidecar, ["bookstore/v2", "--join", str(join)])
    line = f"Error: the join directory {join} is that of bookstore/v1, not of bookstore/v2\n"
    assert (done.exit_code, done.stderr) == (1, line)
