"""The rotation of the root goes on when, and only when, those that it depends on have acknowledged what it needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from ca.rotation import Phase, Reason
from ca.rotation_request import REQUEST
from ca.secrets import trust_secret
from ca.validation import SvidError, verify_svid
from deploy.configuration import encoded
from deploy.rotation_status import RotationStatus, is_served, read_status
from smi.objects import ForeignDomain
from tests.unit.deploy.conftest import Scene, config, workload
from tests.unit.deploy.rotating import Plane, Proxy, running_plane, until

WEB, API, IDLE = "shop/web", "shop/api", "shop/idle"


@pytest.fixture
def declared(scene: Scene) -> Scene:
    scene.declare(workload("web"), workload("api"))
    return scene


@pytest.fixture
async def plane(tmp_path: Path, declared: Scene) -> AsyncIterator[Plane]:
    async with running_plane(tmp_path / "state", declared) as running:
        await until(lambda: read_status(running.folder) is not None, "a first status")
        yield running


def told(plane: Plane) -> RotationStatus:
    status = read_status(plane.folder)
    assert status is not None
    return status


def waits(plane: Plane) -> dict[Reason, tuple[str, ...]]:
    """What people are told that the rotation waits for."""
    return {wait.reason: wait.proxies for wait in told(plane).waits}


async def waits_for(plane: Plane, phase: Phase, expected: dict[Reason, tuple[str, ...]]) -> None:
    await until(lambda: read_status(plane.folder) is not None, "a first status")
    await until(lambda: (told(plane).phase, waits(plane)) == (phase, expected), f"{phase} {expected}")
    assert plane.state.phase is phase


async def has_begun(plane: Plane) -> None:
    before = plane.state.bundle
    plane.request()
    pushed = lambda: plane.trust.is_present(present_trust(plane))  # noqa: E731
    await until(lambda: plane.state.bundle != before and pushed(), "the rotation to begin")


def present_trust(plane: Plane) -> str:
    """The version of the trust secret without foreign domains."""
    return encoded(trust_secret(plane.state.bundle)).version


async def reissued(plane: Plane) -> None:
    """Until all who are connected were given a certificate of the root that issues."""
    names = list(plane.seen.connected)
    issued = plane.identities.issued
    await until(lambda: {(issued(name) or pytest.fail(name)).root for name in names} == {plane.state.issuing_root})


def roots_of(proxy: Proxy) -> int:
    """How many roots of the own domain a proxy trusts."""
    return proxy.holds["trust"].SerializeToString().count(b"BEGIN CERTIFICATE")


def chain_of(proxy: Proxy) -> bytes:
    return proxy.holds["identity"].tls_certificate.certificate_chain.inline_bytes


async def test_each_step_waits_for_every_proxy(plane: Plane) -> None:
    web, api = await plane.proxy(WEB), await plane.proxy(API)
    old_root, old_chain = plane.state.issuing_root, chain_of(web)
    bundle = plane.folder / "join" / "shop" / "web" / "bundle.pem"
    await has_begun(plane)
    await waits_for(plane, Phase.PREPARED, {Reason.BUNDLE: (API, WEB)})
    web.answer()
    assert roots_of(web) == 2
    assert bundle.read_bytes().count(b"BEGIN") == 2
    await waits_for(plane, Phase.PREPARED, {Reason.BUNDLE: (API,)})
    assert plane.state.issuing_root == old_root

    api.answer()
    await waits_for(plane, Phase.ACTIVATED, {Reason.IDENTITY: (API, WEB)})
    await reissued(plane)
    api.answer()
    await waits_for(plane, Phase.ACTIVATED, {Reason.IDENTITY: (WEB,)})
    verify_svid(chain_of(api), plane.state.bundle, datetime.now(UTC))
    verify_svid(old_chain, plane.state.bundle, datetime.now(UTC))

    web.answer()
    await until(lambda: plane.state.phase is Phase.STABLE)
    assert plane.state.issuing_root != old_root
    with pytest.raises(SvidError):
        verify_svid(old_chain, plane.state.bundle, datetime.now(UTC))
    await until(lambda: told(plane).phase is Phase.STABLE and bundle.read_bytes().count(b"BEGIN") == 1)
    for proxy in (web, api):
        proxy.answer()
        assert roots_of(proxy) == 1
        verify_svid(chain_of(proxy), plane.state.bundle, datetime.now(UTC))


async def test_a_proxy_that_rejects_holds_it_up_by_name(plane: Plane) -> None:
    web, api = await plane.proxy(WEB), await plane.proxy(API)
    await has_begun(plane)
    api.answer()
    web.answer(reject=True)
    await waits_for(plane, Phase.PREPARED, {Reason.BUNDLE: (WEB,)})
    web.answer()  # what it rejected is held back: nothing new to accept
    await waits_for(plane, Phase.PREPARED, {Reason.BUNDLE: (WEB,)})


async def test_a_proxy_without_peers_holds_nothing_up(plane: Plane, declared: Scene) -> None:
    """It asks for no secret. That is known when it has accepted what would name one, and not before."""
    declared.declare(workload("idle"))
    idle = Proxy(plane, IDLE)
    await idle.connect()
    await has_begun(plane)
    await waits_for(plane, Phase.PREPARED, {Reason.BUNDLE: (IDLE,)})
    idle.answer()
    await until(lambda: plane.state.phase is Phase.STABLE)


async def test_every_stream_of_a_proxy_counts(plane: Plane) -> None:
    """After a hot restart two Envoys serve under one name."""
    older, newer = await plane.proxy(WEB), await plane.proxy(WEB)
    await plane.proxy(API, "trust")
    for proxy in (older, newer):
        proxy.answer()
    await has_begun(plane)
    for proxy in plane.connected[1:]:
        proxy.answer()
    await waits_for(plane, Phase.PREPARED, {Reason.BUNDLE: (WEB,)})
    older.answer()
    await until(lambda: plane.state.phase is Phase.ACTIVATED)


async def test_who_left_without_a_word_is_waited_for(plane: Plane) -> None:
    """It may run on, and refuse certificates of a root that it does not know."""
    web, api = await plane.proxy(WEB), await plane.proxy(API)
    await web.disconnect()
    await has_begun(plane)
    api.answer()
    await waits_for(plane, Phase.PREPARED, {Reason.ABSENT: (WEB,)})
    back = await plane.proxy(WEB)
    await until(lambda: plane.state.phase is Phase.ACTIVATED)
    await reissued(plane)
    await back.disconnect()
    api.answer()
    # It trusts the new root by now, but may still show its old certificate.
    await waits_for(plane, Phase.ACTIVATED, {Reason.ABSENT: (WEB,)})
    await plane.proxy(WEB)
    await until(lambda: plane.state.phase is Phase.STABLE)


async def test_who_acknowledged_and_left_is_not_waited_for(plane: Plane) -> None:
    web, api = await plane.proxy(WEB), await plane.proxy(API)
    await has_begun(plane)
    web.answer()
    await web.disconnect()
    api.answer()
    await until(lambda: plane.state.phase is Phase.ACTIVATED)


async def test_a_workload_that_is_gone_is_not_waited_for(plane: Plane, declared: Scene) -> None:
    web, api = await plane.proxy(WEB), await plane.proxy(API)
    await web.disconnect()
    await has_begun(plane)
    api.answer()
    await waits_for(plane, Phase.PREPARED, {Reason.ABSENT: (WEB,)})
    declared.withdraw(workload("web"))
    await api.disconnect()
    await plane.proxy(API)  # something happens: the mesh is looked at again
    await until(lambda: plane.state.phase is Phase.ACTIVATED)


async def test_a_latecomer_is_waited_for(plane: Plane, declared: Scene) -> None:
    web = await plane.proxy(WEB)
    await plane.proxy(API, "trust")
    await has_begun(plane)
    declared.declare(workload("late"))
    late = Proxy(plane, "shop/late")
    await late.connect("identity", "trust")
    for proxy in (web, *plane.connected[1:]):
        proxy.answer()
    await waits_for(plane, Phase.PREPARED, {Reason.BUNDLE: ("shop/late",)})
    late.answer()
    await until(lambda: plane.state.phase is not Phase.PREPARED)


@pytest.mark.parametrize("phase", [Phase.PREPARED, Phase.ACTIVATED])
async def test_a_start_in_the_middle_goes_on(tmp_path: Path, declared: Scene, phase: Phase) -> None:
    folder = tmp_path / "state"
    async with running_plane(folder, declared) as plane:
        web, api = await plane.proxy(WEB), await plane.proxy(API)
        await has_begun(plane)
        if phase is Phase.ACTIVATED:
            web.answer()
            api.answer()
        await until(lambda: plane.state.phase is phase)
        for proxy in (web, api):
            await proxy.disconnect()
    assert not is_served(folder)
    fresh = Scene()
    fresh.declare(workload("web"), workload("api"))
    async with running_plane(folder, fresh) as plane:
        # Nobody is connected, and all of them may hold certificates of the old root.
        await waits_for(plane, phase, {Reason.ABSENT: (API, WEB)})
        await plane.proxy(WEB)
        await waits_for(plane, phase, {Reason.ABSENT: (API,)})
        await plane.proxy(API)
        await until(lambda: plane.state.phase is not phase)
        if phase is Phase.PREPARED:
            await reissued(plane)
            for proxy in plane.connected:
                proxy.answer()
        await until(lambda: plane.state.phase is Phase.STABLE)


async def test_foreign_roots_are_pushed_alone_and_disturb_no_rotation(plane: Plane, declared: Scene) -> None:
    web, api = await plane.proxy(WEB), await plane.proxy(API)
    await has_begun(plane)
    web.answer()
    before = web.holds["identity"]
    foreign = ForeignDomain("west.example", plane.state.bundle.roots[plane.state.trust_domain][:1])
    declared.declare(config(federation=(foreign,)))
    plane.trust.push()
    await waits_for(plane, Phase.PREPARED, {Reason.BUNDLE: (API,)})
    api.answer()
    await until(lambda: plane.state.phase is Phase.ACTIVATED)
    web.answer()
    assert b"west.example" in web.holds["trust"].SerializeToString()
    assert web.holds["identity"] == before or chain_of(web) != before.tls_certificate.certificate_chain.inline_bytes
    declared.declare(config())
    plane.trust.push()
    web.answer()
    assert web.holds["trust"] == trust_secret(plane.state.bundle)


async def test_no_step_before_the_last_one_is_followed(
    plane: Plane, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A join directory that cannot be written: its sidecar would not know the control plane by the new root."""
    web, api = await plane.proxy(WEB), await plane.proxy(API)
    place = plane.folder / "join" / "shop" / "web"
    aside = place.rename(tmp_path / "aside")
    place.touch()
    plane.request()
    await until(lambda: told(plane).problem is not None)
    for proxy in (web, api):
        proxy.answer()
        assert roots_of(proxy) == 1
    assert plane.state.phase is Phase.PREPARED
    assert "cannot go on" in caplog.text
    place.unlink()
    aside.rename(place)
    await waits_for(plane, Phase.PREPARED, {Reason.BUNDLE: (API, WEB)})
    assert told(plane).problem is None


