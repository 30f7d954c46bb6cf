"""Who may connect: what a peer proves, and what that lets it be.

In: what gRPC knows of a peer. Out: a ``Credential`` or a reason. How proof is checked (certificates, tokens) is the
business of whoever implements ``Authenticator``.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a stream. ``metadata`` may hold tokens, so it is never printed.

    ``spiffe_id`` is that of the client certificate, which TLS has verified; None without one. ``certificates`` is that
    certificate and what came with it, in PEM, the leaf first; empty without one.
    """

    metadata: Mapping[str, str] = field(repr=False)
    spiffe_id: str | None
    address: str
    certificates: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a peer has proved.

    ``subject`` is an identity, ``spiffe://...``; ``workload`` is "namespace/workload", or "" where the proof does not
    pin one; ``expires_at`` is in seconds since the epoch, None for never. An ``operator`` is a person or a tool that
    may see what every proxy has, and is no workload.
    """

    subject: str
    workload: str = ""
    expires_at: float | None = None
    operator: bool = False


class AuthenticationError(Exception):
    """The peer has not proved who it is; the text goes to the peer and to the log, so it holds no token.

    ``reason`` is the same in a word, to be counted: one of a few, never what the peer says.
    """

    def __init__(self, text: str, reason: str = "unproven") -> None:
        super().__init__(text)
        self.reason = reason


class AuthenticationUnavailableError(Exception):
    """Nobody can tell now whether the peer is who it says: it may come again. The text goes to the peer."""


class Authenticator(Protocol):
    async def authenticate(self, peer: Peer) -> Credential:
        """What the peer proves. Raises AuthenticationError, or AuthenticationUnavailableError."""


class OperatorToken:
    """An ``Authenticator`` of operators: whoever presents the one bearer token is one."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def authenticate(self, peer: Peer) -> Credential:
        if not hmac.compare_digest(peer.metadata.get("authorization", "").encode(), self._expected):
            raise AuthenticationError("the bearer token is not that of an operator", "operator")
        return Credential("operator", operator=True)


Authorizer = Callable[[str, Mapping[str, Any], Credential], str | None]
"""``(node_id, node metadata, credential)`` -> why this credential may not be that node, or None if it may."""


def node_refusal(node_id: str, credential: Credential) -> str | None:
    """Why a node may not go by ``node_id``; None if it may. The node's claim never decides, the credential does."""
    namespace, slash, workload = node_id.partition("/")
    if not (namespace and slash and workload) or "/" in workload:
        return f"node id {node_id[:256]!r} is not of the form namespace/workload"
    if credential.workload and credential.workload != node_id:
        return f"node id {node_id[:256]!r} is not {credential.workload!r}, which the credential belongs to"
    return None
