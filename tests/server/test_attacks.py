"""Attacks by those who say that they are somebody else. Each is refused with a reason, which is counted and logged
once, and the honest proxy beside them gets its changes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import jwt
import pytest
import pytest_asyncio
from cryptography import x509

from ca.identity import TrustDomain, WorkloadIdentity
from ca.tokens import JoinTokens
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls_v3
from tests.server.siege import HONEST, OTHER, Siege, besieged
from xds.resource import TypeUrl

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def siege(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Siege]:
    async with besieged(tmp_path_factory.mktemp("siege") / "work") as started:
        yield started


def made(
    siege: Siege, *, lifetime: float = 3600, age: float = 0, domain: str = "cluster.local", sa: str = "web"
) -> str:
    identity = WorkloadIdentity(TrustDomain(domain), "shop", sa)
    moment = datetime.now(UTC) - timedelta(seconds=age)
    return siege.tokens.issue(identity, HONEST, timedelta(seconds=lifetime), moment)


def altered(siege: Siege, **changes: object) -> str:
    """The claims of a good token with `changes`, signed with the right key."""
    claims = jwt.decode(siege.token(HONEST), options={"verify_signature": False})
    return jwt.encode({**claims, **changes}, siege.tokens.key, "HS256")


def unsigned(siege: Siege) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    return f"{header}.{siege.token(HONEST).split('.')[1]}."


@dataclass(frozen=True)
class Claim:
    """Who comes with which token as which node, what it is told, and under which reason that is counted."""

    token: Callable[[Siege], str | None]
    code: str
    reason: str
    counted: str
    node: str = HONEST


CLAIMS = {
    "another workload's node id": Claim(
        lambda siege: siege.token(OTHER),
        "PERMISSION_DENIED",
        "node id 'shop/web' is not 'shop/cart', which the credential belongs to",
        "node",
    ),
    "no token": Claim(
        lambda _: None,
        "UNAUTHENTICATED",
        "no stream token: the header `authorization: Bearer TOKEN` is missing",
        "missing",
    ),
    "a stolen token after expiry": Claim(
        lambda siege: made(siege, lifetime=60, age=61), "UNAUTHENTICATED", "token refused: expired", "expired"
    ),
    "wrong audience": Claim(
        lambda siege: altered(siege, aud="another-service"),
        "UNAUTHENTICATED",
        "token refused: not meant for tulle-xds",
        "audience",
    ),
    "wrong trust domain": Claim(
        lambda siege: made(siege, domain="evil.test"),
        "PERMISSION_DENIED",
        "Workload shop/web is spiffe://cluster.local/ns/shop/sa/web, and the credential is for"
        " spiffe://evil.test/ns/shop/sa/web",
        "node",
    ),
    "another service account": Claim(
        lambda siege: made(siege, sa="cart"),
        "PERMISSION_DENIED",
        "Workload shop/web is spiffe://cluster.local/ns/shop/sa/web, and the credential is for"
        " spiffe://cluster.local/ns/shop/sa/cart",
        "node",
    ),
    "a token of another control plane": Claim(
        lambda _: JoinTokens(b"x" * 32).issue(
            WorkloadIdentity(TrustDomain("cluster.local"), "shop", "web"),
            HONEST,
            timedelta(hours=1),
            datetime.now(UTC),
        ),
        "UNAUTHENTICATED",
        "token refused: not signed by this control plane",
        "signature",
    ),
    "a token signed by nobody": Claim(unsigned, "UNAUTHENTICATED", "token refused: not a token of Tulle", "malformed"),
    "a token that is too long": Claim(
        lambda _: "x" * 10_000, "UNAUTHENTICATED", "token refused: longer than 8192 bytes", "size"
    ),
    "a newline in the node id": Claim(
        lambda siege: siege.token(HONEST),
        "PERMISSION_DENIED",
        r"node id 'shop/web\n2026-01-01 INFO all is well' is not 'shop/web', which the credential belongs to",
        "node",
        "shop/web\n2026-01-01 INFO all is well",
    ),
    "a NUL byte and terminal commands in the node id": Claim(
        lambda siege: siege.token(HONEST),
        "PERMISSION_DENIED",
        r"node id 'shop/web\x00\x1b[2J' is not 'shop/web', which the credential belongs to",
        "node",
        "shop/web\0\x1b[2J",
    ),
    "a node id of 1 MB": Claim(
        lambda siege: siege.token(HONEST),
        "PERMISSION_DENIED",
        "node id '" + "x" * 256 + "' is not of the form namespace/workload",
        "node",
        "x" * (1 << 20),
    ),
}


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
async def test_who_claims_to_be_another_is_refused(siege: Siege, claim: Claim, delta: bool) -> None:
    before = await siege.metric("tulle_xds_authentication_failures_total", reason=claim.counted)
    for _ in range(2):
        async with siege.stream(claim.token(siege), delta=delta) as client:
            await client.send(node=claim.node)
            assert await client.ending() == (claim.code, claim.reason)
    assert await siege.metric("tulle_xds_authentication_failures_total", reason=claim.counted) == before + 2
    (line,) = siege.told(f"stream refused: {claim.code}: {claim.reason}")
    assert line.endswith("(127.0.0.1)")
    await siege.delay()


async def test_no_line_of_the_log_was_written_by_a_peer(siege: Siege) -> None:
    """Run after the claims above: each line begins as ours do, and holds nothing that a terminal would act on."""
    lines = siege.log().splitlines()
    assert len(lines) > 3
    assert not [line for line in lines if line.startswith("2026-01-01") or not line.isprintable()]


async def test_another_proxys_secret_is_not_to_be_had(siege: Siege) -> None:
    async with siege.stream(siege.token(OTHER)) as client:
        wanted = ["identity", "identity/shop/web", "shop/web/identity", "shop/web", "trust", "../web/identity"]
        await client.send(node=OTHER, type_url=TypeUrl.SECRET, resource_names_subscribe=wanted)
        got: dict[str, bytes] = {}
        missing: set[str] = set()
        while len(got) + len(missing) < len(wanted):
            response = await client.receive()
            got |= {each.name: each.resource.value for each in response.resources}
            missing |= set(response.removed_resources)
        assert set(got) == {"identity", "trust"}
        chain = tls_v3.Secret.FromString(got["identity"]).tls_certificate.certificate_chain.inline_bytes
        names = x509.load_pem_x509_certificate(chain).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert [each.value for each in names.value] == ["spiffe://cluster.local/ns/shop/sa/cart"]
        assert not tls_v3.Secret.FromString(got["trust"]).HasField("tls_certificate")
    await siege.delay()


async def test_a_workload_cannot_ask_what_all_have(siege: Siege) -> None:
    async with siege.channel() as channel:
        call = channel.unary_unary("/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", metadata=(("authorization", f"Bearer {siege.token(OTHER)}"),))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_join_directory_is_for_its_workload_alone(siege: Siege) -> None:
    found = [siege.work / "state", *(siege.work / "state").rglob("*")]
    assert len([path for path in found if path.name in {"token", "stream-token"}]) == 4
    for path in found:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path} is {mode:o}"


READ_AS_NOBODY = "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); open(sys.argv[1]).read()"


@contextmanager
def everybodys_place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")
async def test_another_user_cannot_read_a_join_directory(siege: Siege) -> None:
    """By trying, on a copy in a place that everybody may reach: what is above is not to be what refuses."""
    with everybodys_place() as place:
        state = place / "state"
        shutil.copytree(siege.work / "state", state, ignore=shutil.ignore_patterns("lock"))
        reachable = place / "reachable"
        reachable.write_text("it can be read")
        reachable.chmod(0o644)
        for path in (reachable, *(state / "join" / HONEST / name for name in ("token", "stream-token", "bundle.pem"))):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", READ_AS_NOBODY, path), stderr=asyncio.subprocess.PIPE
            )
            _, complaint = await process.communicate()
            assert (process.returncode == 0) == (path == reachable)
            assert path == reachable or b"Permission denied" in complaint
