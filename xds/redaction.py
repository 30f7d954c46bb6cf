"""Resources as JSON that people may see: never a key, never a password.

In: a ``Resource``. Out: JSON-able data. SDS secrets are not shown at all; private keys and the like that stand inside
other resources are replaced one by one.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.json_format import MessageToDict

# Imported for their descriptors: the pool below finds a message only when its module is loaded.
from protos.envoy.config.cluster import v3_pb2 as _cluster  # noqa: F401
from protos.envoy.config.endpoint import v3_pb2 as _endpoint  # noqa: F401
from protos.envoy.config.listener import v3_pb2 as _listener  # noqa: F401
from protos.envoy.config.route import v3_pb2 as _route  # noqa: F401
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
    name = resource.type_url.rpartition("/")[2]
    message = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))()
    message.ParseFromString(resource.body)
    try:
        return _redact(MessageToDict(message, preserving_proto_field_name=True))
    except TypeError as error:
        # An Any inside whose type this process has not loaded: say so rather than show nothing of the page.
        return {"undecodable": str(error)}


def without_keys(text: str) -> str:
    """A text of a proxy without PEM blocks; a rejection of a secret may quote it."""
    return _PEM.sub(REDACTED, text)


def _redact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: REDACTED if key in _SECRET_FIELDS else _redact(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_redact(each) for each in value]
    return value
