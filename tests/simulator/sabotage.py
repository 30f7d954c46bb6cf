"""Changes what proxies are sent, to see whether the simulator notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from google.protobuf.message import Message

from deploy.configuration import Configuration
from protos.envoy.config.listener.v3_pb2 import Listener
from protos.envoy.extensions.filters.network.http_connection_manager.v3_pb2 import HttpConnectionManager
from tests.unit.translators.conftest import message
from xds.resource import Resource, TypeUrl, resource

Edit = Callable[..., object]
Scope = dict[tuple[str, str], Resource]


def found(
    configuration: Configuration, kind: TypeUrl, ending: str = "", start: str = ""
) -> Iterator[tuple[Scope, Resource]]:
    """The resources of a kind by parts of their names, with the scope that holds them. There is at least one."""
    matching = [
        (scope, each)
        for scope in configuration.scopes.values()
        for (type_url, name), each in scope.items()
        if type_url == kind and name.endswith(ending) and name.startswith(start)
    ]
    assert matching
    yield from matching


def change(configuration: Configuration, kind: TypeUrl, edit: Edit, ending: str = "", start: str = "") -> None:
    """Give each of these resources, as a message, to `edit`."""
    for scope, old in found(configuration, kind, ending, start):
        changed: Message = message(old)
        edit(changed)
        scope[old.type_url, old.name] = resource(old.type_url, old.name, changed)


def of_managers(edit: Edit) -> Edit:
    """`edit` for HTTP connection managers as one for listeners."""

    def edited(listener: Listener) -> None:
        for one in (one for chain in listener.filter_chains for one in chain.filters):
            made = HttpConnectionManager()
            if one.typed_config.Unpack(made):
                edit(made)
                one.typed_config.Pack(made)

    return edited
