"""The CRD manifests of deploy/crds, as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DIRECTORY = Path(__file__).parents[2] / "deploy" / "crds"

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Crd:
    """One manifest: `value` is the document, `schemas` the schema of each version that is served."""

    file: str
    value: Mapping[str, Any]

    @property
    def spec(self) -> Mapping[str, Any]:
        return self.value["spec"]

    @property
    def name(self) -> str:
        return self.value["metadata"]["name"]

    @property
    def key(self) -> tuple[str, str]:
        return self.spec["group"], self.spec["names"]["kind"]

    @property
    def plural(self) -> str:
        return self.spec["names"]["plural"]

    @property
    def namespaced(self) -> bool:
        return self.spec["scope"] == "Namespaced"

    @property
    def schemas(self) -> dict[str, Schema]:
        return {each["name"]: each["schema"]["openAPIV3Schema"] for each in self.spec["versions"] if each["served"]}

    @property
    def storage_version(self) -> str:
        (name,) = [each["name"] for each in self.spec["versions"] if each["storage"]]
        return name


CRDS = [Crd(path.name, yaml.safe_load(path.read_text())) for path in sorted(DIRECTORY.glob("*.yaml"))]
BY_KEY = {crd.key: crd for crd in CRDS}


def every_schema() -> Iterator[tuple[str, Schema]]:
    """The schema of every version of every kind, with a name for people."""
    for crd in CRDS:
        for version, schema in crd.schemas.items():
            yield f"{crd.key[1]}-{version}", schema


def schema_of(document: Mapping[str, Any]) -> Schema:
    """The schema for a document's apiVersion and kind."""
    group, _, version = document["apiVersion"].partition("/")
    return BY_KEY[group, document["kind"]].schemas[version]
