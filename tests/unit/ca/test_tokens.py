from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.identity import WorkloadIdentity
from ca.tokens import JoinTokens, TokenError

KEY = bytes(range(32))
TOKENS = JoinTokens(KEY)
WORKLOAD = "bookstore/bookstore-v1-0"
DAY = timedelta(days=1)


def refusal(token: str, now: datetime) -> str:
    with pytest.raises(TokenError) as refused:
        TOKENS.verify(token, now)
    assert len(token) < 20 or token not in str(refused.value)
    return refused.value.reason


def signed(
    changes: dict[str, Any], identity: WorkloadIdentity, now: datetime, key: bytes | str = KEY, **how: Any
) -> str:
    """A token by the same signer with some claims changed, or removed where the change is None."""
    claims = {
        "sub": str(identity),
        "tulle/workload": WORKLOAD,
        "tulle/use": "stream",
        "aud": "tulle-xds",
        "iat": int(now.timestamp()),
        "exp": int((now + DAY).timestamp()),
        "jti": "1f" * 16,
    } | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    how.setdefault("algorithm", "HS256")
    return jwt.PyJWS().encode(json.dumps(kept).encode(), key, **how)


def segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def test_round_trip(identity: WorkloadIdentity, now: datetime) -> None:
    claims = TOKENS.verify(TOKENS.issue(identity, WORKLOAD, DAY, now), now)
    assert (claims.identity, claims.workload) == (identity, WORKLOAD)
    assert claims.issued_at == now.replace(microsecond=0)
    assert claims.expires_at == (now + DAY).replace(microsecond=0)


def test_a_token_is_good_for_one_use(identity: WorkloadIdentity, now: datetime) -> None:
    join, stream = (TOKENS.issue(identity, WORKLOAD, DAY, now, use=use) for use in ("join", "stream"))
    assert TOKENS.verify(join, now, use="join").use == "join"
    assert TOKENS.verify(stream, now, use="stream").use == "stream"
    for token, use in ((join, "stream"), (stream, "join")):
        with pytest.raises(TokenError) as refused:
            TOKENS.verify(token, now, use=use)
        assert refused.value.reason == "use"


def test_two_tokens_differ(identity: WorkloadIdentity, now: datetime) -> None:
    assert TOKENS.issue(identity, WORKLOAD, DAY, now) != TOKENS.issue(identity, WORKLOAD, DAY, now)


def test_wire_form(identity: WorkloadIdentity, now: datetime) -> None:
    header, payload, _ = TOKENS.issue(identity, WORKLOAD, DAY, now).split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "HS256", "typ": "JWT"}
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert set(claims) == {"sub", "tulle/workload", "tulle/use", "aud", "iat", "exp", "jti"}


def test_expiry_is_exact(identity: WorkloadIdentity, now: datetime) -> None:
    token = TOKENS.issue(identity, WORKLOAD, DAY, now)
    ends = (now + DAY).replace(microsecond=0)
    assert TOKENS.verify(token, ends - timedelta(microseconds=1)).expires_at == ends
    assert refusal(token, ends) == "expired"


def test_a_clock_set_back_locks_nobody_out(identity: WorkloadIdentity, now: datetime) -> None:
    token = TOKENS.issue(identity, WORKLOAD, DAY, now)
    assert TOKENS.verify(token, now - timedelta(hours=5)).identity == identity


def test_another_key(identity: WorkloadIdentity, now: datetime) -> None:
    assert refusal(JoinTokens(bytes(32)).issue(identity, WORKLOAD, DAY, now), now) == "signature"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "istio-ca"}, "audience"),
        ({"aud": ["tulle-xds"]}, "audience"),
        ({"aud": ["tulle-xds", "other"]}, "audience"),
        ({"aud": None}, "malformed"),
        ({"exp": None}, "malformed"),
        ({"exp": "tomorrow"}, "malformed"),
        ({"exp": 1e300}, "malformed"),
        ({"exp": 10**30}, "malformed"),
        ({"exp": float("nan")}, "malformed"),
        ({"iat": -5}, "malformed"),
        ({"sub": None}, "malformed"),
        ({"sub": 7}, "malformed"),
        ({"sub": "spiffe://mesh.test/tulle/control-plane"}, "malformed"),
        ({"sub": "spiffe://mesh.test/ns/other/sa/x"}, "malformed"),
        ({"tulle/workload": "bookstore"}, "malformed"),
        ({"tulle/workload": "other/bookstore"}, "malformed"),
        ({"tulle/workload": "bookstore/../other"}, "malformed"),
        ({"tulle/workload": "bookstore/"}, "malformed"),
        ({"tulle/workload": None}, "malformed"),
        ({"jti": None}, "malformed"),
        ({"jti": "1"}, "malformed"),
        ({"jti": "1F" * 16}, "malformed"),
        ({"jti": "1f" * 15 + "1\n"}, "malformed"),
        ({"tulle/use": None}, "malformed"),
        ({"tulle/use": "both"}, "malformed"),
        ({"tulle/use": ["stream", "join"]}, "malformed"),
        ({"tulle/use": "join"}, "use"),
    ],
)
def test_claims_that_are_refused(
    identity: WorkloadIdentity, now: datetime, changes: dict[str, Any], reason: str
) -> None:
    assert refusal(signed(changes, identity, now), now) == reason


