"""Client status (CSDS): what every connected proxy has, for operators and their tools.

In: ``ClientStatusRequest`` of an authenticated operator. Out: for each proxy its resources with versions, whether it
has accepted them, and why not. Workloads are refused: the answer tells of all others. Secrets are never in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from protos.envoy.admin.v3_pb2 import ClientResourceStatus, UpdateFailureState
from protos.envoy.config.core.v3_pb2 import Node
from protos.envoy.service.status.v3_pb2 import ClientConfig, ClientStatusRequest, ConfigStatus
from xds.authentication import Authenticator
from xds.framing import field
from xds.matching import NodeFilter, UnsupportedMatcher
from xds.opening import authenticated
from xds.redaction import redacted
from xds.refusal import Refused
from xds.refusals import Refusals
from xds.rejections import Rejections
from xds.resource import Resource
from xds.status import Holding, ProxyRegister, ProxyStatus

CSDS = "/envoy.service.status.v3.ClientStatusDiscoveryService/"
LARGEST_ANSWER = 64 << 20
"""Bytes. Beyond, the operator is asked to narrow the question rather than the proxies to wait."""
_HOLDINGS_AT_ONCE = 200
"""Between so many, streams get their turn."""
_RESPONSE_CONFIG = b"\x0a"

_Contents = dict[tuple[str, str, str], AnyMessage]


class ClientStatus:
    """See the module. ``operators`` None: nobody is one."""

    def __init__(
        self,
        proxies: ProxyRegister,
        rejections: Rejections,
        workloads: Authenticator,
        operators: Authenticator | None,
        refusals: Refusals,
    ) -> None:
        self._proxies = proxies
        self._rejections = rejections
        self._workloads = workloads
        self._operators = operators
        self._refusals = refusals

    async def fetch(self, request: bytes, context: Any) -> bytes:
        """One question, one answer."""
        try:
            await self._must_be_operator(context)
            return await self._answer(request)
        except Refused as refused:
            await self._refusals.refuse(refused, context)
            raise

    async def stream(self, context: Any) -> None:
        """An answer to each request, until the operator is done."""
        try:
            await self._must_be_operator(context)
            while (request := await context.read()) is not grpc.aio.EOF:
                await context.write(await self._answer(request))
        except Refused as refused:
            await self._refusals.refuse(refused, context)

    async def _must_be_operator(self, context: Any) -> None:
        if self._operators is not None:
            try:
                credential = await authenticated(self._operators, context)
            except Refused as refused:
                not_operator = refused
            else:
                if credential.operator:
                    return
                not_operator = Refused(grpc.StatusCode.PERMISSION_DENIED, f"{credential.subject} is no operator")
        else:
            not_operator = Refused(grpc.StatusCode.PERMISSION_DENIED, "client status is not served: no operator is set")
        if not_operator.code is grpc.StatusCode.UNAUTHENTICATED:
            try:
                workload = await authenticated(self._workloads, context)
            except Refused:
                raise not_operator from None
            reason = f"client status is for operators, and {workload.subject} is a workload"
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, reason)
        raise not_operator

    async def _answer(self, data: bytes) -> bytes:
        try:
            request = ClientStatusRequest.FromString(data)
            wanted = NodeFilter(request.node_matchers)
        except DecodeError:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the request could not be decoded") from None
        except UnsupportedMatcher as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        contents: _Contents | None = None if request.exclude_resource_contents else {}
        answer: list[bytes] = []
        size = 0
        for status in sorted(self._proxies, key=lambda each: each.proxy):
            if wanted(status.proxy):
                async for part in self._config(status, contents):
                    answer.append(part)
                    size += len(part)
                    if size > LARGEST_ANSWER:
                        raise Refused(
                            grpc.StatusCode.RESOURCE_EXHAUSTED,
                            f"the answer is larger than {LARGEST_ANSWER >> 20} MiB: ask with node_matchers,"
                            " or with exclude_resource_contents",
                        )
        return b"".join(answer)

    async def _config(self, status: ProxyStatus, contents: _Contents | None) -> AsyncIterator[bytes]:
        """One proxy as it stands in the response; its resources are those of one moment."""
        name, _, version = status.user_agent.partition(" ")
        config = ClientConfig(
            node=Node(id=status.proxy, user_agent_name=name, user_agent_version=version), client_scope=status.subject
        )
        reasons = self._rejections.of(status)
        found = [(each, status.resource(each.type_url, each.name)) for each in status.holdings()]
        for number, (holding, resource) in enumerate(found):
            entry = config.generic_xds_configs.add()
            _describe(entry, holding)
            if holding.rejected is not None:
                entry.error_state.CopyFrom(_error(status, holding, reasons))
            if contents is not None and resource is not None:
                entry.xds_config.CopyFrom(_content(resource, contents))
            if number % _HOLDINGS_AT_ONCE == 0:
                await asyncio.sleep(0)
        yield field(_RESPONSE_CONFIG, config.SerializeToString())


def _describe(entry: ClientConfig.GenericXdsConfig, holding: Holding) -> None:
    entry.type_url = holding.type_url
    entry.name = holding.name
    entry.version_info = holding.version or ""
    if holding.rejected is not None:
        entry.config_status, entry.client_status = ConfigStatus.ERROR, ClientResourceStatus.NACKED
    elif holding.acked == holding.version:
        entry.config_status = ConfigStatus.SYNCED
        there = holding.version is not None
        entry.client_status = ClientResourceStatus.ACKED if there else ClientResourceStatus.DOES_NOT_EXIST
    else:
        sent = holding.sent == holding.version
        entry.config_status = ConfigStatus.STALE if sent else ConfigStatus.NOT_SENT
        entry.client_status = ClientResourceStatus.REQUESTED


def _error(status: ProxyStatus, holding: Holding, reasons: dict[tuple[str, str], str]) -> UpdateFailureState:
    error = UpdateFailureState(
        details=reasons.get((holding.type_url, holding.name), ""), version_info=holding.rejected or ""
    )
    last = status.answers_of(holding.type_url).last_nack
    if last is not None and holding.name in last.names:
        error.last_update_attempt.CopyFrom(_timestamp(last.time))
    return error


def _timestamp(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMilliseconds(int(seconds * 1000))
    return stamp


def _content(resource: Resource, contents: _Contents) -> AnyMessage:
    """Most resources are shared by most proxies: they are looked through once per answer."""
    key = (resource.type_url, resource.name, resource.version)
    found = contents.get(key)
    if found is None:
        found = contents[key] = redacted(resource)
    return found
