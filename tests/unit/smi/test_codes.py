"""The registry of diagnostic codes."""

from __future__ import annotations

import re

import pytest

import smi.resolve.codes  # noqa: F401  (both define codes: TL3xxx, TL2xxx)
from smi import codes
from smi.diagnostics import Severity


def test_every_code_explains_itself():
    for name, code in codes.CODES.items():
        assert re.fullmatch(r"TL[123][0-9]{3}", name)
        assert code.code == name
        assert all((code.title, code.cause, code.effect, code.repair))
    titles = [code.title for code in codes.CODES.values()]
    assert len(set(titles)) == len(titles)


def test_a_code_has_one_meaning():
    with pytest.raises(ValueError, match="TL1001"):
        codes.define("TL1001", Severity.ERROR, "again", cause="c", effect="e", repair="r")


def test_a_diagnostic_takes_over_code_severity_and_repair():
    diagnostic = codes.BAD_YAML.diagnostic("what is wrong")
    assert (diagnostic.code, diagnostic.severity) == ("TL1003", Severity.ERROR)
    assert diagnostic.hint == codes.BAD_YAML.repair
    assert codes.BAD_YAML.diagnostic("x", hint="do this").hint == "do this"
