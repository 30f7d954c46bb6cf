"""What every test with real Envoys has in common; meshes themselves are started by `running_mesh`."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_rejected(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test with a fixture called `mesh` (a LocalMesh) ends without a configuration that an Envoy has rejected."""
    mesh = request.getfixturevalue("mesh") if "mesh" in request.fixturenames else None
    yield
    if mesh is not None:
        with urllib.request.urlopen(f"http://{mesh.debug_address}/debug/proxies", timeout=10) as answer:
            rejections = {each["proxy"]: each["last_nack"] for each in json.load(answer) if each.get("nacks")}
        assert not rejections
