"""Reads Envoy's schema out of the classes of ``envoy-data-plane``.

In: message and enum classes of betterproto2. Out: :class:`MessageType` and :class:`EnumType`, plain values
with the full proto names. betterproto2 flattens nested names (``ClusterEdsClusterConfig``); for messages its
pool knows the real one (``Cluster.EdsClusterConfig``), for enums it is found from the messages around it.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import betterproto2
from envoy_data_plane.message_pool import default_message_pool

from protos.selection import ENUM_PATHS

_MODULES = "envoy_data_plane"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message; ``type_name`` is a scalar keyword or the full name of a message or enum."""

    name: str
    number: int
    type_name: str
    type_class: type | None = None
    key: str | None = None
    """The key type of a map; ``type_name`` is then the type of its values."""
    repeated: bool = False
    optional: bool = False
    """Presence asked for by the keyword ``optional``; messages and oneof members have it anyway."""
    oneof: str | None = None


@dataclass(frozen=True, slots=True)
class MessageType:
    package: str
    path: tuple[str, ...]
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class EnumType:
    package: str
    path: tuple[str, ...]
    values: tuple[tuple[str, int], ...]


def find_classes(pattern: str) -> list[type]:
    """Return the message classes that a root names: ``package.Message`` or ``package.*``."""
    package, _, name = pattern.rpartition(".")
    module = importlib.import_module(f"{_MODULES}.{package}")
    classes = [c for c in vars(module).values() if _is_message(c) and c.__module__ == module.__name__]
    # Not by class name: betterproto2 spells RBAC as Rbac.
    found = [c for c in classes if name in ("*", ".".join(path_of(c)))]
    if not found:
        raise LookupError(f"envoy-data-plane has no message {pattern}")
    return found


def package_of(cls: type) -> str:
    return cls.__module__.removeprefix(f"{_MODULES}.")


def path_of(cls: type) -> tuple[str, ...]:
    """Return the name of a class inside its package, outermost message first."""
    if _is_message(cls):
        url = default_message_pool.type_to_url[cls]
        return tuple(url.removeprefix(f"type.googleapis.com/{package_of(cls)}.").split("."))
    if found := ENUM_PATHS.get(f"{package_of(cls)}.{cls.__name__}"):
        return found
    scopes = scopes_of(cls)
    if not scopes:
        return (cls.__name__,)
    return (*path_of(scopes[-1]), cls.__name__.removeprefix(scopes[-1].__name__))


@cache
def scopes_of(cls: type) -> tuple[type, ...]:
    """Return the messages a class is declared in, outermost first."""
    siblings = [c for c in vars(sys.modules[cls.__module__]).values() if _is_message(c) and c is not cls]
    if _is_message(cls):
        path = path_of(cls)
        around = [c for c in siblings if path_of(c) == path[: len(path_of(c))]]
        return tuple(sorted(around, key=lambda c: len(path_of(c))))
    if found := ENUM_PATHS.get(f"{package_of(cls)}.{cls.__name__}"):
        return tuple(c for depth in range(1, len(found)) for c in siblings if path_of(c) == found[:depth])
    # The longest message name that the flattened enum name starts with is the innermost scope.
    around = [c for c in siblings if cls.__name__.startswith(c.__name__)]
    innermost = max(around, key=lambda c: len(c.__name__), default=None)
    return () if innermost is None else (*scopes_of(innermost), innermost)


def full_name(cls: type) -> str:
    return ".".join((package_of(cls), *path_of(cls)))


def read(cls: type) -> MessageType | EnumType:
    """Return the schema of one class."""
    if not _is_message(cls):
        return _read_enum(cls)
    meta: Any = cls._betterproto  # type: ignore[attr-defined]  # a lazy class attribute of betterproto2
    fields = (_read_field(meta, name) for name in meta.sorted_field_names)
    return MessageType(package_of(cls), path_of(cls), tuple(fields))


def _is_message(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, betterproto2.Message) and cls is not betterproto2.Message


def _read_enum(cls: type) -> EnumType:
    members: dict[str, Any] = dict(cls.__members__)  # type: ignore[attr-defined]
    # A member that had to be renamed for Python remembers its name. Aliases keep the name they have.
    values = ((m.proto_name or name if name == m.name else name, int(m)) for name, m in members.items())
    return EnumType(package_of(cls), path_of(cls), tuple(values))


def _read_field(meta: Any, python_name: str) -> Field:
    data = meta.meta_by_field_name[python_name]
    name = python_name.rstrip("_")  # betterproto2 appends "_" to Python keywords
    if data.proto_type == betterproto2.TYPE_MAP:
        key, value = data.map_meta
        cls = _type_class(value, meta.cls_by_field[f"{python_name}.value"])
        return Field(name, data.number, full_name(cls) if cls else value.proto_type, cls, key=key.proto_type)
    cls = _type_class(data, meta.cls_by_field[python_name])
    return Field(
        name=name,
        number=data.number,
        type_name=full_name(cls) if cls else data.proto_type,
        type_class=cls,
        repeated=data.repeated,
        optional=data.optional and data.proto_type != betterproto2.TYPE_MESSAGE and not data.group,
        oneof=data.group,
    )


def _type_class(data: Any, annotated: type) -> type | None:
    """Return the message or enum class of a field, or ``None`` for a scalar."""
    if data.proto_type not in (betterproto2.TYPE_MESSAGE, betterproto2.TYPE_ENUM):
        return None
    # Wrappers, durations and timestamps are annotated as Python values; ``unwrap`` knows the message.
    found: type = data.unwrap() if data.unwrap else annotated
    return found
