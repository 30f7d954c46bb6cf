"""Tokens of workloads: what a sidecar shows the control plane when no Kubernetes vouches for it.

A *join* token is exchanged for a certificate, once; a *stream* token opens streams until it expires. Neither is good
for what the other is for.

In: the key of the state directory, identities, the time. Out: signed JWTs (RFC 7519), and the claims of
valid ones.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import jwt

from ca.identity import IdentityError, SpiffeId, WorkloadIdentity

AUDIENCE = "tulle-xds"
MAX_TOKEN_LENGTH = 8 * 1024
KEY_LENGTH = 32

_ALGORITHM = "HS256"
_WORKLOAD_CLAIM = "tulle/workload"
_MAX_TIME = 253402300799
"""The last second of the year 9999, where `datetime` ends."""
_TOKEN_ID = re.compile(r"[0-9a-f]{32}")

_USE_CLAIM = "tulle/use"

Use = Literal["join", "stream"]
Reason = Literal["size", "malformed", "signature", "audience", "expired", "use"]


class TokenError(Exception):
    """A token that proves nothing. `reason` is stable; the text never repeats the token."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"token refused: {_EXPLANATIONS[reason]}")
        self.reason: Reason = reason


_EXPLANATIONS: dict[Reason, str] = {
    "size": f"longer than {MAX_TOKEN_LENGTH} bytes",
    "malformed": "not a token of Tulle",
    "signature": "not signed by this control plane",
    "audience": f"not meant for {AUDIENCE}",
    "expired": "expired",
    "use": "meant for another use: a join token gets a certificate and opens no stream, a stream token the reverse",
}


@dataclass(frozen=True, slots=True)
class JoinClaims:
    """What a valid token says about its bearer. Times are UTC in whole seconds."""

    identity: WorkloadIdentity
    workload: str
    """`namespace/name`; the namespace is that of the identity."""
    issued_at: datetime
    expires_at: datetime
    token_id: str
    use: Use


@dataclass(frozen=True, slots=True)
class JoinTokens:
    """Issues and verifies with one key of 32 bytes; ValueError for any other length."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_LENGTH:
            raise ValueError(f"the key of join tokens has {len(self.key)} bytes instead of {KEY_LENGTH}")

    def issue(
        self, identity: WorkloadIdentity, workload: str, lifetime: timedelta, now: datetime, *, use: Use = "stream"
    ) -> str:
        """A token for `workload` (`namespace/name`), valid until `now + lifetime`.

        Raises ValueError when `workload` is not in the namespace of `identity`: a caller's bug.
        """
        if not _belongs(workload, identity):
            raise ValueError(f"workload {workload!r} does not belong to {identity}")
        claims = {
            "sub": str(identity),
            _WORKLOAD_CLAIM: workload,
            _USE_CLAIM: use,
            "aud": AUDIENCE,
            "iat": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
            "jti": secrets.token_hex(16),
        }
        return jwt.encode(claims, self.key, algorithm=_ALGORITHM)

    def verify(self, token: str, now: datetime, *, use: Use = "stream") -> JoinClaims:
        """The claims of `token`, which must be for `use`; raises TokenError, and nothing else, for any text.

        An issue time in the future is accepted: the signature already tells whose it is, and a control
        plane whose clock was set back must not lock its own sidecars out.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise TokenError("size")
        if not token.isascii():
            raise TokenError("malformed")
        claims = _read_claims(_decode(token, self.key))
        if claims.expires_at <= now:
            raise TokenError("expired")
        if claims.use != use:
            raise TokenError("use")
        return claims


def _decode(token: str, key: bytes) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            audience=AUDIENCE,
            # The library would read the clock of this process; the time here is an argument, checked by the
            # caller.
            options={
                "require": ["sub", "aud", "iat", "exp", "jti", _WORKLOAD_CLAIM, _USE_CLAIM],
                "strict_aud": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidSignatureError as error:
        raise TokenError("signature") from error
    except jwt.InvalidAudienceError as error:
        raise TokenError("audience") from error
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        # The header is parsed before the signature is checked, and hostile JSON in it can raise all of these.
        raise TokenError("malformed") from error


def _read_claims(claims: dict[str, Any]) -> JoinClaims:
    match claims:
        case {
            "sub": str(subject),
            "iat": int(issued),
            "exp": int(expires),
            "jti": str(token_id),
            "tulle/workload": str(workload),
            "tulle/use": ("join" | "stream") as use,
        } if 0 <= issued <= expires <= _MAX_TIME and _TOKEN_ID.fullmatch(token_id):
            try:
                identity = WorkloadIdentity.from_spiffe_id(SpiffeId.parse(subject))
            except IdentityError as error:
                raise TokenError("malformed") from error
        case _:
            raise TokenError("malformed")
    if not _belongs(workload, identity):
        raise TokenError("malformed")
    return JoinClaims(
        identity=identity,
        workload=workload,
        issued_at=datetime.fromtimestamp(issued, UTC),
        expires_at=datetime.fromtimestamp(expires, UTC),
        token_id=token_id,
        use=use,
    )


def _belongs(workload: str, identity: WorkloadIdentity) -> bool:
    namespace, slash, name = workload.partition("/")
    return bool(slash) and namespace == identity.namespace and bool(name) and "/" not in name
