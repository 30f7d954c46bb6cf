"""What a person is told of objects that do not fit together: where, which object, what, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.cli.explain import explain
from deploy.cli.lint import lint
from smi.codes import CODES
from smi.resolve import codes

MESH = """\
apiVersion: v1
kind: Service
metadata: {name: out, namespace: ns}
spec: {type: ExternalName, externalName: example.com}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: ns}
spec: {selector: {app: shop}, ports: [{name: http, port: 80}]}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: split, namespace: ns}
spec:
  service: shop
  backends: [{service: out, weight: 1}]
"""


def test_lint_names_place_code_object_message_and_hint(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(MESH)
    done = CliRunner().invoke(lint, [str(tmp_path)])
    assert (
        "mesh.yaml:11: warning TL2103 TrafficSplit ns/split: backend out is an ExternalName, which the mesh does not"
        f" lead to: it gets nothing\n    {codes.BACKEND_MISSING.repair}\n"
    ) in done.output


@pytest.mark.parametrize("code", CODES)
def test_explain_says_cause_effect_and_repair_of_every_code(code: str) -> None:
    said = CliRunner().invoke(explain, [code.lower()]).output
    known = CODES[code]
    for text in (known.code, known.title, known.cause, known.effect, known.repair):
        assert text in said
    for sentence in (known.cause, known.effect, known.repair):
        assert sentence.endswith(".")
