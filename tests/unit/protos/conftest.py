"""What the tests of protos/ share: our descriptors, and the classes of envoy-data-plane."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FileDescriptor

REPOSITORY = Path(__file__).parents[3]
FILES = sorted(p.relative_to(REPOSITORY).as_posix() for p in (REPOSITORY / "protos").glob("*/**/*.proto"))


@pytest.fixture(params=FILES)
def proto_file(request: pytest.FixtureRequest) -> FileDescriptor:
    """Every .proto file of ours, compiled."""
    module = request.param.removesuffix(".proto").replace("/", ".") + "_pb2"
    descriptor: FileDescriptor = importlib.import_module(module).DESCRIPTOR
    return descriptor


@pytest.fixture(scope="session")
def typed_class() -> Callable[[str], Any]:
    """Find the envoy-data-plane class of a message by its full proto name. Importing it takes 1-3 s."""
    pool = importlib.import_module("envoy_data_plane.message_pool").default_message_pool

    def find(full_name: str) -> Any:
        package = full_name
        while not (module := package.rpartition(".")[0]).endswith((".v3", ".protobuf", ".rpc")):
            package = module
        importlib.import_module(f"envoy_data_plane.{module}")
        return pool.url_to_type[f"type.googleapis.com/{full_name}"]

    return find
