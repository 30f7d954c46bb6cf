"""`tulle policy`: what it prints, how it exits, and how it takes mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.cli import tulle
from tests.unit.policy.meshes import NAMESPACE, SHOP, leaf, split, target

Run = Callable[..., Result]
CHECK = ("check", "--from", "people/buyer", "--to")
MORE = """
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: shop}
spec: {selector: {app: dns}, ports: [{name: dns, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: bank, namespace: shop}
spec: {type: ExternalName, externalName: bank.example}
"""
BROKEN = "apiVersion: v1\nkind: [\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `tulle policy` with some words on a shop, and whatever other documents are given."""

    def run(*words: str, documents: tuple[str, ...] = ()) -> Result:
        for position, text in enumerate((SHOP, *documents)):
            (tmp_path / f"{position}.yaml").write_text(text)
        return CliRunner().invoke(tulle, ["policy", *words, str(tmp_path)], prog_name="tulle")

    return run


def test_allowed(run: Run) -> None:
    done = run(*CHECK, "shop/web:80", "--path", "/books/1?x=y")
    assert done.exit_code == 0
    assert done.stdout == (
        "allowed people/buyer to shop/web:80 GET /books/1?x=y\n"
        '    by TrafficTarget shop/buyers (0.yaml:28), HTTPRouteGroup shop/routes match "books" (0.yaml:20)\n'
    )


def test_denied(run: Run) -> None:
    done = run(*CHECK, "shop/web:80", "--path", "/staff", "--method", "POST", "--header", "X-Role=cook")
    assert done.exit_code == 1
    assert done.stdout == (
        "denied people/buyer to shop/web:80 POST /staff x-role=cook\n"
        '    TrafficTarget shop/buyers (0.yaml:28), HTTPRouteGroup shop/routes match "staff" (0.yaml:20):'
        ' header x-role is "cook", in which "^chef$" matches nothing\n'
    )


def test_headers_may_be_repeated(run: Run) -> None:
    chef = ("--header", "x-role=chef", "--header", "x-other=a=b")
    assert run(*CHECK, "shop/web:80", "--path", "/staff", *chef).exit_code == 0


def test_a_part_that_is_denied_is_a_denial(run: Run) -> None:
    documents = (leaf("v1", account="web"), leaf("next"), split(v1=2, next=1))
    done = run(*CHECK, "shop/web:80", "--path", "/books", documents=documents)
    assert done.exit_code == 1
    assert done.stdout.startswith("denied people/buyer to shop/web:80 GET /books: 33.33% of the calls denied\n")
    assert "    routed by TrafficSplit shop/split (3.yaml:2)\n" in done.stdout
    assert "    66.67% allowed shop/v1:80, account shop/web\n" in done.stdout
    assert "    33.33% denied shop/next:80, account shop/next\n" in done.stdout


def test_a_service_that_nobody_serves_is_not_allowed(run: Run) -> None:
    done = run(
        *CHECK,
        "shop/web:80",
        documents=(leaf("idle", workload="w").replace("{app: idle}}\n", "{app: x}}\n"), split(idle=1)),
    )
    assert done.exit_code == 1
    assert done.stdout.startswith("denied people/buyer to shop/web:80 GET /: 100% of the calls failed\n")
    assert "shop/idle:80: nobody serves it" in done.stdout


def test_without_a_port_all_are_judged(run: Run) -> None:
    done = run(*CHECK, "shop/web", "--path", "/books")
    assert done.exit_code == 1
    first = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert first == [
        "allowed people/buyer to shop/web:80 GET /books",
        "denied people/buyer to shop/web:5432 (opaque bytes)",
    ]
    assert run(*CHECK, "shop/web", documents=(NAMESPACE,)).exit_code == 0


def test_the_path_as_the_sidecar_reads_it(run: Run) -> None:
    done = run(*CHECK, "shop/web:80", "--path", "/x/../books")
    assert done.exit_code == 0
    assert "its sidecar reads the path as /books\n" in done.stdout


def test_notes(run: Run) -> None:
    done = run("check", "--from", "people/byer", "--to", "shop/web:80", documents=(BROKEN,))
    assert done.exit_code == 1
    notes = [line for line in done.stdout.splitlines() if line.startswith("note: ")]
    assert notes[0].startswith("note: no workload has the service account people/byer")
    assert notes[1].startswith("note: 1 error in ")


NASTY = r"""
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: nasty, namespace: shop}
spec: {matches: [{name: "b\e[31m\n", pathRegex: "/b\e"}, {name: "c\e", methods: [GET]}]}
"""


def test_nothing_of_an_object_steers_a_terminal(run: Run) -> None:
    documents = (NASTY, target("{kind: HTTPRouteGroup, name: nasty}"))
    allowed = run(*CHECK, "shop/web:80", documents=documents).stdout
    assert r'match "c\x1b"' in allowed
    denied = run(*CHECK, "shop/web:80", "--method", "POST", documents=documents).stdout
    assert r"/b\x1b" in denied
    table = run("graph", documents=documents).stdout
    assert r"/b\x1b" in table
    assert "\x1b" not in allowed + denied + table


def test_json(run: Run) -> None:
    done = run(*CHECK, "shop/web", "-o", "json", documents=(leaf("next"), split(web=1, next=1), BROKEN))
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["verdict"], found["from"], found["errors_in_directory"]) == ("denied", "people/buyer", 1)
    web, db = found["ports"]
    assert db["request"] is None
    assert web["request"] == {"method": "GET", "path": "/", "headers": []}
    assert web["shares"] == {"allowed": 0.0, "denied": 1.0, "failed": 0.0}
    assert web["route"]["objects"][0]["location"] == {"file": "2.yaml", "line": 2}
    [server] = web["backends"][1]["servers"]
    assert server["workloads"] == ["shop/web-0"]
    assert server["reasons"][0]["objects"][1]["match"] == "books"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*CHECK, "shop/wbe"), "there is no Service shop/wbe; did you mean shop/web?"),
        ((*CHECK, "shpo/web"), "there is no Service shpo/web; did you mean shop/web?"),
        ((*CHECK, "a/b"), "there is no Service a/b; known: shop/bank, shop/dns, shop/web"),
        ((*CHECK, "shop/web:81"), "Service shop/web has no TCP port 81; its ports: 80 (http), 5432 (tcp-db)"),
        ((*CHECK, "shop/dns:53"), "port 53 of shop/dns is UDP: sidecars leave it alone"),
        ((*CHECK, "shop/dns"), "Service shop/dns has no TCP port; its ports: 53 (dns)"),
        ((*CHECK, "shop/bank"), "Service shop/bank is a name for bank.example, outside of the mesh"),
        ((*CHECK, "web"), "'web' is not NAMESPACE/SERVICE"),
        ((*CHECK, "shop/web:http"), "'shop/web:http' is not NAMESPACE/SERVICE"),
        ((*CHECK, "shop/web:0"), "'shop/web:0' is not NAMESPACE/SERVICE"),
        ((*CHECK, "shop/web:5432", "--path", "/"), "port 5432 of shop/web is not HTTP: --method, --path and --header"),
        ((*CHECK, "shop/web:80", "--path", "books"), "'books' does not begin with '/'"),
        ((*CHECK, "shop/web:80", "--path", "/a b"), "encoded it is /a%20b"),
        ((*CHECK, "shop/web:80", "--path", "/é"), "encoded it is /%C3%A9"),
        ((*CHECK, "shop/web:80", "--path", "/a#b"), "has a fragment (#)"),
        ((*CHECK, "shop/web:80", "--method", "get"), "'get' is not GET"),
        ((*CHECK, "shop/web:80", "--method", "A B"), "'A B' is not an HTTP method"),
        ((*CHECK, "shop/web:80", "--header", "x"), "'x' is not NAME=VALUE"),
        ((*CHECK, "shop/web:80", "--header", "a b=c"), "'a b=c' is not NAME=VALUE"),
        ((*CHECK, "shop/web:80", "--header", "x=\n"), "the value of x holds a character that no header can"),
        ((*CHECK, "shop/web:80", "--header", "host=a", "--header", "Host=b"), "host is given twice"),
        (("check", "--from", "buyer", "--to", "shop/web"), "'buyer' is not NAMESPACE/SERVICEACCOUNT"),
        (("check", "--from", "a/B", "--to", "shop/web"), "'a/B' is not NAMESPACE/SERVICEACCOUNT"),
        (("check", "--to", "shop/web"), "Missing option '--from'."),
        (("graph", "--namespace", "shpo"), "there is no namespace 'shpo' in"),
    ],
)
def test_a_mistake_is_one_line(run: Run, words: tuple[str, ...], says: str) -> None:
    done = run(*words, documents=(MORE,))
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    [line] = [each for each in done.stderr.splitlines() if each and not each.startswith(("Usage: ", "Try 'tulle"))]
    assert line.startswith("Error: ")
    assert says in line


def test_graph_of_a_namespace(run: Run) -> None:
    assert "people/buyer" in run("graph", "--namespace", "people").stdout
    other = NAMESPACE.replace("shop", "other")
    done = run("graph", "--namespace", "other", documents=(other,))
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1)


def test_graph_in_each_form(run: Run) -> None:
    table = run("graph", documents=(BROKEN,))
    assert table.stdout.split()[:5] == ["SOURCE", "DESTINATION", "SERVICES", "REQUESTS", "BY"]
    assert "1 error in " in table.stderr
    assert run("graph", "-o", "dot").stdout.startswith("digraph policy {")
    [edge] = json.loads(run("graph", "-o", "json").stdout)
    assert edge["source"] == "people/buyer"
    assert edge["services"] == [{"called": "shop/web:80", "backend": "shop/web:80"}]