def test_other_algorithms(identity: WorkloadIdentity, now: datetime) -> None:
    assert refusal(signed({}, identity, now, "", algorithm="none"), now) == "malformed"
    assert refusal(signed({}, identity, now, KEY * 2, algorithm="HS512"), now) == "malformed"


def test_size_is_checked_before_parsing(identity: WorkloadIdentity, now: datetime) -> None:
    assert refusal(signed({"x": "y" * 8192}, identity, now), now) == "size"
    assert refusal("é" * 8193, now) == "size"


HOSTILE_HEADERS = [
    b"[" * 5000,
    b'{"alg":' + b"[" * 3000 + b"]" * 3000 + b"}",
    b'{"alg":{}}',
    b'{"alg":["HS256"]}',
    b'{"alg":null}',
    b'{"alg":"HS256","crit":[{}]}',
    b'{"alg":"HS256","crit":{}}',
    b'{"alg":"HS256","kid":1}',
    b'{"alg":"HS256","b64":false,"crit":["b64"]}',
    b"9" * 5000,
    b"\xff\xfe",
    b"null",
    b"",
]


@pytest.mark.parametrize("header", HOSTILE_HEADERS)
def test_hostile_headers(now: datetime, header: bytes) -> None:
    assert refusal(f"{segment(header)}.{segment(b'{}')}.{segment(b'x' * 32)}", now) in (
        "malformed",
        "signature",
    )
    assert refusal(f"{segment(header)}..", now) in ("malformed", "signature")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
HEADER_NAMES = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "x"])
CLAIM_NAMES = st.sampled_from(["sub", "aud", "iat", "exp", "nbf", "jti", "iss", "tulle/workload"])


@settings(max_examples=150)
@given(text=st.text(max_size=200) | st.lists(st.binary(max_size=60).map(segment), max_size=5).map(".".join))
def test_any_text_is_refused_with_a_reason(now: datetime, text: str) -> None:
    refusal(text, now)


@settings(max_examples=150)
@given(header=st.dictionaries(HEADER_NAMES, JSON), claims=st.dictionaries(CLAIM_NAMES, JSON))
def test_any_unsigned_json_is_refused_with_a_reason(
    now: datetime, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), bytes(32)]
    refusal(".".join(map(segment, parts)), now)


@settings(max_examples=150)
@given(claims=st.dictionaries(CLAIM_NAMES, JSON, min_size=1))
def test_any_signed_claims_are_read_or_refused(
    identity: WorkloadIdentity, now: datetime, claims: dict[str, Any]
) -> None:
    token = signed(claims, identity, now)
    try:
        read = TOKENS.verify(token, now)
    except TokenError as error:
        assert error.reason != "signature"  # noqa: PT017 - both outcomes are right, other exceptions are not
    else:
        assert read.identity == identity


@given(data=st.data())
def test_any_changed_character_is_noticed(identity: WorkloadIdentity, now: datetime, data: st.DataObject) -> None:
    token = TOKENS.issue(identity, WORKLOAD, DAY, now)
    # Not the last one: two of its six bits mean nothing, and not every release of PyJWT insists that they are 0.
    position = data.draw(st.integers(0, len(token) - 2))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != token[position]))
    refusal(token[:position] + other + token[position + 1 :], now)


@pytest.mark.parametrize("workload", ["", "bookstore", "other/x", "bookstore/", "bookstore/a/b"])
def test_a_workload_of_another_namespace_is_our_own_bug(
    identity: WorkloadIdentity, now: datetime, workload: str
) -> None:
    with pytest.raises(ValueError, match="does not belong"):
        TOKENS.issue(identity, workload, DAY, now)


def test_key_length_and_redaction() -> None:
    with pytest.raises(ValueError, match="31 bytes instead of 32"):
        JoinTokens(bytes(31))
    assert repr(KEY) not in repr(TOKENS)
    assert "key" not in repr(TOKENS)
