"""The bootstrap as a value, and as a real Envoy judges it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ca.authority import Authority
from ca.identity import TrustDomain, control_plane_id
from deploy.sidecar.bootstrap import BootstrapSettings, bootstrap, to_json
from deploy.sidecar.envoy import EnvoyBinary
from deploy.sidecar.join import JoinMaterial, write_sds_files

SETTINGS = BootstrapSettings(
    namespace="bookstore",
    workload="v1",
    control_plane=control_plane_id(TrustDomain("test.mesh")),
    xds_host="127.0.0.1",
    xds_port=15010,
    token_file="/run/tulle/token.json",
    trust_file="/run/tulle/trust.json",
    admin_port=15000,
    metrics_port=15090,
)


def as_dict(settings: BootstrapSettings) -> dict[str, Any]:
    return json.loads(to_json(bootstrap(settings)))


def clusters(settings: BootstrapSettings) -> dict[str, dict[str, Any]]:
    return {cluster["name"]: cluster for cluster in as_dict(settings)["static_resources"]["clusters"]}


def test_same_settings_give_same_bytes() -> None:
    assert to_json(bootstrap(SETTINGS)) == to_json(bootstrap(replace(SETTINGS)))


@pytest.mark.parametrize(("account", "expected"), [(None, "bookstore/v1"), ("bookstore-v1", "bookstore/bookstore-v1")])
def test_node(account: str | None, expected: str) -> None:
    node = as_dict(replace(SETTINGS, service_account=account, capture="transparent"))["node"]
    assert node == {"id": "bookstore/v1", "cluster": expected, "metadata": {"tulle": {"capture": "transparent"}}}


def test_configuration_comes_over_delta_ads_and_is_waited_for() -> None:
    dynamic = as_dict(SETTINGS)["dynamic_resources"]
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    assert dynamic["cds_config"] == dynamic["lds_config"] == source
    assert dynamic["ads_config"]["api_type"] == "DELTA_GRPC"
    backoff = dynamic["ads_config"]["grpc_services"][0]["envoy_grpc"]["retry_policy"]["retry_back_off"]
    assert backoff == {"base_interval": "0.200s", "max_interval": "5s"}


def test_control_plane_is_pinned_by_its_spiffe_id() -> None:
    tls = clusters(SETTINGS)["xds"]["transport_socket"]["typed_config"]["common_tls_context"]
    assert tls["combined_validation_context"]["default_validation_context"] == {
        "match_typed_subject_alt_names": [
            {"san_type": "URI", "matcher": {"exact": "spiffe://test.mesh/tulle/control-plane"}}
        ]
    }
    assert tls["combined_validation_context"]["validation_context_sds_secret_config"]["sds_config"] == {
        "path_config_source": {"path": "/run/tulle/trust.json", "watched_directory": {"path": "/run/tulle"}},
        "resource_api_version": "V3",
    }


@pytest.mark.parametrize(
    ("host", "kind"), [("127.0.0.1", "STATIC"), ("::1", "STATIC"), ("tulle.mesh.svc", "STRICT_DNS")]
)
def test_control_plane_by_address_or_name(host: str, kind: str) -> None:
    # STATIC is the zero value of the enumeration, which JSON leaves out.
    assert clusters(replace(SETTINGS, xds_host=host))["xds"].get("type", "STATIC") == kind


def test_only_transparent_upstreams_carry_a_mark() -> None:
    assert "cluster_manager" not in as_dict(SETTINGS)
    marked = as_dict(replace(SETTINGS, mark=0x7411))["cluster_manager"]["upstream_bind_config"]
    (option,) = marked["socket_options"]
    assert (option["level"], option["name"], option["int_value"]) == ("1", "36", str(0x7411))
    assert "source_address" not in marked


def test_admin_is_on_loopback_only() -> None:
    admin = as_dict(replace(SETTINGS, metrics_host="0.0.0.0"))["admin"]
    assert admin["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 15000}


@pytest.mark.envoy
@pytest.mark.parametrize("mark", [None, 0x7411])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_envoy_accepts_it_without_a_warning(
    tmp_path: Path, envoy: EnvoyBinary, authority: Authority, host: str, mark: int | None
) -> None:
    material = JoinMaterial("a-token", authority.bundle.own_pem.decode())
    token, trust = write_sds_files(tmp_path, material)
    settings = replace(SETTINGS, token_file=str(token), trust_file=str(trust), xds_host=host, mark=mark)
    file = tmp_path / "bootstrap.json"
    file.write_text(to_json(bootstrap(settings)))
    command = [envoy.path, "--mode", "validate", "-c", file, "-l", "warn"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
