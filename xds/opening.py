"""How a stream begins: who the peer is, what it asks for first, and which proxy it may speak for.

In: a gRPC context. Out: a ``Credential``, a first request, a proxy; or ``Refused``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from xds.authentication import (
    AuthenticationError,
    AuthenticationUnavailableError,
    Authenticator,
    Authorizer,
    Credential,
    Peer,
    node_refusal,
)
from xds.refusal import Refused

FIRST_REQUEST_DEADLINE = 15.0
AUTHENTICATION_DEADLINE = 10.0


async def authenticated(authenticator: Authenticator, context: Any) -> Credential:
    """What the peer proves, still valid. Raises Refused."""
    try:
        async with asyncio.timeout(AUTHENTICATION_DEADLINE):
            credential = await authenticator.authenticate(peer_of(context))
    except AuthenticationError as error:
        raise Refused(grpc.StatusCode.UNAUTHENTICATED, str(error), failure=error.reason) from None
    except AuthenticationUnavailableError as error:
        raise Refused(grpc.StatusCode.UNAVAILABLE, str(error)) from None
    except TimeoutError:
        raise Refused(grpc.StatusCode.UNAVAILABLE, "authentication took too long") from None
    if credential.expires_at is not None and credential.expires_at <= time.time():
        raise Refused(grpc.StatusCode.UNAUTHENTICATED, "the credential has expired", failure="expired")
    return credential


async def first_request(context: Any, parse: Callable[[bytes], Any]) -> Any | None:
    """The first request; None when the client ends without one. Raises Refused."""
    # Not wait_for: it would cancel the read (see Connection).
    read = asyncio.ensure_future(context.read())
    done, _ = await asyncio.wait({read}, timeout=FIRST_REQUEST_DEADLINE)
    if not done:
        raise Refused(grpc.StatusCode.DEADLINE_EXCEEDED, "no request on a new stream")
    data = read.result()
    if data is grpc.aio.EOF:
        return None
    try:
        return parse(data)
    except DecodeError:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the first request could not be decoded") from None


def proxy_of(first: Any, credential: Credential, authorizer: Authorizer) -> str:
    """The proxy that a first request may speak for. Raises Refused."""
    node = first.node
    if not node.id:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the first request has no node.id")
    if credential.operator:
        raise Refused(grpc.StatusCode.PERMISSION_DENIED, "an operator is not a workload")
    reason = node_refusal(node.id, credential) or authorizer(node.id, MessageToDict(node.metadata), credential)
    if reason is not None:
        raise Refused(grpc.StatusCode.PERMISSION_DENIED, reason, failure="node")
    return str(node.id)


def peer_of(context: Any) -> Peer:
    proved = context.auth_context()
    spiffe = proved.get("peer_spiffe_id")
    # The chain as gRPC gives it is without the leaf.
    certificates = b"".join((*proved.get("x509_pem_cert", ()), *proved.get("x509_pem_cert_chain", ())))
    return Peer(
        metadata={key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)},
        spiffe_id=spiffe[0].decode() if spiffe else None,
        address=context.peer(),
        certificates=certificates,
    )


def user_agent(node: Any) -> str:
    """Name and version of the client, in its own words. Thousands of proxies say the same: it is kept once."""
    version = node.user_agent_version
    if node.HasField("user_agent_build_version"):
        number = node.user_agent_build_version.version
        version = f"{number.major_number}.{number.minor_number}.{number.patch}"
    return sys.intern(f"{node.user_agent_name} {version}".strip()[:200])
