"""Regular expressions: what is refused, in how much time, and that Envoy takes what is not."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.directory import read_directory
from deploy.sidecar.envoy import find_envoy
from smi import patterns
from smi.patterns import MAX_LENGTH, MAX_TOTAL, MAX_UNICODE_CLASSES, Expressions, fits_no_path, refusal
from tests.golden.static_bootstrap import static_bootstrap

SLOWEST = 0.25
"""CPU seconds for one expression. Milliseconds were measured; what is to be seen here are seconds."""

ACCEPTED = {
    "nothing": "",
    "a path": "/api/v[0-9]+/(users|orders)/[^/]+",
    "anchored on both sides": "^/x$",
    "an alternation at the top": "/a|/b",
    "nested stars": "((((((a*)*)*)*)*)*)*",
    "exponential for backtracking": "(a+)+$",
    "exponential for backtracking, alternated": "(a|a|aa)*b",
    "optional a thousand times": "(?:a?){500}a{500}",
    "the most repetition": "a{1000}",
    "repetition of characters": "(?s).{900}",
    "deep groups": "(" * 500 + ")" * 500,
    "many alternatives": "|".join(f"{number:x}" for number in range(240)),
    "long alternatives": "|".join(["ab"] * 341),
    "a class of many characters": "[" + "".join(chr(0x4E00 + 2 * step) for step in range(1000)) + "]",
    "letters of all alphabets": r"\p{L}+",
    "not a letter, any case": r"(?i)[^\p{L}]",
    "as many unicode classes as may be": r"\p{Greek}" * MAX_UNICODE_CLASSES,
    "flags for the rest": "(?i)(?U)(?s)a.*",
    "groups with names": "(?P<one>a)(?<two>b)",
    "NUL": "a\0b",
    "NUL, escaped": r"a\x00b",
    "any byte": r"\C",
    "braces that RE2 takes for text": "a{99999999999999999999}",
    "a quotation": r"\Q(\E",
    "line breaks": "a\r\nb\u2028",
    "no Unicode character that is assigned": "\U0010ffff",
}
REFUSED = {
    "too long": ("a" * (MAX_LENGTH + 1), "characters"),
    "a megabyte": ("(" * 1_000_000, "characters"),
    "nested repetition": ("(((((a{1,10}){1,10}){1,10}){1,10}){1,10})", "repetition"),
    "much repetition": ("a{1001}", "repetition"),
    "repeated Unicode": (r"\p{L}{9}", "instructions"),
    "much repeated Unicode": (r"\PN{100}", "too large"),
    "much Unicode": (r"\p{L}" * 200, "classes"),
    "many Unicode classes in one": ("[" + r"\p{L}\P{N}" * 9 + "]", "classes"),
    "nothing, a thousand times": (r"((\b){0,500}){0,2}" * 6, "instructions"),
    "repeated alternation of large classes": ("(?:[^a]|[^b]|.){0,1000}", ""),
    "deeper than RE2 nests": ("(?:a" * 200 + "){1}" * 200 + "{2}" * 10, ""),
    "a lone surrogate": ("a\ud800", "Unicode"),
    "a back reference": (r"(a)\1", r"\1"),
    "a named back reference": ("(?P<n>a)(?P=n)", "(?P"),
    "look ahead": ("/(?=a)", "(?="),
    "look ahead, negative": ("/(?!admin)", "(?!"),
    "look behind": ("(?<=a)b", "(?<="),
    "an atomic group": ("(?>a)", "(?>"),
    "possessive": ("a++", "++"),
    "a comment": ("(?#x)", "(?#"),
    "verbose": ("(?x)a # b", "(?x"),
    "a condition": ("(a)(?(1)b|c)", "(?("),
    "a way out of the group around it": ("a)|(?:b", ")"),
    "a way out and in again": ("a)(?:b", ")"),
    "an open group": ("((", ")"),
    "an open class": ("[a-", "]"),
    "an open quotation, which would swallow what follows": (r"\Qa", ""),
    "an open escape, which would swallow the end of the group": ("a\\", "\\"),
    "a flag that is none": ("(?z)a", "(?z"),
}


@pytest.fixture
def timed() -> Callable[[Callable[[str], object], str], object]:
    """Calls a function with a pattern that it has not seen, and asserts that it takes little time."""

    def call(function: Callable[[str], object], pattern: str) -> object:
        patterns._examined.cache_clear()
        started = time.thread_time()
        result = function(pattern)
        assert time.thread_time() - started < SLOWEST
        return result

    return call


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_odd_and_harmless_is_accepted_in_bounded_time(timed, name):
    assert timed(refusal, ACCEPTED[name]) is None


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_hostile_or_unknown_is_refused_in_bounded_time(timed, name):
    pattern, word = REFUSED[name]
    reason = timed(refusal, pattern)
    assert reason
    assert word in reason
    assert len(reason) < 1300, "the words of RE2 hold the expression"


def generated(count: int, seed: int = 1) -> list[str]:
    """Expressions at random, of the parts that cost RE2 the most."""
    choose = random.Random(seed)
    large = "[" + "".join(chr(0x400 + 2 * step) for step in range(100)) + "]"
    atoms = [r"\p{L}", r"\PN", r"[^\p{L}]", r"(?i)\p{Lu}", "[^a]", "(?s).", "a", "[a-z]", large, f"(?i:{large})", r"\C"]
    atoms += [r"\w", r"\W", "(?i)k", "é", "\U0001f600", "^", "$", r"\b"]
    counts = ["*", "+", "?", "{0,1000}", "{1000}", "{0,500}", "{500}", "{0,100}", "{31}", "{10}", "*?", "{2,}"]

    def one(depth: int) -> str:
        kind = choose.random()
        if depth == 0 or kind < 0.25:
            return choose.choice(atoms)
        if kind < 0.5:
            return one(depth - 1) + one(depth - 1)
        if kind < 0.65:
            return f"(?:{'|'.join(one(depth - 1) for _ in range(choose.randint(2, 5)))})"
        if kind < 0.85:
            return f"({one(depth - 1)}){choose.choice(counts)}"
        return one(depth - 1) * choose.randint(2, 30)

    made = (one(choose.randint(1, 5)) for _ in range(count))
    return [pattern for pattern in made if len(pattern) <= MAX_LENGTH]


def test_generated_expressions_take_bounded_time_and_memory(timed):
    found = generated(600)
    refusals = [timed(refusal, pattern) for pattern in found[:50]]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusals += [timed(refusal, pattern) for pattern in found[50:]]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024, "KiB"
    assert 100 < refusals.count(None) < len(refusals), "both kinds are among them"


def test_an_expression_is_compiled_once():
    patterns._examined.cache_clear()
    for _ in range(3):
        assert refusal("/once") is None
        assert not fits_no_path("/once")
        assert Expressions().refusal("/once") is None
    assert patterns._examined.cache_info().misses == 1


@pytest.mark.parametrize("pattern", ["api", "^api", "[a-z]+/x"])
def test_no_path_begins_otherwise_than_with_a_slash(pattern):
    assert fits_no_path(pattern)
    assert not fits_no_path(f"/{pattern.strip('^')}")


def test_an_object_may_have_thousands_of_ordinary_expressions():
    expressions = Expressions()
    started = time.thread_time()
    assert not any(expressions.refusal(f"/api/v[0-9]+/(users|orders){number}/[^/]+") for number in range(1500))
    assert time.thread_time() - started < 3


@pytest.mark.parametrize("hostile", [r"\PN{100}|%d", r"[a-z]{0,1000}%d", r"\p{L}{9}%d", "((%d", "/%d/[a-z0-9]{8}"])
def test_what_ten_thousand_expressions_of_an_object_cost_is_limited(hostile):
    patterns._examined.cache_clear()
    expressions = Expressions()
    started = time.thread_time()
    refusals = [expressions.refusal(hostile % number) for number in range(10_000)]
    assert time.thread_time() - started < 3
    assert refusals[-1] is not None
    assert "of this object" in refusals[-1]
    assert patterns._examined.cache_info().misses <= MAX_TOTAL // 64, "the rest is not even looked at"


def fitting(candidates: list[str]) -> list[str]:
    """Those that one object may hold, each twice."""
    together = Expressions()
    found = [pattern for pattern in candidates if not (together.refusal(pattern) or together.refusal(pattern))]
    assert len(found) > 30
    return found


MESH = """
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{name: http, port: 8080}]}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: api, namespace: shop, labels: {app: api}}
spec:
  serviceAccountName: api
  address: 10.0.0.1
  ports: [{name: http, port: 8080, appPort: 18080}]
  upstreams: [{service: api, port: 8080, localPort: 15001}]
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: client, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: api, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: expressions}]
  sources: [{kind: ServiceAccount, name: client, namespace: shop}]
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: api, namespace: shop}
spec:
  service: api
  backends: [{service: api, weight: 1}]
  matches: [{kind: HTTPRouteGroup, name: expressions}]
