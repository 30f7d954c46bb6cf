"""Certificates of proxies: one key each, renewed in time, gone with the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from ca.rotation import Step
from ca.state import CaState
from deploy.identities import Identities
from deploy.join_directories import JoinDirectories
from deploy.server_certificate import ServerCertificate
from protos.envoy.extensions.transport_sockets.tls import v3_pb2 as tls
from tests.unit.deploy.conftest import Scene, config, workload
from xds.refusal import Refused
from xds.resource import TypeUrl


def identity_of(scene: Scene, proxy: str) -> tls.TlsCertificate | None:
    held = scene.store.record(proxy).lookup(TypeUrl.SECRET, "identity")
    return tls.Secret.FromString(held.body).tls_certificate if held else None


def uri_of(certificate: tls.TlsCertificate) -> list[str]:
    leaf = x509.load_pem_x509_certificate(certificate.certificate_chain.inline_bytes)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


async def test_every_proxy_has_its_own_key_for_its_own_identity(scene: Scene, state: CaState) -> None:
    scene.declare(workload("web"), workload("web-2", service_account="web"))
    identities = Identities(state, scene.store, lambda: scene.live.mesh)
    for proxy in ("shop/web", "shop/web-2"):
        await identities.on_connect(proxy)
    first, second = identity_of(scene, "shop/web"), identity_of(scene, "shop/web-2")
    assert first is not None
    assert second is not None
    assert uri_of(first) == uri_of(second) == ["spiffe://cluster.local/ns/shop/sa/web"]
    assert first.private_key.inline_bytes != second.private_key.inline_bytes


async def test_the_key_goes_with_the_proxy(scene: Scene, state: CaState) -> None:
    scene.declare(workload("web"))
    identities = Identities(state, scene.store, lambda: scene.live.mesh)
    await identities.on_connect("shop/web")
    await identities.on_disconnect("shop/web")
    assert identity_of(scene, "shop/web") is None


async def test_certificates_are_renewed_while_the_proxy_is_connected(scene: Scene, state: CaState) -> None:
    scene.declare(config(certificate_lifetime=3.0), workload("web"))
    identities = Identities(state, scene.store, lambda: scene.live.mesh)
    await identities.on_connect("shop/web")
    before = identity_of(scene, "shop/web")
    running = asyncio.create_task(identities.run())
    try:
        async with asyncio.timeout(10):
            while identity_of(scene, "shop/web") == before:
                await asyncio.sleep(0.02)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def test_join_directories_follow_the_workloads(scene: Scene, state: CaState, tmp_path: Path) -> None:
    joins = JoinDirectories(tmp_path, state)
    scene.declare(workload("web"), workload("plain", sidecar=False))
    joins.update(scene.live.mesh.proxies)
    web = tmp_path / "join" / "shop" / "web"
    assert stat.S_IMODE(web.stat().st_mode) == 0o700
    assert {path.name for path in web.iterdir()} == {"token", "stream-token", "bundle.pem"}
    assert not (tmp_path / "join" / "shop" / "plain").exists()
    token = (web / "token").read_text()
    joins.update(scene.live.mesh.proxies)
    assert (web / "token").read_text() == token, "a fresh token is kept"
    scene.declare(workload("web", service_account="other"))
    joins.update(scene.live.mesh.proxies)
    assert (web / "token").read_text() != token, "another identity needs another token"
    scene.withdraw(workload("web"))
    joins.update(scene.live.mesh.proxies)
    assert not web.exists()


def test_the_control_plane_has_a_certificate_that_no_workload_can_have(state: CaState) -> None:
    certificate = ServerCertificate(state)
    first = certificate._up_to_date()
    assert certificate._up_to_date() is first, "nothing to renew yet"
    certificate.renew()
    assert certificate._up_to_date() is not first


async def test_only_certificates_of_another_root_are_replaced(scene: Scene, state: CaState) -> None:
    scene.declare(workload("web"), workload("api"))
    identities = Identities(state, scene.store, lambda: scene.live.mesh)
    for proxy in ("shop/web", "shop/api"):
        await identities.on_connect(proxy)
    renewed: list[str] = []
    identities.on_renewed = renewed.append
    running = asyncio.create_task(identities.run())
    try:
        identities.reissue()
        state.advance(Step.BEGIN, datetime.now(UTC))
        identities.reissue()
        state.advance(Step.ACTIVATE, datetime.now(UTC))
        await identities.on_connect("shop/web")  # it has come again, and has one of the new root
        identities.reissue()
        async with asyncio.timeout(10):
            while not renewed:
                await asyncio.sleep(0.01)
        assert renewed == ["shop/api"]
        for proxy in ("shop/web", "shop/api"):
            issued = identities.issued(proxy)
            assert issued is not None
            assert issued.root == state.issuing_root
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_it_ends_when_told_though_something_has_just_happened(scene: Scene, state: CaState) -> None:
    scene.declare(workload("web"))
    identities = Identities(state, scene.store, lambda: scene.live.mesh)
    for _ in range(20):
        running = asyncio.create_task(identities.run())
        await asyncio.sleep(0)
        await identities.on_connect("shop/web")
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=5)
        assert done


async def test_what_is_planned_for_proxies_that_come_and_go_is_forgotten(scene: Scene, state: CaState) -> None:
    scene.declare(workload("web"))
    identities = Identities(state, scene.store, lambda: scene.live.mesh)
    for _ in range(1500):
        await identities.on_connect("shop/web")
        await identities.on_disconnect("shop/web")
    assert len(identities._agenda) <= 1100


async def test_without_an_issuer_a_proxy_is_refused_with_a_reason(scene: Scene, state: CaState) -> None:
    scene.declare(workload("web"))
    identities = Identities(state, scene.store, lambda: scene.live.mesh)
    with pytest.raises(Refused, match="is not known"):
        await identities.on_connect("shop/stranger")
    state.close()  # nothing can be noted down any more, so nothing may be issued
    with pytest.raises(Refused, match="cannot issue certificates now"):
        await identities.on_connect("shop/web")
    assert identities.issued("shop/web") is None
