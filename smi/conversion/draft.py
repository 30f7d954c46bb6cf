"""An object while it is converted: its fields, and what its annotation keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smi.kept import KEPT, read, written


@dataclass(slots=True)
class Draft:
    """`root` is a copy of the object's outermost mapping; whatever is below is copied before it is changed.

    `kept` is what the annotation holds. Where nothing can be kept, because there is an annotation that cannot be
    understood or no metadata, it is empty, and what would have to be kept stays in its field.
    """

    root: dict[str, Any]
    kept: dict[str, Any]
    can_keep: bool

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Draft:
        """The draft of a document, which is never changed."""
        metadata = document.get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        usable = isinstance(metadata, dict) and (annotations is None or isinstance(annotations, dict))
        kept = read(annotations or {}) if usable else None
        return cls(dict(document), kept or {}, kept is not None)

    def keep(self, key: str, value: Any) -> bool:
        """Put a value into the annotation; False where that is not possible."""
        if self.can_keep:
            self.kept[key] = value
        return self.can_keep

    def finished(self) -> dict[str, Any]:
        """The converted object. TypeError, ValueError or RecursionError when JSON cannot hold what is to be kept."""
        if not self.can_keep:
            return self.root
        metadata = self.root["metadata"]
        annotations = metadata.get("annotations")
        if not self.kept and KEPT not in (annotations or {}):
            return self.root
        others = {key: value for key, value in (annotations or {}).items() if key != KEPT}
        if self.kept:
            others[KEPT] = written(self.kept)
        changed = {**metadata, "annotations": others}
        if not others:
            del changed["annotations"]
        self.root["metadata"] = changed
        return self.root


def own(holder: dict[str, Any], key: str) -> dict[str, Any] | None:
    """The mapping at `key`, replaced by a copy that may be changed; None when there is no mapping."""
    value = holder.get(key)
    if not isinstance(value, dict):
        return None
    copy = holder[key] = dict(value)
    return copy


def as_mapping(value: object) -> dict[str, Any]:
    """`value`, or an empty mapping where it is none."""
    return value if isinstance(value, dict) else {}
