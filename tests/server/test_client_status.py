"""Client status: who may ask, what is told, and what never is."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

import xds.csds
from protos.envoy.admin.v3_pb2 import ClientResourceStatus
from protos.envoy.config.cluster import v3_pb2 as cluster_v3
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls_v3
from protos.envoy.service.status.v3_pb2 import ClientConfig, ClientStatusRequest, ClientStatusResponse, ConfigStatus
from protos.envoy.type.matcher.v3_pb2 import NodeMatcher, StringMatcher
from tests.server.plane import PROXY, MakePlane, Plane, cluster, until
from xds.authentication import Credential, OperatorToken
from xds.csds import CSDS
from xds.resource import Resource, TypeUrl, resource
from xds.view import View

KEY = "-----BEGIN PRIVATE KEY-----"
OTHER = "shop/thief"


@pytest.fixture
async def watched(make_plane: MakePlane) -> Plane:
    return await make_plane(operators=OperatorToken("open sesame"))


async def ask(plane: Plane, *, token: str | None = "open sesame", **request: Any) -> ClientStatusResponse:
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    async with plane.channel() as channel:
        fetch = channel.unary_unary(
            f"{CSDS}FetchClientStatus", ClientStatusRequest.SerializeToString, ClientStatusResponse.FromString
        )
        answer: ClientStatusResponse = await fetch(ClientStatusRequest(**request), metadata=metadata, timeout=10)
        return answer


async def refusal(plane: Plane, **question: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(plane, **question)
    return refused.value.code().name, refused.value.details() or ""


def entries(config: ClientConfig) -> dict[str, ClientConfig.GenericXdsConfig]:
    return {each.name: each for each in config.generic_xds_configs}


async def test_it_tells_how_far_every_proxy_is(watched: Plane) -> None:
    plane = watched
    async with plane.connected() as client:
        (config,) = (await ask(plane)).config
        assert (config.node.id, config.node.user_agent_name) == (PROXY, "envoy")
        assert config.client_scope == "spiffe://mesh/ns/shop/sa/buyer"
        known = entries(config)
        assert known.keys() == {"a", "b"}
        assert known["a"].type_url == TypeUrl.CLUSTER
        assert known["a"].version_info == cluster("a").version
        assert known["a"].config_status == ConfigStatus.SYNCED
        assert known["a"].client_status == ClientResourceStatus.ACKED
        content = cluster_v3.Cluster()
        assert known["a"].xds_config.Unpack(content)
        assert content == cluster_v3.Cluster(name="a")

        plane.put(cluster("a", "2"))
        response = await client.receive()
        known = entries((await ask(plane)).config[0])
        assert known["a"].version_info == cluster("a", "2").version
        assert known["a"].config_status == ConfigStatus.STALE
        assert known["b"].config_status == ConfigStatus.SYNCED

        await client.send(response_nonce=response.nonce, error_detail={"code": 13, "message": "a: no such thing"})
        await until(lambda: len(plane.server.rejections))
        known = entries((await ask(plane)).config[0])
        assert known["a"].config_status == ConfigStatus.ERROR
        assert known["a"].client_status == ClientResourceStatus.NACKED
        assert known["a"].error_state.details == "a: no such thing"
        assert known["a"].error_state.version_info == cluster("a", "2").version
        assert known["a"].error_state.last_update_attempt.seconds > 0
        assert known["b"].config_status == ConfigStatus.SYNCED


async def test_content_can_be_left_out(watched: Plane) -> None:
    async with watched.connected():
        (config,) = (await ask(watched, exclude_resource_contents=True)).config
        assert entries(config)["a"].version_info == cluster("a").version
        assert not entries(config)["a"].HasField("xds_config")


async def test_a_name_that_does_not_exist_is_in_agreement(watched: Plane) -> None:
    async with watched.client() as client:
        await client.send(node=PROXY, type_url=TypeUrl.SECRET, resource_names_subscribe=["gone"])
        await client.acknowledge(await client.receive())
        (config,) = (await ask(watched)).config
        gone = entries(config)["gone"]
        assert (gone.config_status, gone.version_info) == (ConfigStatus.SYNCED, "")
        assert gone.client_status == ClientResourceStatus.DOES_NOT_EXIST


def keyed() -> tuple[Resource, ...]:
    """A secret, and a cluster with a key inside an Any."""
    secret = tls_v3.Secret(name="identity")
    secret.tls_certificate.private_key.inline_string = KEY
    context = tls_v3.UpstreamTlsContext(sni="seen")
    context.common_tls_context.tls_certificates.add().private_key.inline_string = KEY
    message = cluster_v3.Cluster(name="keyed")
    message.transport_socket.name = "tls"
    message.transport_socket.typed_config.Pack(context)
    return resource(TypeUrl.SECRET, "identity", secret), resource(TypeUrl.CLUSTER, "keyed", message)


async def test_keys_are_never_told(watched: Plane) -> None:
    watched.store.set_own(PROXY, keyed())
    async with watched.client() as client:
        await client.send(node=PROXY)
        await client.receive()
        await client.send(type_url=TypeUrl.SECRET, resource_names_subscribe=["identity"])
        await client.receive()
        answer = await ask(watched)
    assert KEY.encode() not in answer.SerializeToString()
    known = entries(answer.config[0])
    secret = tls_v3.Secret()
    assert known["identity"].xds_config.Unpack(secret)
    assert secret == tls_v3.Secret(name="identity")
    message, context = cluster_v3.Cluster(), tls_v3.UpstreamTlsContext()
    assert known["keyed"].xds_config.Unpack(message)
    assert message.transport_socket.typed_config.Unpack(context)
    assert context.sni == "seen"


@pytest.mark.parametrize(
    ("matcher", "found"),
    [
        (StringMatcher(exact=PROXY), [PROXY]),
        (StringMatcher(exact="SHOP/Buyer", ignore_case=True), [PROXY]),
        (StringMatcher(exact="SHOP/Buyer"), []),
        (StringMatcher(prefix="shop/"), [PROXY, OTHER]),
        (StringMatcher(suffix="thief"), [OTHER]),
        (StringMatcher(contains="p/b"), [PROXY]),
        (StringMatcher(safe_regex={"regex": ".*/b.*"}), [PROXY]),
        (StringMatcher(safe_regex={"regex": "buyer"}), []),
    ],
)
async def test_matchers_choose_proxies(watched: Plane, matcher: StringMatcher, found: list[str]) -> None:
    watched.store.set_view(OTHER, View(("all",)))
    async with watched.connected(), watched.client(token="thief") as second:
        await second.send(node=OTHER)
        await second.receive()
        answer = await ask(watched, node_matchers=[NodeMatcher(node_id=matcher)])
        assert [config.node.id for config in answer.config] == found
        nobody = NodeMatcher(node_id=StringMatcher(exact="nobody"))
        answer = await ask(watched, node_matchers=[nobody, NodeMatcher(node_id=matcher)])
        assert [config.node.id for config in answer.config] == found


@pytest.mark.parametrize(
    ("matcher", "reason"),
    [
        (NodeMatcher(node_metadatas=[{}]), "node_metadatas is not supported: metadata of proxies is not kept"),
        (NodeMatcher(node_id=StringMatcher(safe_regex={"regex": "("})), "the regular expression is wrong"),
        (NodeMatcher(node_id=StringMatcher()), "node_id needs one of exact, prefix, suffix, contains, safe_regex"),
    ],
)
async def test_what_cannot_be_matched_is_said(watched: Plane, matcher: NodeMatcher, reason: str) -> None:
    code, text = await refusal(watched, node_matchers=[matcher])
    assert code == "INVALID_ARGUMENT"
    assert text.startswith(reason)


async def test_a_stream_answers_every_request(watched: Plane) -> None:
    metadata = (("authorization", "Bearer open sesame"),)
    async with watched.channel() as channel, watched.connected():
        call = channel.stream_stream(f"{CSDS}StreamClientStatus")(metadata=metadata)
        for _ in range(2):
            await call.write(b"")
            answer = ClientStatusResponse.FromString(await call.read())
            assert [config.node.id for config in answer.config] == [PROXY]
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.OK


async def test_workloads_are_refused(watched: Plane) -> None:
    reason = "client status is for operators, and spiffe://mesh/ns/shop/sa/buyer is a workload"
    assert await refusal(watched, token="buyer") == ("PERMISSION_DENIED", reason)


@pytest.mark.parametrize("token", [None, "open"])
async def test_strangers_are_refused(watched: Plane, token: str | None) -> None:
    expected = ("UNAUTHENTICATED", "the bearer token is not that of an operator")
    assert await refusal(watched, token=token) == expected


async def test_without_operators_nobody_is_one(plane: Plane) -> None:
    assert await refusal(plane, token="open sesame") == (
        "PERMISSION_DENIED",
        "client status is not served: no operator is set",
    )


async def test_an_operator_is_no_workload(watched: Plane) -> None:
    async with watched.client(token="open sesame") as client:
        await client.send(node=PROXY)
        assert (await client.ending())[0] == "UNAUTHENTICATED"
    watched.tokens.credentials["root"] = Credential("root", operator=True)
    async with watched.client(token="root") as client:
        await client.send(node=PROXY)
        assert await client.ending() == ("PERMISSION_DENIED", "an operator is not a workload")


async def test_too_much_is_refused_with_a_way_out(watched: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xds.csds, "LARGEST_ANSWER", 2 << 20)
    watched.put(*(cluster(f"c{number}", "x" * 3000) for number in range(1000)))
    async with watched.connected():
        code, reason = await refusal(watched)
        assert code == "RESOURCE_EXHAUSTED"
        assert "2 MiB: ask with node_matchers, or with exclude_resource_contents" in reason
        (config,) = (await ask(watched, exclude_resource_contents=True)).config
        assert len(config.generic_xds_configs) == 1002


async def test_an_independent_decoder_reads_it(watched: Plane) -> None:
    decoder = pytest.importorskip("envoy_data_plane.envoy.service.status.v3")
    async with watched.connected():
        answer = decoder.ClientStatusResponse.parse((await ask(watched)).SerializeToString())
    (config,) = answer.config
    assert config.node.id == PROXY
    assert [each.name for each in config.generic_xds_configs] == ["a", "b"]
    assert {each.config_status.name for each in config.generic_xds_configs} == {"SYNCED"}
