"""Who may have a stream."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ca.identity import TrustDomain, WorkloadIdentity
from ca.tokens import JoinTokens
from deploy.admission import TokenAuthenticator, authorizer
from tests.unit.deploy.conftest import Scene, workload
from xds.authentication import AuthenticationError, Credential, Peer

WEB = WorkloadIdentity(TrustDomain("cluster.local"), "shop", "web")
TOKENS = JoinTokens(b"k" * 32)


def peer(header: str | None) -> Peer:
    return Peer({} if header is None else {"authorization": header}, None, "ipv4:127.0.0.1:1")


def token(lifetime: timedelta = timedelta(hours=1), tokens: JoinTokens = TOKENS) -> str:
    return tokens.issue(WEB, "shop/web-0", lifetime, datetime.now(UTC))


async def test_a_token_proves_its_workload() -> None:
    credential = await TokenAuthenticator(TOKENS).authenticate(peer(f"Bearer {token()}"))
    assert (credential.subject, credential.workload) == (str(WEB), "shop/web-0")
    assert credential.expires_at is not None


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer not.a.token",
        f"Bearer {token(timedelta(seconds=-1))}",
        f"Bearer {token(tokens=JoinTokens(b'x' * 32))}",
    ],
    ids=["none", "empty", "scheme only", "no token", "basic", "garbage", "expired", "another control plane's"],
)
async def test_anything_else_proves_nothing(header: str | None) -> None:
    with pytest.raises(AuthenticationError) as refused:
        await TokenAuthenticator(TOKENS).authenticate(peer(header))
    assert header is None or len(header) < 20 or header not in str(refused.value)


@pytest.mark.parametrize(
    ("node", "subject", "metadata", "reason"),
    [
        ("shop/web", str(WEB), {}, None),
        ("shop/web", str(WEB), {"tulle": {"capture": "transparent"}}, None),
        ("shop/web", str(WEB), {"tulle": "nonsense"}, None),
        ("shop/web", str(WEB), {"tulle": {"capture": "explicit"}}, "--transparent"),
        ("shop/other", str(WEB), {}, "no Workload shop/other"),
        ("shop/web", "spiffe://cluster.local/ns/shop/sa/thief", {}, "sa/thief"),
        ("shop/web", "spiffe://elsewhere/ns/shop/sa/web", {}, "elsewhere"),
    ],
)
def test_the_mesh_must_know_the_proxy_as_it_presents_itself(
    scene: Scene, node: str, subject: str, metadata: dict[str, object], reason: str | None
) -> None:
    scene.declare(workload("web"))
    refusal = authorizer(lambda: scene.live.mesh)(node, metadata, Credential(subject, node))
    assert refusal is None if reason is None else reason in (refusal or "")
