"""Reads YAML the way the file source does: text -> documents -> objects and diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent

import pytest

from smi.decode import Decoded, decode
from smi.diagnostics import Diagnostic
from smi.documents import parse


@dataclass(frozen=True)
class Reading:
    """What became of a text."""

    decoded: list[Decoded]
    diagnostics: list[Diagnostic]

    @property
    def objects(self):
        return [outcome.object for outcome in self.decoded if outcome.object is not None]

    @property
    def object(self):
        """The only object, or None."""
        assert len(self.objects) <= 1
        return self.objects[0] if self.objects else None

    @property
    def found(self) -> list[tuple[str, int]]:
        """Code and line of each diagnostic."""
        return [(finding.code, finding.location.line) for finding in self.diagnostics]

    @property
    def text(self) -> str:
        return "\n".join(f"{finding.message} | {finding.hint}" for finding in self.diagnostics)


def read_text(text: str) -> Reading:
    documents, found = parse(text, "mesh.yaml")
    decoded = [decode(document) for document in documents]
    return Reading(decoded, found + [finding for outcome in decoded for finding in outcome.diagnostics])


@pytest.fixture
def read() -> Callable[[str], Reading]:
    return lambda text: read_text(dedent(text))


@pytest.fixture
def read_spec(read) -> Callable[[str, str], Reading]:
    """Reads an object of a kind in namespace `shop`, given what follows `spec:` on line 4."""
    versions = {
        "Service": "v1",
        "Workload": "tulle.dev/v1alpha1",
        "MeshConfig": "tulle.dev/v1alpha1",
        "TrafficSplit": "split.smi-spec.io/v1alpha4",
        "TrafficTarget": "access.smi-spec.io/v1alpha3",
        "HTTPRouteGroup": "specs.smi-spec.io/v1alpha4",
        "TCPRoute": "specs.smi-spec.io/v1alpha4",
    }

    def read_kind(kind: str, spec: str) -> Reading:
        head = f"apiVersion: {versions[kind]}\nkind: {kind}\nmetadata: {{name: default, namespace: shop}}\nspec:"
        if spec.startswith(" ") or not spec:
            return read(f"{head}{spec}\n")
        lines = dedent(spec).strip("\n").split("\n")
        return read("\n".join([head, *(f"  {line}" for line in lines)]))

    return read_kind
