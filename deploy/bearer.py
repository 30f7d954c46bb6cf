"""Bearer tokens of any kind: which kind one is, and so who verifies it.

In: the token in a peer's headers. Out: what the one verifier for its kind says. Nothing read here is believed: the
algorithm in a token's header only chooses a verifier, and each verifier knows one kind of key and no other. So a token
signed with somebody's public key as if that were a shared secret meets our own secret, and one that claims to be
signed by nobody meets no verifier.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from ca.tokens import MAX_TOKEN_LENGTH
from xds.authentication import AuthenticationError, Authenticator, Credential, Peer

_SCHEME = "bearer "
_OWN_ALGORITHM = "HS256"
_KUBERNETES_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})
"""What API servers sign service account tokens with."""
_MAX_TIME = 253402300799.0
"""The last second of the year 9999."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says of itself, which proves nothing. ``expires_at``: seconds since the epoch, None without."""

    algorithm: str
    audiences: tuple[str, ...]
    expires_at: float | None


class BearerAuthenticator:
    """Our own tokens and, where there is a Kubernetes, service account tokens."""

    def __init__(self, own: Authenticator, kubernetes: Authenticator | None = None) -> None:
        self._own = own
        self._kubernetes = kubernetes

    async def authenticate(self, peer: Peer) -> Credential:
        """What the peer's token proves. Raises AuthenticationError, AuthenticationUnavailableError."""
        algorithm = unverified_claims(bearer_token(peer)).algorithm
        if algorithm == _OWN_ALGORITHM:
            return await self._own.authenticate(peer)
        if algorithm in _KUBERNETES_ALGORITHMS:
            if self._kubernetes is None:
                raise AuthenticationError("service account tokens are not accepted: there is no Kubernetes", "kind")
            return await self._kubernetes.authenticate(peer)
        raise AuthenticationError("the token is signed in no way that is accepted", "algorithm")


def bearer_token(peer: Peer) -> str:
    """The token in the header `authorization`. Raises AuthenticationError."""
    header = peer.metadata.get("authorization", "")
    if not header[: len(_SCHEME)].lower() == _SCHEME:
        raise AuthenticationError("no token: the header `authorization: Bearer TOKEN` is missing", "missing")
    return header[len(_SCHEME) :].strip()


def unverified_claims(token: str) -> Claims:
    """What a JWT says of itself. Raises AuthenticationError, and nothing else, for any text."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise AuthenticationError(f"the token is longer than {MAX_TOKEN_LENGTH} bytes", "size")
    parts = token.split(".")
    if len(parts) != 3:
        raise AuthenticationError("the token is no JWT", "malformed")
    header, payload = (_decoded(part) for part in parts[:2])
    algorithm = header.get("alg")
    audience = payload.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    return Claims(
        algorithm if isinstance(algorithm, str) else "",
        tuple(each for each in audiences if isinstance(each, str)),
        _moment(payload.get("exp")),
    )


def _moment(value: object) -> float | None:
    # A bool is an int, and a huge int is no float.
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _MAX_TIME:
        return float(value)
    return None


def _decoded(part: str) -> dict[str, Any]:
    """An object of a JWT. Raises AuthenticationError."""
    try:
        found = json.loads(base64.b64decode(part.encode("ascii") + b"=" * (-len(part) % 4), b"-_", validate=True))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise AuthenticationError("the token is no JWT", "malformed")
    return found
