"""The documents that CRDs are tried with: what real clients write, and what must be refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Accepted:
    """A document as a client writes it. `client` is the file it stands in."""

    client: str
    document: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.client}-{self.document['kind']}-{self.document['metadata']['name']}"


@dataclass(frozen=True)
class Refused:
    """A document that is refused at the path `at`, by `schema` or by `cel`."""

    why: str
    by: str
    at: str
    document: dict[str, Any]

    def __str__(self) -> str:
        version = self.document["apiVersion"].partition("/")[2]
        return f"{self.document['kind']}-{version}-{self.why}-{self.at}".replace(" ", "_")


def _accepted() -> Iterator[Accepted]:
    for path in sorted((_HERE / "documents").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield Accepted(path.stem, document)


def _refused() -> Iterator[Refused]:
    for case in yaml.safe_load((_HERE / "refused.yaml").read_text()):
        for version in case["versions"]:
            document = {"metadata": {"name": "refused"}, **case["document"]}
            document["apiVersion"] += f"/{version}"
            yield Refused(case["why"], case["by"], case["at"], document)


ACCEPTED = list(_accepted())
REFUSED = list(_refused())
