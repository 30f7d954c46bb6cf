"""Resources as people may see them: never a key, never a password.

In: a ``Resource``. Out: JSON-able data, or the resource again. SDS secrets are not shown at all; private keys and the
like that stand inside other resources are replaced one by one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

# Imported for their descriptors: the pool below finds a message only when its module is loaded.
from protos.envoy.config.cluster import v3_pb2 as _cluster  # noqa: F401
from protos.envoy.config.endpoint import v3_pb2 as _endpoint  # noqa: F401
from protos.envoy.config.listener import v3_pb2 as _listener  # noqa: F401
from protos.envoy.config.route import v3_pb2 as _route  # noqa: F401
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as _tls  # noqa: F401
from xds.resource import Resource

REDACTED = "<redacted>"
_SECRET_FIELDS = frozenset(
    {"private_key", "private_key_provider", "password", "session_ticket_keys", "client_secret", "token_secret"}
)
_PEM = re.compile(r"-----BEGIN [^-]+-----.*?(-----END [^-]+-----|$)", re.DOTALL)


def shown(resource: Resource) -> Any:
    """The content of a resource, decoded, without secrets."""
    if resource.secret:
        return REDACTED
    message = _parsed(resource.type_url, resource.body)
    try:
        return _redact(MessageToDict(message, preserving_proto_field_name=True))
    except TypeError as error:
        # An Any inside whose type this process has not loaded: say so rather than show nothing of the page.
        return {"undecodable": str(error)}


def redacted(resource: Resource) -> AnyMessage:
    """A resource as it is sent, without secrets: of an SDS secret only its name is left."""
    message = _parsed(resource.type_url, resource.body)
    packed = AnyMessage(type_url=resource.type_url)
    if resource.secret:
        packed.value = type(message)(name=resource.name).SerializeToString()
    else:
        packed.value = message.SerializeToString(deterministic=True) if _clear(message) else resource.body
    return packed


def _clear(message: Message) -> bool:
    """Remove what must not be seen from a message and all within. Whether there was anything."""
    if isinstance(message, AnyMessage):
        try:
            inner = _parsed(message.type_url, message.value)
        except (KeyError, DecodeError):
            # A type this process has not loaded: nobody can tell what is in it.
            message.value = b""
            return True
        changed = _clear(inner)
        if changed:
            message.value = inner.SerializeToString(deterministic=True)
        return changed
    changed = False
    for field, value in message.ListFields():
        if field.name in _SECRET_FIELDS:
            message.ClearField(field.name)
            changed = True
        elif field.type == field.TYPE_MESSAGE:
            changed = _clear_each(field, value) or changed
    return changed


def _clear_each(field: FieldDescriptor, value: Any) -> bool:
    if not field.is_repeated:
        return _clear(value)
    changed = False
    for each in value.values() if isinstance(value, Mapping) else value:
        if isinstance(each, Message):
            changed = _clear(each) or changed
    return changed


def _parsed(type_url: str, data: bytes) -> Message:
    """Raises KeyError for a type that is not loaded, DecodeError."""
    name = type_url.rpartition("/")[2]
    message = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))()
    message.ParseFromString(data)
    return message


def without_keys(text: str) -> str:
    """A text of a proxy without PEM blocks; a rejection of a secret may quote it."""
    return _PEM.sub(REDACTED, text)


def _redact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: REDACTED if key in _SECRET_FIELDS else _redact(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_redact(each) for each in value]
    return value
