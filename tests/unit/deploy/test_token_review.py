"""Kubernetes service account tokens, by an API server that reviews them; and tokens that pass for another kind."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from ca.identity import TrustDomain, WorkloadIdentity
from ca.tokens import JoinTokens
from deploy.admission import TokenAuthenticator
from deploy.bearer import BearerAuthenticator, unverified_claims
from deploy.token_review import ApiServer, TokenReview
from tests.unit.deploy.review_api import OURS, ReviewApi, review_api
from xds.authentication import AuthenticationError, AuthenticationUnavailableError, Peer

DOMAIN = TrustDomain("mesh.test")
JOIN = JoinTokens(bytes(range(32)))
CART = WorkloadIdentity(DOMAIN, "shop", "cart")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ReviewApi]:
    async with review_api(tmp_path) as started:
        yield started


@pytest.fixture
async def review(api: ReviewApi) -> AsyncIterator[TokenReview]:
    opened = TokenReview(ApiServer(api.url, api.ca_pem, lambda: OURS), DOMAIN)
    yield opened
    await opened.close()


@pytest.fixture
def both(review: TokenReview) -> BearerAuthenticator:
    return BearerAuthenticator(TokenAuthenticator(JOIN), review)


def peer(token: str) -> Peer:
    return Peer({"authorization": f"Bearer {token}"}, None, "ipv4:127.0.0.1:1")


async def refusal(authenticator: Any, token: str) -> str:
    with pytest.raises(AuthenticationError) as caught:
        await authenticator.authenticate(peer(token))
    assert not token or token not in str(caught.value)
    return caught.value.reason


async def test_a_pod_is_a_workload_until_its_token_expires(api: ReviewApi, review: TokenReview) -> None:
    before = time.time()
    credential = await review.authenticate(peer(api.token(lifetime=600)))
    assert credential.subject == "spiffe://mesh.test/ns/shop/sa/cart"
    assert credential.workload == "shop/cart-1"
    assert not credential.operator
    assert credential.expires_at == pytest.approx(before + 600, abs=5)
    assert api.asked[0]["spec"]["audiences"] == ["tulle-xds"]


@pytest.mark.parametrize(
    ("token", "reason", "asked"),
    [
        (lambda api: api.token(audience="https://kubernetes.default.svc"), "audience", 0),
        (lambda api: api.token(audience=None), "audience", 0),
        (lambda api: api.token(audience={"tulle-xds": 1}), "audience", 0),
        (lambda api: api.token(lifetime=-1), "expired", 0),
        (lambda api: api.token(exp=None), "unbound", 0),
        (lambda api: api.token(exp=10**400), "unbound", 0),
        (lambda api: api.token(exp=True), "unbound", 0),
        (lambda api: api.token(nbf=int(time.time()) + 3600), "signature", 1),
        (lambda api: api.token(iss="https://elsewhere"), "signature", 1),
        (lambda api: api.token() + "A", "signature", 1),
        (lambda api: dataclasses.replace(api, key=rsa.generate_private_key(65537, 2048)).token(), "signature", 1),
        (lambda api: api.token(pod=None), "unbound", 1),
        (lambda api: api.token(pod="../cart-2"), "unbound", 1),
        (lambda api: api.token(sub="system:node:cart"), "subject", 1),
        (lambda api: api.token(sub="system:serviceaccount:shop"), "subject", 1),
        (lambda api: api.token(sub="system:serviceaccount:shop:cart:x"), "subject", 1),
        (lambda api: api.token(sub="system:serviceaccount:shop:../x"), "subject", 1),
    ],
)
async def test_what_is_refused(
    api: ReviewApi, review: TokenReview, token: Callable[[ReviewApi], str], reason: str, asked: int
) -> None:
    assert await refusal(review, token(api)) == reason
    assert len(api.asked) == asked


async def test_the_audience_must_be_in_the_answer(api: ReviewApi, review: TokenReview) -> None:
    api.with_audiences = False
    assert await refusal(review, api.token()) == "audience"


async def test_answers_are_remembered_briefly_good_and_bad(api: ReviewApi) -> None:
    review = TokenReview(ApiServer(api.url, api.ca_pem, lambda: OURS), DOMAIN, remembered=0.2)
    good, bad = api.token(), api.token(iss="https://elsewhere")
    for _ in range(3):
        await review.authenticate(peer(good))
        await refusal(review, bad)
    assert len(api.asked) == 2
    await asyncio.sleep(0.25)
    await review.authenticate(peer(good))
    assert len(api.asked) == 3
    await review.close()


async def test_all_who_ask_at_once_are_one_question(api: ReviewApi, review: TokenReview) -> None:
    token = api.token()
    first = asyncio.create_task(review.authenticate(peer(token)))
    rest = [asyncio.create_task(review.authenticate(peer(token))) for _ in range(9)]
    await asyncio.sleep(0)
    first.cancel()
    credentials = await asyncio.gather(*rest)
    assert len(set(credentials)) == 1
    assert len(api.asked) == 1


async def _status(code: int) -> web.Response:
    return web.json_response({"kind": "Status"}, status=code)


async def _accepted(_request: web.Request, **status: Any) -> web.Response:
    return web.json_response({"kind": "TokenReview", **status}, status=201)


ANSWERS: dict[str, Callable[[web.Request], Any]] = {
    "error": lambda _: _status(500),
    "overload": lambda _: _status(429),
    "forbidden": lambda _: _status(403),
    "redirect": lambda _: _status(307),
    "html": lambda _: _text("<html>accepted</html>"),
    "nothing": lambda _: _text(""),
    "a list": lambda _: _text("[]"),
    "deep": lambda _: _text("[" * 100_000),
    "large": lambda _: _text('"' + "x" * (2 << 20) + '"'),
    "no status": _accepted,
    "another kind": lambda _: _text('{"kind": "Status", "status": {"authenticated": true}}'),
}


async def _text(text: str) -> web.Response:
    return web.Response(text=text, status=201, content_type="application/json")


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_answer_is_no_acceptance(api: ReviewApi, review: TokenReview, answer: str) -> None:
    token = api.token()
    api.answer = ANSWERS[answer]
    with pytest.raises(AuthenticationUnavailableError) as caught:
        await review.authenticate(peer(token))
    assert token not in str(caught.value)
    api.answer = None
    await review.authenticate(peer(token))  # it is not remembered either


@pytest.mark.parametrize(
    "status",
    [
        {"authenticated": "true", "audiences": ["tulle-xds"]},
        {"authenticated": 1, "audiences": ["tulle-xds"]},
        {"authenticated": True, "audiences": "tulle-xds"},
        {"authenticated": True, "audiences": ["tulle-xds"]},
        {"authenticated": True, "audiences": ["tulle-xds"], "user": []},
        {"authenticated": True, "audiences": ["tulle-xds"], "user": {"username": 1}},
        {"authenticated": True, "audiences": ["tulle-xds"], "user": {"username": "system:serviceaccount:a:b"}},
    ],
)
async def test_half_an_answer_is_a_refusal(api: ReviewApi, review: TokenReview, status: dict[str, Any]) -> None:
    api.answer = lambda request: _accepted(request, status=status)
    await refusal(review, api.token())


async def test_a_server_that_does_not_answer_in_time_is_unavailable(api: ReviewApi) -> None:
    released = asyncio.Event()

    async def late(request: web.Request) -> web.Response:
        await released.wait()
        return await _accepted(request)

    api.answer = late
    review = TokenReview(ApiServer(api.url, api.ca_pem, lambda: OURS), DOMAIN, deadline=0.1)
    with pytest.raises(AuthenticationUnavailableError, match="took too long"):
        await review.authenticate(peer(api.token()))
    released.set()
    await review.close()


async def test_an_impostor_of_the_api_server_is_told_nothing(api: ReviewApi, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with review_api(tmp_path / "other") as other:
        review = TokenReview(ApiServer(other.url, api.ca_pem, lambda: OURS), DOMAIN)
        with pytest.raises(AuthenticationUnavailableError):
            await review.authenticate(peer(other.token()))
        assert other.asked == []
        await review.close()


async def test_our_own_credential_is_read_each_time_and_never_printed(api: ReviewApi) -> None:
    ours = ["expired"]
    server = ApiServer(api.url, api.ca_pem, lambda: ours[0])
    review = TokenReview(server, DOMAIN)
    with pytest.raises(AuthenticationUnavailableError) as caught:
        await review.authenticate(peer(api.token()))
    assert str(caught.value) == "the Kubernetes API server answered 401"
    ours[0] = OURS
    await review.authenticate(peer(api.token()))
    assert OURS not in repr(server)
    await review.close()


def join_token(**more: Any) -> str:
    return JOIN.issue(CART, "shop/cart-1", timedelta(hours=1), datetime.now(UTC), **more)


def unsigned(claims: dict[str, Any], algorithm: str) -> str:
    parts = ({"alg": algorithm, "typ": "JWT"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts) + "."


def signed_with(key: bytes, claims: dict[str, Any]) -> str:
    """HS256 with any key; the library refuses those that are public keys."""
    text = unsigned(claims, "HS256").rstrip(".")
    signature = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


async def test_each_kind_goes_to_its_verifier(api: ReviewApi, both: BearerAuthenticator) -> None:
    assert (await both.authenticate(peer(join_token()))).workload == "shop/cart-1"
    assert api.asked == []
    assert (await both.authenticate(peer(api.token()))).workload == "shop/cart-1"
    assert len(api.asked) == 1


async def test_tokens_that_pass_for_another_kind_are_refused(api: ReviewApi, both: BearerAuthenticator) -> None:
    kubernetes = jwt.decode(api.token(), options={"verify_signature": False})
    join = jwt.decode(join_token(), options={"verify_signature": False})
    der = api.key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for claims in (kubernetes, join):
        for algorithm in ("none", "None", "nOnE", "", "HS384", "EdDSA"):
            assert await refusal(both, unsigned(claims, algorithm)) == "algorithm"
        assert await refusal(both, unsigned(claims, "HS256")) == "signature"
        for key in (api.public_key_pem, der, b""):
            assert await refusal(both, signed_with(key, claims)) == "signature"
    assert api.asked == []
    # What the API server has signed is never a join token, and what claims to be one is not its own.
    as_join = jwt.encode(join, api.key, "RS256")
    assert await refusal(both, as_join) in {"signature", "subject", "audience"}
    assert await refusal(both, unsigned(kubernetes, "RS256")) == "signature"


async def test_without_kubernetes_its_tokens_are_refused(api: ReviewApi) -> None:
    assert await refusal(BearerAuthenticator(TokenAuthenticator(JOIN)), api.token()) == "kind"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({}, "missing"),
        ({"authorization": "Basic eA=="}, "missing"),
        ({"authorization": "Bearer"}, "missing"),
        ({"authorization": "Bearer "}, "malformed"),
        ({"authorization": "Bearer a.b.c"}, "malformed"),
        ({"authorization": "Bearer " + "x" * 9000}, "size"),
        ({"authorization": "Bearer W10.W10.W10"}, "malformed"),
    ],
)
async def test_what_is_no_token(both: BearerAuthenticator, header: dict[str, str], reason: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        await both.authenticate(Peer(header, None, ""))
    assert caught.value.reason == reason


@given(
    st.text()
    | st.lists(st.binary(max_size=200), min_size=3, max_size=3).map(
        lambda parts: ".".join(base64.urlsafe_b64encode(part).decode() for part in parts)
    )
)
def test_any_text_is_claims_or_refused(text: str) -> None:
    with suppress(AuthenticationError):
        unverified_claims(text)


def test_deep_json_is_refused() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 6000).decode()
    with pytest.raises(AuthenticationError):
        unverified_claims(f"{deep}.e30.e30")
