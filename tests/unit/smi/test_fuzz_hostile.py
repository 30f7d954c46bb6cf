"""Texts made to cost as much as possible cost little more than harmless ones of the same size.

Time is that of the processor, so that a busy machine changes nothing; memory is the largest that the process had.
"""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from smi.decode import decode
from smi.documents import MAX_TEXT, parse
from tests.unit.smi.hostile import TEXTS
from tests.unit.smi.outcomes import check_outcomes, lines_of

ROOT = Path(__file__).parents[3]
SMALL = MAX_TEXT // 32
HARMLESS = """---
apiVersion: v1
kind: Service
metadata: {name: s%d, namespace: shop}
spec:
  selector: {app: api}
  ports: [{port: 80, name: http}, {port: 443, name: https, targetPort: 8443}]
  clusterIP: 10.96.0.1
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: r%d, namespace: shop}
spec:
  matches:
  - {name: read, pathRegex: /api/.*, methods: [GET, HEAD]}
  - {name: write, pathRegex: /api/.*, methods: [PUT, POST], headers: {x-role: editor}}
  - {name: administer, pathRegex: /admin/.*, methods: ["*"], headers: {x-role: administrator}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: t%d, namespace: shop, annotations: {owner: the people of the shop}}
spec:
  destination: {kind: ServiceAccount, name: api}
  rules: [{kind: HTTPRouteGroup, name: r, matches: [read]}, {kind: TCPRoute, name: t}]
  sources: [{kind: ServiceAccount, name: web, namespace: shop}]
"""


def cost_of(text: str) -> tuple[float, float]:
    """Seconds and MiB of reading a text; what is said of it must be in order."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = _status("VmRSS")
    started = time.process_time()
    documents, found = parse(text, "f.yaml")
    outcomes = [decode(document) for document in documents]
    seconds = time.process_time() - started
    peak = _status("VmHWM") - before
    check_outcomes(outcomes, found, lines=lines_of(text))
    return seconds, peak


def _status(field: str) -> float:
    (kibibytes,) = re.findall(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kibibytes) / 1024


def harmless_cost(size: int) -> tuple[float, float]:
    return cost_of("".join(HARMLESS % ((number,) * 3) for number in range(size // (len(HARMLESS) + 16))))


@cache
def harmless(size: int) -> tuple[float, float]:
    """Measured in a new process: tests before this one leave memory behind, which then need not grow."""
    code = f"from tests.unit.smi.test_fuzz_hostile import harmless_cost; print(*harmless_cost({size}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=100
    )
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


def check(name: str, size: int) -> None:
    ordinary, ordinary_peak = harmless(size)
    seconds, peak = cost_of(TEXTS[name](size))
    assert seconds < 12 * ordinary + 0.5, f"{seconds:.2f} s, and {ordinary:.2f} s for what is harmless"
    assert peak < 4 * ordinary_peak + 64, f"{peak:.0f} MiB, and {ordinary_peak:.0f} MiB for what is harmless"


@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_text_costs_little_more_than_a_harmless_one(name: str) -> None:
    check(name, SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_file_costs_little_more_than_a_harmless_one(name: str) -> None:
    check(name, MAX_TEXT)
