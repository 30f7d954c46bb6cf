"""Our descriptors agree with envoy-data-plane, field by field.

Read here from betterproto2's metadata without protos.schema, so that an error there cannot hide itself.
"""

from collections.abc import Callable, Iterator
from typing import Any

from envoy_data_plane.message_pool import default_message_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto

LEFT_OUT = {("envoy.config.rbac.v3.Policy", 3), ("envoy.config.rbac.v3.Policy", 4)}
SCALARS = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}


def messages_of(scope: FileDescriptor | Descriptor) -> Iterator[Descriptor]:
    nested = scope.message_types_by_name.values() if isinstance(scope, FileDescriptor) else scope.nested_types
    for message in nested:
        if not message.GetOptions().map_entry:
            yield message
            yield from messages_of(message)


def enum_values(enum: EnumDescriptor) -> dict[str, int]:
    return {value.name: value.number for value in enum.values}


def typed_enum_values(cls: Any) -> dict[str, int]:
    return {member.proto_name or member.name: member.value for member in cls.__members__.values()}


def kind_of(field: FieldDescriptor) -> tuple[str, object]:
    if field.message_type is not None:
        return ("message", field.message_type.full_name)
    if field.enum_type is not None:
        return ("enum", enum_values(field.enum_type))
    return (SCALARS[field.type], None)


def typed_kind_of(meta: Any, annotated: Any) -> tuple[str, object]:
    cls = meta.unwrap() if meta.unwrap else annotated
    if meta.proto_type == "message":
        return ("message", default_message_pool.type_to_url[cls].removeprefix("type.googleapis.com/"))
    if meta.proto_type == "enum":
        return ("enum", typed_enum_values(cls))
    return (meta.proto_type, None)


def shape_of(field: FieldDescriptor) -> dict[str, object]:
    """Return all that the wire and a reader of the field can tell."""
    entry = field.message_type
    is_map = entry is not None and entry.GetOptions().map_entry
    oneof = field.containing_oneof
    synthetic = oneof is not None and oneof.name.startswith("_")
    return {
        "name": field.name,
        "map key": kind_of(entry.fields_by_name["key"]) if is_map else None,
        "kind": kind_of(entry.fields_by_name["value"]) if is_map else kind_of(field),
        "repeated": field.is_repeated and not is_map,
        "packed": field.is_packed,
        "oneof": oneof.name if oneof and not synthetic else None,
        "optional": synthetic,
    }


def typed_shape_of(about: Any, name: str) -> dict[str, object]:
    meta = about.meta_by_field_name[name]
    is_map = meta.proto_type == "map"
    if is_map:
        key, value = meta.map_meta
        kind = typed_kind_of(value, about.cls_by_field[f"{name}.value"])
    else:
        key, kind = None, typed_kind_of(meta, about.cls_by_field[name])
    return {
        "name": name.removesuffix("_"),
        "map key": (key.proto_type, None) if key else None,
        "kind": kind,
        "repeated": bool(meta.repeated),
        "packed": bool(meta.repeated) and kind[0] not in ("message", "string", "bytes"),
        "oneof": meta.group,
        "optional": bool(meta.optional) and kind[0] != "message" and not meta.group,
    }


def test_every_message_agrees(proto_file: FileDescriptor, typed_class: Callable[[str], Any]) -> None:
    compared = list(messages_of(proto_file))
    for message in compared:
        about = typed_class(message.full_name)._betterproto
        expected = {n: typed_shape_of(about, name) for n, name in about.field_name_by_number.items()}
        expected = {n: s for n, s in expected.items() if (message.full_name, n) not in LEFT_OUT}
        assert {f.number: shape_of(f) for f in message.fields} == expected, message.full_name
    assert compared or proto_file.enum_types_by_name


def test_nothing_else_is_left_out(proto_file: FileDescriptor) -> None:
    """Reserved numbers are exactly the cut fields."""
    for message in messages_of(proto_file):
        plain = DescriptorProto()
        message.CopyToProto(plain)
        for reserved in plain.reserved_range:
            assert (message.full_name, reserved.start) in LEFT_OUT
            assert reserved.end == reserved.start + 1
