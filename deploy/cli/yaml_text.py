"""Plain values as YAML that kubectl, and Tulle, read back as the same values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from smi.scalars import resolve_plain
from smi.tree import LinedList, LinedMapping

_OTHER_BREAKS = frozenset("\x85\u2028\u2029")
"""Line breaks of YAML 1.1 that are none in 1.2: only escaped are they read as they were."""


class _Dumper(yaml.SafeDumper):
    """Block style, keys in their order, and no aliases: what is shared is written out."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quoted wherever it would be read as something else: PyYAML knows that of itself only for YAML 1.1."""
    if _OTHER_BREAKS & set(text) or not isinstance(resolve_plain(text), str):
        style: str | None = '"'
    else:
        style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _mapping(dumper: yaml.SafeDumper, value: Mapping[str, Any]) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value)


def _list(dumper: yaml.SafeDumper, value: Sequence[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(LinedMapping, _mapping)
_Dumper.add_representer(LinedList, _list)


def yaml_text(value: object) -> str:
    """One document, ending with a line break."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=2**20)
