"""The gRPC service by which the public harness sets up what a target serves.

In: names and versions by node. Out: resources of those names in a ``Store``, and the version labels of their types.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from tests.conformance.model import made
from tests.harness_adapter.messages import MESSAGES, METHODS
from xds.resource import Resource, TypeUrl
from xds.store import ScopeChange, Store
from xds.view import View

SETTLE = 0.2


class Adapter:
    """See the module. A node is a scope of its own and sees nothing else.

    ``labels`` is the version last told, by (node, type URL). A request of the harness that makes no sense is refused
    with INVALID_ARGUMENT. ``settle``: seconds to wait before a change, because the harness does not wait itself: it
    unsubscribes from a resource and, on another connection, has it updated in the same instant.
    """

    def __init__(self, store: Store, settle: float = SETTLE) -> None:
        self.labels: dict[tuple[str, str], str] = {}
        self._settle = settle
        self._store = store
        self._names: dict[str, set[tuple[TypeUrl, str]]] = {}
        self._edits = itertools.count(1)

    def set_state(self, request: Any) -> Any:
        """Serve exactly these resources to a node from now on; of each, the request holds little but the name."""
        # The name is field 1 of all these types, as is the value of a StringValue.
        state = [(TypeUrl(each.type_url), StringValue.FromString(each.value).value) for each in request.resources]
        known = self._names.get(request.node, set())
        self.labels.update({(request.node, type_url): request.version for type_url, _ in state})
        self._names[request.node] = set(state)
        self._apply(request.node, [self._fresh(*key) for key in state], known - set(state))
        self._store.set_view(request.node, View((request.node,)))
        return MESSAGES["SetStateResponse"](success=True)

    def clear_state(self, request: Any) -> Any:
        """Forget a node; its streams end, because the harness leaves some open."""
        self._store.set_view(request.node, None)
        self._apply(request.node, (), self._names.pop(request.node, set()))
        for type_url in TypeUrl:
            self.labels.pop((request.node, type_url), None)
        return MESSAGES["clearStateResponse"](response="cleared")

    def update_resource(self, request: Any) -> Any:
        self._put(request)
        return MESSAGES["UpdateResourceResponse"](success=True)

    def add_resource(self, request: Any) -> Any:
        self._put(request)
        return MESSAGES["AddResourceResponse"](success=True)

    def remove_resource(self, request: Any) -> Any:
        key = TypeUrl(request.typeUrl), request.resourceName
        known = self._names.setdefault(request.node, set())
        held = key in known
        known.discard(key)
        self._apply(request.node, (), {key})
        return MESSAGES["RemoveResourceResponse"](success=held)

    def _put(self, request: Any) -> None:
        key = TypeUrl(request.typeUrl), request.resourceName
        self._names.setdefault(request.node, set()).add(key)
        self.labels[request.node, key[0]] = request.version
        self._apply(request.node, [self._fresh(*key)])

    def _fresh(self, type_url: TypeUrl, name: str) -> Resource:
        """A resource with content that it never had before."""
        return made(type_url, name, f"edit {next(self._edits)}")

    def _apply(self, node: str, upserts: Any, removals: Any = ()) -> None:
        self._store.apply([ScopeChange(node, tuple(upserts), tuple(removals))])

    def handler(self) -> grpc.GenericRpcHandler:
        """The service ``adapter.Adapter``."""
        calls = {
            "SetState": self.set_state,
            "ClearState": self.clear_state,
            "UpdateResource": self.update_resource,
            "AddResource": self.add_resource,
            "RemoveResource": self.remove_resource,
        }
        return grpc.method_handlers_generic_handler(
            "adapter.Adapter",
            {
                method: grpc.unary_unary_rpc_method_handler(
                    self._answering(calls[method]),
                    request_deserializer=MESSAGES[request].FromString,
                    response_serializer=MESSAGES[response].SerializeToString,
                )
                for method, (request, response) in METHODS.items()
            },
        )

    def _answering(self, call: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
        async def handle(request: Any, context: Any) -> Any:
            await asyncio.sleep(self._settle)
            try:
                return call(request)
            except ValueError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

        return handle
