"""Reads what the conversion between versions kept in an annotation (`kept.py`), as parts of the document."""

from __future__ import annotations

from typing import Any

from smi import codes
from smi.documents import Path
from smi.fields import Fields
from smi.kept import KEPT, read

PLACE: Path = ("metadata", "annotations", KEPT)
"""Where it is written: findings in kept values have the line of the annotation."""
MAX_LENGTH = 256 * 1024
"""Characters of the annotation. Kubernetes takes no more in all annotations of an object together."""


def kept_in(root: Fields) -> dict[str, Any]:
    """What is kept for an object whose meaning depends on it; empty, and an error, when it cannot be understood."""
    metadata = root.raw("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if not isinstance(annotations, dict):
        return {}
    text = annotations.get(KEPT)
    too_long = isinstance(text, str) and len(text) > MAX_LENGTH
    kept = None if too_long else read(annotations)
    if kept is None:
        reason = f"has more than {MAX_LENGTH} characters" if too_long else "cannot be understood"
        root.report.add(codes.KEPT_UNREADABLE, PLACE, f"the annotation {KEPT} {reason}")
        return {}
    return kept


def close_rest(root: Fields, kept: dict[str, Any], limiting: tuple[str, ...]) -> None:
    """Report the fields for which this version has no place, as the version would that they were written in."""
    for holder, fields in kept.get("rest", {}).items():
        if isinstance(fields, dict):
            Fields(root.report, (*PLACE, "rest", holder), fields).close(limiting=limiting)
