"""Reading a join directory, and the SDS files made from it."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ca.authority import Authority
from ca.identity import SpiffeId, TrustDomain
from deploy.sidecar.join import (
    JoinError,
    JoinMaterial,
    bundle_trust_domain,
    read_join_directory,
    replace_file,
    write_sds_files,
)
from tests.unit.sidecar.control_plane import TRUST_DOMAIN, new_authority


def test_reads_what_the_control_plane_wrote(join: Path, authority: Authority) -> None:
    material = read_join_directory(join)
    assert material == JoinMaterial("token-1", authority.bundle.own_pem.decode())
    assert "token-1" not in repr(material)


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(JoinError, match="is `tulle serve` running with this workload"):
        read_join_directory(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["token", "bundle.pem"])
def test_missing_file(join: Path, name: str) -> None:
    (join / name).unlink()
    with pytest.raises(JoinError, match=rf"{name} is missing: is `tulle serve` running"):
        read_join_directory(join)


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"two\nlines", b"\xff"])
def test_what_is_no_token(join: Path, content: bytes) -> None:
    (join / "token").write_bytes(content)
    with pytest.raises(JoinError, match="token"):
        read_join_directory(join)


def test_trust_domain_is_that_of_the_roots(authority: Authority) -> None:
    both = authority.bundle.own_pem + new_authority().bundle.own_pem  # as during a rotation
    assert bundle_trust_domain(both.decode()) == TRUST_DOMAIN


def test_trust_domain_must_be_clear(authority: Authority) -> None:
    other = new_authority(TrustDomain("other.mesh")).bundle.own_pem
    with pytest.raises(JoinError, match=r"exactly one trust domain, found: other\.mesh, test\.mesh"):
        bundle_trust_domain((authority.bundle.own_pem + other).decode())
    with pytest.raises(JoinError, match="cannot be read"):
        bundle_trust_domain("nothing")


def test_leaf_of_the_same_domain_does_not_confuse(authority: Authority) -> None:
    leaf = authority.issue(SpiffeId(TRUST_DOMAIN, "/ns/a/sa/b"), timedelta(hours=1), datetime.now(UTC))
    assert bundle_trust_domain(leaf.certificate_chain_pem.decode()) == TRUST_DOMAIN


def test_sds_files_are_private_and_left_alone_when_equal(tmp_path: Path) -> None:
    token, trust = write_sds_files(tmp_path, JoinMaterial("t", "PEM\n"))
    assert json.loads(token.read_text())["resources"][0]["generic_secret"] == {"secret": {"inline_string": "t"}}
    assert stat.S_IMODE(token.stat().st_mode) == stat.S_IMODE(trust.stat().st_mode) == 0o600
    before = token.stat().st_ino, trust.stat().st_ino
    write_sds_files(tmp_path, JoinMaterial("t2", "PEM\n"))
    assert token.stat().st_ino != before[0]
    assert trust.stat().st_ino == before[1]


def test_replacing_leaves_no_half_file_behind(tmp_path: Path) -> None:
    (tmp_path / ".x.new").write_text("left over by a crash, and longer than what comes")
    replace_file(tmp_path / "x", "short")
    assert [file.name for file in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "short"