"""


@pytest.mark.envoy
@pytest.mark.parametrize("which", ["by hand", "generated", "many", "as large as may be"])
def test_envoy_takes_every_expression_that_is_not_refused(which, tmp_path: Path):
    """In all four places: paths and headers, of routes and of RBAC."""
    by_kind = {
        "by hand": list(ACCEPTED.values()),
        "generated": fitting(generated(200, seed=2)),
        "many": [f"/api/v[0-9]+/(users|orders){number}/[^/]+" for number in range(700)],
        "as large as may be": [f"(?s).{{900}}{number}" for number in range(15)],
    }
    chosen = by_kind[which]
    matches = [
        {"name": f"m{number}", "pathRegex": pattern, "headers": {"x-a": pattern}}
        for number, pattern in enumerate(chosen)
    ]
    head = {"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup"}
    group = {**head, "metadata": {"name": "expressions", "namespace": "shop"}, "spec": {"matches": matches}}
    directory = tmp_path / "mesh"
    directory.mkdir()
    (directory / "mesh.yaml").write_text(MESH)
    (directory / "group.json").write_text(json.dumps(group))
    reading = read_directory(directory)
    assert {found.code for found in reading.diagnostics} <= {"TL1204"}
    (proxy,) = reading.configuration.views
    bootstrap = tmp_path / "bootstrap.json"
    bootstrap.write_text(json.dumps(static_bootstrap(reading.configuration.of_proxy(proxy))))
    assert bootstrap.read_text().count("safe_regex") >= 4 * len(chosen) - 2
    command = [find_envoy().path, "--mode", "validate", "--config-path", bootstrap, "--log-level", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"[:2000]
