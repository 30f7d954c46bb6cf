"""Derives the ``.proto`` files of this folder from the package ``envoy-data-plane``.

In: the roots and cuts of :mod:`protos.selection`, the classes of ``envoy-data-plane`` (a development
dependency). Out: one ``.proto`` file per proto package, holding the roots and everything they refer to.
Run ``python -m protos.derive`` after changing the selection or upgrading ``envoy-data-plane``.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

from protos import schema
from protos.render import PackageFile, proto_path
from protos.schema import EnumType, MessageType
from protos.selection import CUTS, FROM_GOOGLE, ROOTS


def derive() -> dict[str, str]:
    """Return the text of every ``.proto`` file by its path, relative to the repository."""
    types, cut = closure()
    by_package: dict[str, list[MessageType | EnumType]] = defaultdict(list)
    for found in types:
        by_package[found.package].append(found)
    files = [PackageFile(members, cut) for _, members in sorted(by_package.items())]
    texts = {proto_path(file.package): file.render() for file in files}
    # One file per package works only while packages do not import each other: this raises CycleError.
    TopologicalSorter({file.package: file.imports for file in files}).prepare()
    return texts


def closure() -> tuple[list[MessageType | EnumType], dict[str, str]]:
    """Return the roots with all they refer to, and the cut types they refer to, with the reason."""
    found: dict[type, MessageType | EnumType] = {}
    cut: dict[str, str] = {}
    waiting = [cls for root in ROOTS for cls in schema.find_classes(root)]
    while waiting:
        cls = waiting.pop()
        name = schema.full_name(cls)
        if cls in found or name in FROM_GOOGLE:
            continue
        if reason := CUTS.get(name) or CUTS.get(schema.package_of(cls)):
            cut[name] = reason
            continue
        found[cls] = schema.read(cls)
        waiting.extend(schema.scopes_of(cls))
        if isinstance(message := found[cls], MessageType):
            waiting.extend(field.type_class for field in message.fields if field.type_class is not None)
    return list(found.values()), cut


def main() -> int:
    """Write the files, remove those that are no longer derived, and print what changed."""
    repository = Path(__file__).parent.parent
    texts = derive()
    present = {p.relative_to(repository).as_posix() for p in repository.glob("protos/**/*.proto")}
    for name in sorted(present - texts.keys()):
        (repository / name).unlink()
        print(f"removed {name}")
    for name, text in texts.items():
        path = repository / name
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