async def test_a_damaged_request_is_told(plane: Plane) -> None:
    path = plane.folder / "ca" / REQUEST
    path.touch(mode=0o600)
    await until(lambda: "damaged" in (told(plane).problem or ""))
    path.unlink()
    await until(lambda: told(plane).problem is None)


async def test_one_rotation_after_the_other(plane: Plane) -> None:
    first = plane.state.issuing_root
    await has_begun(plane)
    await until(lambda: plane.state.phase is Phase.STABLE)
    second = plane.state.issuing_root
    plane.request()
    await until(lambda: plane.state.phase is Phase.STABLE and plane.state.issuing_root not in (first, second))


async def test_trust_is_encoded_as_it_is(plane: Plane) -> None:
    assert plane.trust.is_present(present_trust(plane))
    assert not plane.trust.is_present(None)
    assert not plane.trust.is_present("")


async def test_certificates_of_a_minute(plane: Plane, declared: Scene) -> None:
    declared.declare(config(certificate_lifetime=60.0))
    web = await plane.proxy(WEB)
    leaf = x509.load_pem_x509_certificate(chain_of(web))
    assert 55 <= (leaf.not_valid_after_utc - datetime.now(UTC)).total_seconds() <= 60
    issued = plane.identities.issued(WEB)
    assert issued is not None
    assert plane.identities.ends(datetime.now(UTC)) == {WEB: leaf.not_valid_after_utc}
    await web.disconnect()
    assert plane.identities.issued(WEB) is None
    assert plane.identities.ends(datetime.now(UTC)) == {WEB: issued.ends}
    assert plane.identities.ends(issued.ends) == {}


async def test_a_status_is_read_as_it_was_written(plane: Plane) -> None:
    status = told(plane)
    for each in (status, replace(status, phase=Phase.ACTIVATED, next_root="f" * 32, problem="a disk")):
        assert RotationStatus.from_json(each.to_json()) == each
    for damaged in (b"", b"[]", b"{}", b'{"phase": "stable"}', status.to_json().replace(b"stable", b"unstable", 1)):
        with pytest.raises(ValueError):  # noqa: PT011  # whatever the reason
            RotationStatus.from_json(damaged)
