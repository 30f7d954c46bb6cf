"""Tulle's xDS server as the public harness wants it: in plaintext, for anybody, with versions that it dictates.

The harness compares ``version_info`` (SotW) and ``system_version_info`` (delta) with the literal versions it told the
adapter. Tulle's versions are hashes of content, so the streams of this server write a label over them, and nothing
else differs from the server that ``tulle serve`` runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import grpc

from protos.envoy.service.discovery.v3_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from xds import framing
from xds.authentication import Credential, Peer
from xds.delta import DeltaStream
from xds.server import XdsServer
from xds.sotw import SotwStream
from xds.store import Store
from xds.stream import Response, Stream

Labels = Mapping[tuple[str, str], str]
"""The version to report, by (node, type URL)."""

_VERSION = b"\x0a"
"""Field 1 of both responses. A parser keeps the last value of a field that comes twice."""


class Anybody:
    """An authenticator that believes everybody. For tests on loopback only."""

    async def authenticate(self, _peer: Peer) -> Credential:
        return Credential("spiffe://harness.test/anybody")


def labelled(variant: type[Stream], labels: Labels) -> type[Stream]:
    """The stream class ``variant``, whose responses say the label of their type as their version."""

    class Labelled(variant):  # type: ignore[misc, valid-type]
        def poll(self, now: float) -> list[Response]:
            return [self._label(response) for response in super().poll(now)]

        def _label(self, response: Response) -> Response:
            label = labels.get((self._world.proxy, response.type_url), "")
            return replace(response, parts=[*response.parts, framing.field(_VERSION, label.encode())])

    return Labelled


class HarnessTarget(XdsServer):
    """``XdsServer`` without TLS and without authentication, with labels for versions."""

    def __init__(self, store: Store, labels: Labels, address: str) -> None:
        super().__init__(store, Anybody(), lambda *_: None, grpc.insecure_server_credentials(), address)
        self._delta_variant = labelled(DeltaStream, labels)
        self._sotw_variant = labelled(SotwStream, labels)

    async def delta(self, context: Any) -> None:
        await self._serve(context, self._delta_variant, DeltaDiscoveryRequest.FromString)

    async def sotw(self, context: Any) -> None:
        await self._serve(context, self._sotw_variant, DiscoveryRequest.FromString)
