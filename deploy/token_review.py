"""Kubernetes service account tokens: the API server says whose they are (TokenReview, authentication.k8s.io/v1).

In: the token of a peer. Out: a ``Credential`` for the workload NAMESPACE/POD of a pod-bound token with our audience.
What the API server does not confirm is refused, and what it cannot be asked is unavailable: nothing is ever accepted
for lack of an answer.

A pod that is gone keeps its token for as long as an answer is remembered (`REMEMBERED`), and the API server itself
remembers for about ten seconds more. Its stream does not outlive the workload in the mesh in any case.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from ca.identity import IdentityError, TrustDomain, workload_identity
from deploy.bearer import Claims, bearer_token, unverified_claims
from xds.authentication import AuthenticationError, AuthenticationUnavailableError, Credential, Peer

AUDIENCE = "tulle-xds"
REMEMBERED = 10.0
"""Seconds that an answer counts: long enough for a sidecar that reconnects, short enough for a pod that is gone."""
MOST_REMEMBERED = 10_000
MOST_AT_ONCE = 8
"""Questions to the API server that are under way; fewer than the peers that are authenticated at once, so that who
sends invented tokens cannot hold up the means that need no API server.
"""
DEADLINE = 5.0
_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
_SUBJECT = "system:serviceaccount:"
_POD_NAME = "authentication.kubernetes.io/pod-name"
_LARGEST_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where the API server is, whom it must be (CA in PEM), and our own credential for it, read for each question
    because Kubernetes replaces it.
    """

    url: str
    ca_pem: str
    credential: Callable[[], str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """An answer: a credential or why there is none, until a moment of the monotonic clock."""

    answer: Credential | AuthenticationError
    until: float


class TokenReview:
    """An ``Authenticator``. Use it within one event loop, and ``close`` it."""

    def __init__(
        self, api: ApiServer, trust_domain: TrustDomain, *, deadline: float = DEADLINE, remembered: float = REMEMBERED
    ) -> None:
        self._api = api
        self._trust_domain = trust_domain
        self._deadline = deadline
        self._remembered = remembered
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Credential | AuthenticationError]] = {}
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def authenticate(self, peer: Peer) -> Credential:
        """The pod that the peer's token was made for. Raises AuthenticationError, AuthenticationUnavailableError."""
        token = bearer_token(peer)
        claims = unverified_claims(token)
        _must_be_worth_asking(claims)
        # Its hash, so that no list of valid tokens lies in memory.
        key = hashlib.sha256(token.encode()).digest()
        known = self._known.get(key)
        if known is None or known.until <= time.monotonic():
            answer = await self._answer(key, token, claims)
        else:
            answer = known.answer
        if isinstance(answer, AuthenticationError):
            raise AuthenticationError(str(answer), answer.reason)
        return answer

    async def close(self) -> None:
        """Ask nothing more."""
        for task in self._asked.values():
            task.cancel()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _answer(self, key: bytes, token: str, claims: Claims) -> Credential | AuthenticationError:
        """One question for all who present the same token at once."""
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._review(token, claims))
            task.add_done_callback(lambda done: self._learn(key, done))
        return await asyncio.shield(task)

    def _learn(self, key: bytes, done: asyncio.Task[Credential | AuthenticationError]) -> None:
        del self._asked[key]
        if done.cancelled() or done.exception() is not None:
            return  # no answer: the next one who comes asks again
        self._known.pop(key, None)
        self._known[key] = _Known(done.result(), time.monotonic() + self._remembered)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)

    async def _review(self, token: str, claims: Claims) -> Credential | AuthenticationError:
        try:
            async with asyncio.timeout(self._deadline), self._places:
                status = await self._ask(token)
        except TimeoutError:
            raise AuthenticationUnavailableError("the Kubernetes API server took too long to answer") from None
        except (aiohttp.ClientError, OSError, ValueError, RecursionError):
            # Its text may hold addresses and what we sent.
            raise AuthenticationUnavailableError("the Kubernetes API server cannot be asked about the token") from None
        try:
            return _credential(status, claims, self._trust_domain)
        except AuthenticationError as error:
            return error

    async def _ask(self, token: str) -> Mapping[str, Any]:
        """The status of a review. Raises AuthenticationUnavailableError, ClientError, OSError, ValueError."""
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        headers = {"Authorization": f"Bearer {self._api.credential()}"}
        url = self._api.url.rstrip("/") + _PATH
        async with self._opened().post(url, json=review, headers=headers, allow_redirects=False) as answer:
            if answer.status not in (200, 201):
                raise AuthenticationUnavailableError(f"the Kubernetes API server answered {answer.status}")
            document = json.loads(await _bounded(answer))
        match document:
            case {"kind": "TokenReview", "status": dict(status)}:
                return status
        raise ValueError("not a TokenReview")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = ssl.create_default_context(cadata=self._api.ca_pem)
            connector = aiohttp.TCPConnector(ssl=context, limit=MOST_AT_ONCE)
            # No proxy and no netrc of the environment: this connection carries tokens.
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._session


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """The body of an answer. Raises ValueError for a large one."""
    body = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > _LARGEST_ANSWER:
            raise ValueError("an answer that large is no TokenReview")
    return bytes(body)


def _must_be_worth_asking(claims: Claims) -> None:
    """Refuses what the API server would refuse in any case: its answer is the one that counts, but a question costs."""
    if AUDIENCE not in claims.audiences:
        raise AuthenticationError(f"the service account token is not meant for {AUDIENCE}", "audience")
    if claims.expires_at is None:
        raise AuthenticationError("the service account token never expires: use a projected one", "unbound")
    if claims.expires_at <= time.time():
        raise AuthenticationError("the service account token has expired", "expired")


def _credential(status: Mapping[str, Any], claims: Claims, trust_domain: TrustDomain) -> Credential:
    """What a review says. Raises AuthenticationError; its text holds nothing that came from the peer's token alone."""
    if status.get("authenticated") is not True:
        raise AuthenticationError("the Kubernetes API server does not accept the service account token", "signature")
    audiences = status.get("audiences")
    # A server that knows nothing of audiences leaves them out, and has not checked them.
    if not isinstance(audiences, list) or AUDIENCE not in audiences:
        raise AuthenticationError(f"the service account token is not meant for {AUDIENCE}", "audience")
    user = status.get("user")
    user = user if isinstance(user, dict) else {}
    namespace, service_account = _service_account(user.get("username"))
    pod = _one(user.get("extra"), _POD_NAME)
    if pod is None:
        raise AuthenticationError("the service account token is not bound to a pod", "unbound")
    try:
        identity = workload_identity(trust_domain, namespace, service_account)
    except IdentityError:
        raise AuthenticationError("the token is not that of a service account", "subject") from None
    return Credential(str(identity), f"{namespace}/{pod}", claims.expires_at)


def _service_account(username: object) -> tuple[str, str]:
    if isinstance(username, str) and username.startswith(_SUBJECT):
        parts = username.removeprefix(_SUBJECT).split(":")
        if len(parts) == 2 and all(parts):
            return parts[0], parts[1]
    raise AuthenticationError("the token is not that of a service account", "subject")


def _one(extra: object, key: str) -> str | None:
    match extra.get(key) if isinstance(extra, dict) else None:
        case [str(value)] if value and "/" not in value:
            return value
    return None
