"""The messages of the public harness's adapter API, described here instead of generated.

They are few and small, and only their wire format counts: package ``adapter``, service ``Adapter``.
"""

from __future__ import annotations

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_FIELDS = {
    "SetStateRequest": ("node", "version", "resources"),
    "SetStateResponse": ("success",),
    "clearStateRequest": ("node",),
    "clearStateResponse": ("response",),
    "ResourceRequest": ("node", "typeUrl", "resourceName", "version"),
    "UpdateResourceResponse": ("success",),
    "AddResourceResponse": ("success",),
    "RemoveResourceResponse": ("success",),
}
"""Message -> its fields, numbered from 1. All are strings but ``success`` (bool) and ``resources`` (repeated Any)."""


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="tests/harness_adapter/adapter.proto",
        package="adapter",
        syntax="proto3",
        dependency=[any_pb2.DESCRIPTOR.name],
    )
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for number, name in enumerate(fields, 1):
            field = described.field.add(name=name, number=number, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
            if name == "success":
                field.type = _Field.TYPE_BOOL
            elif name == "resources":
                field.type, field.label = _Field.TYPE_MESSAGE, _Field.LABEL_REPEATED
                field.type_name = ".google.protobuf.Any"
    return file


_pool = descriptor_pool.Default()
_pool.Add(_described())
MESSAGES = {name: message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"adapter.{name}")) for name in _FIELDS}
"""Message classes by name."""

METHODS = {
    "SetState": ("SetStateRequest", "SetStateResponse"),
    "ClearState": ("clearStateRequest", "clearStateResponse"),
    "UpdateResource": ("ResourceRequest", "UpdateResourceResponse"),
    "AddResource": ("ResourceRequest", "AddResourceResponse"),
    "RemoveResource": ("ResourceRequest", "RemoveResourceResponse"),
}
"""The unary methods of the service: request and response by name."""
