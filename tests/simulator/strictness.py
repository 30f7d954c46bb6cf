"""What keeps the simulator honest: a field that it does not know fails the test, instead of being passed over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


class NotUnderstoodError(Exception):
    """A resource says something of which the simulator does not know what Envoy makes of it: teach it."""


class BrokenError(Exception):
    """A proxy is sent something that cannot work: a name of nothing, or two claims to one address."""


def only(message: Message, *known: str) -> None:
    """Raise NotUnderstoodError if a field is set that is not among `known`."""
    surprising = [field.name for field, _ in message.ListFields() if field.name not in known]
    if surprising:
        raise NotUnderstoodError(f"{message.DESCRIPTOR.full_name}: {', '.join(surprising)}")


def same(what: str, found: object, *known: object) -> None:
    """Raise NotUnderstoodError if a value is none of those that are `known`."""
    if found not in known:
        raise NotUnderstoodError(f"{what}: {found!r}")


def unpacked(packed: AnyMessage, kind: type[M]) -> M:
    made = kind()
    if not packed.Unpack(made):
        raise NotUnderstoodError(f"{packed.type_url} in place of {kind.DESCRIPTOR.full_name}")
    return made


def is_a(packed: AnyMessage, kind: type[Message]) -> bool:
    return bool(packed.Is(kind.DESCRIPTOR))


def the_only(what: str, found: Iterable[M]) -> M:
    """The one element. Raises NotUnderstoodError for none or several."""
    elements = list(found)
    if len(elements) != 1:
        raise NotUnderstoodError(f"{len(elements)} of {what}")
    return elements[0]
