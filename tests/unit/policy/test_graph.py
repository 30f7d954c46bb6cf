"""Who may call whom: the edges of small meshes, and how they are shown."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.cli.policy_graph import as_dot, as_json, table_text
from smi.objects import HTTPMatch
from smi.policy import Account
from smi.policy.graph import Edge, edges
from tests.unit.policy.meshes import NAMESPACE, SHOP, leaf, policy_of, second, split, target


def shown(directory: Path, *documents: str) -> list[list[str]]:
    """The rows of the table, cell by cell, without the heading."""
    text = table_text(edges(policy_of(directory, *documents).mesh))
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()[1:]]


BY = "TrafficTarget shop/buyers (0.yaml:28)"


def test_one_target(tmp_path: Path) -> None:
    assert shown(tmp_path, SHOP) == [["people/buyer", "shop/web", "web:80", "GET /books, * /staff with x-role", BY]]


def test_nobody_may_call_anybody(tmp_path: Path) -> None:
    assert shown(tmp_path, SHOP[: SHOP.index("---\napiVersion: access")]) == []


def test_splits_lead_further(tmp_path: Path) -> None:
    rows = shown(tmp_path, SHOP, leaf("v1", account="web"), leaf("warm", account="web"), split(v1=1, warm=0))
    assert [row[2] for row in rows] == ["port 8080 (directly)", "v1:80, warm:80, web:80 (split, v1)"]


def test_permissive_is_anyone(tmp_path: Path) -> None:
    rows = shown(tmp_path, SHOP, NAMESPACE)
    by = "Namespace shop (1.yaml:2)"
    assert rows == [
        ["anyone", "shop/web", "other ports", "anything", by],
        ["anyone", "shop/web", "web:80, web:5432", "anything", by],
    ]


def test_workloads_without_a_sidecar(tmp_path: Path) -> None:
    rows = shown(tmp_path, SHOP, second(4, account="plain", more=", sidecar: false"))
    assert rows[0] == ["anyone", "shop/plain", "web:80, web:5432", "anything: no sidecar", "-"]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("{kind: TCPRoute, name: db}", [["web:5432", "anything"], ["port 5432 (directly)", "anything"]]),
        ("{kind: TCPRoute, name: any}", [["other ports", "anything"], ["web:80, web:5432", "anything"]]),
        ("{kind: UDPRoute, name: udp}", [["-", "UDP 5432: not enforced"]]),
        ("{kind: TCPRoute, name: gone}", []),
        ("", []),
    ],
)
def test_other_rules(tmp_path: Path, rules: str, told: list[list[str]]) -> None:
    rows = shown(tmp_path, SHOP, target(rules))
    more = [row[2:4] for row in rows if row[4].startswith("TrafficTarget shop/more")]
    assert sorted(more) == sorted(told)


NASTY = Edge(
    Account("a", 'x"y\\'),
    Account("a", "[red]z"),
    http=(HTTPMatch("m", '/"\\n\x1b[31m<b>' + "x" * 99, ("GET",)), *[HTTPMatch(str(n), f"/{n}") for n in range(9)]),
)


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    table = table_text([NASTY])
    assert "[red]z" in table
    assert "\x1b" not in table
    assert "6 more" in table
    assert len(table.splitlines()) == 2
    dot = as_dot([NASTY])
    assert r'"a/x\"y\\" -> "a/[red]z"' in dot
    assert "\x1b" not in dot
    assert json.loads(as_json([NASTY]))[0]["requests"][0]["path_regex"].startswith('/"\\n\x1b')


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
def test_graphviz_takes_it(tmp_path: Path) -> None:
    found = edges(policy_of(tmp_path, SHOP, NAMESPACE, leaf("v1"), split(v1=1)).mesh)
    for drawn in (found, [NASTY], []):
        done = subprocess.run(["dot", "-Tsvg"], input=as_dot(drawn), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
