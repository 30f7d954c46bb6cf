"""Writes the schema of one proto package as the text of a ``.proto`` file.

In: the messages and enums of a package, and what is cut. Out: text, the same for the same input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from protos.schema import EnumType, Field, MessageType, package_of
from protos.selection import FROM_GOOGLE

HEADER = """\
// Derived from the Envoy v3 API (Apache-2.0, https://www.envoyproxy.io) by `python -m protos.derive`.
// Do not edit: change protos/selection.py and derive again.
syntax = "proto3";
"""

Path: TypeAlias = tuple[str, ...]


def proto_path(package: str) -> str:
    """Return the file that holds a package: ``a.b.v3`` is in ``protos/a/b/v3.proto``."""
    return f"protos/{package.replace('.', '/')}.proto"


class PackageFile:
    """One ``.proto`` file in the making."""

    def __init__(self, types: Iterable[MessageType | EnumType], cut: dict[str, str]) -> None:
        """``cut`` maps the full name of a type that is left out to the reason."""
        self._types = {t.path: t for t in types}
        self._cut = cut
        (self.package,) = {t.package for t in self._types.values()}
        self.imports: set[str] = set()
        """Packages of ours that this file imports; known once it is rendered."""

    def render(self) -> str:
        """Return the text of the file."""
        top = [line for path in self._children(()) for line in ("", *self._type(path))]
        imports = sorted(self._import_lines())
        return "\n".join([HEADER, f"package {self.package};", *(["", *imports] if imports else []), *top, ""])

    def _import_lines(self) -> set[str]:
        lines = set()
        for message in self._messages():
            for field in message.fields:
                if field.type_class is None or field.type_name in self._cut:
                    continue
                if field.type_name in FROM_GOOGLE:
                    lines.add(f'import "{FROM_GOOGLE[field.type_name]}";')
                elif (package := package_of(field.type_class)) != self.package:
                    self.imports.add(package)
                    lines.add(f'import "{proto_path(package)}";')
        return lines

    def _messages(self) -> Iterator[MessageType]:
        return (t for t in self._types.values() if isinstance(t, MessageType))

    def _children(self, scope: Path) -> list[Path]:
        return sorted(p for p in self._types if p[:-1] == scope)

    def _type(self, path: Path) -> list[str]:
        found = self._types[path]
        body = self._enum_body(found) if isinstance(found, EnumType) else self._message_body(found)
        keyword = "enum" if isinstance(found, EnumType) else "message"
        if not body:
            return [f"{keyword} {path[-1]} {{}}"]
        return [f"{keyword} {path[-1]} {{", *(f"  {line}" if line else "" for line in body), "}"]

    def _enum_body(self, enum: EnumType) -> list[str]:
        numbers = [number for _, number in enum.values]
        alias = ["option allow_alias = true;"] if len(set(numbers)) < len(numbers) else []
        return [*alias, *(f"{name} = {number};" for name, number in enum.values)]

    def _message_body(self, message: MessageType) -> list[str]:
        nested = [line for path in self._children(message.path) for line in (*self._type(path), "")]
        lines: list[str] = []
        written: set[str] = set()
        for field in message.fields:
            if field.type_name in self._cut:
                lines.append(f"reserved {field.number};  // {field.name}: {field.type_name}, left out")
            elif field.oneof is None:
                lines.append(self._field(message, field))
            elif field.oneof not in written:
                written.add(field.oneof)
                members = [f for f in message.fields if f.oneof == field.oneof]
                lines.append(f"oneof {field.oneof} {{")
                lines.extend(
                    f"  {self._field(message, member)}" for member in members if member.type_name not in self._cut
                )
                lines.append("}")
        return [*nested, *lines] if lines else nested[:-1]

    def _field(self, message: MessageType, field: Field) -> str:
        type_name = self._reference(message, field)
        if field.key is not None:
            type_name = f"map<{field.key}, {type_name}>"
        label = "repeated " if field.repeated else "optional " if field.optional else ""
        return f"{label}{type_name} {field.name} = {field.number};"

    def _reference(self, message: MessageType, field: Field) -> str:
        """Return how ``message`` names the type of ``field``: short inside the package, else in full."""
        if field.type_class is None or not field.type_name.startswith(f"{self.package}."):
            return field.type_name
        short = field.type_name.removeprefix(f"{self.package}.")
        first = short.split(".")[0]
        scopes = (message.path[:depth] for depth in range(1, len(message.path) + 1))
        shadowed = any((*scope, first) in self._types for scope in scopes)
        return f".{field.type_name}" if shadowed else short
