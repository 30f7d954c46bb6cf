"""A state directory that cannot be written stops a start with one line, and nothing that runs already."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from deploy.control_plane import ControlPlane, ServeError, ServeOptions

WORKLOAD = """
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: NAME, namespace: shop}
spec: {address: 10.0.0.1}
"""


@pytest.fixture
def options(tmp_path: Path) -> ServeOptions:
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "web.yaml").write_text(WORKLOAD.replace("NAME", "web"))
    return ServeOptions(tmp_path / "mesh", "127.0.0.1:0", "127.0.0.1:0", tmp_path / "state")


async def test_a_start_without_join_directories_is_refused(options: ServeOptions) -> None:
    options.state.mkdir(mode=0o700)
    (options.state / "join").touch()
    with pytest.raises(ServeError, match="join"):
        await ControlPlane(options).run(asyncio.Event())


async def test_a_running_control_plane_outlives_it(options: ServeOptions, caplog: pytest.LogCaptureFixture) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(ControlPlane(options).run(stop))
    web = options.state / "join" / "shop" / "web" / "token"
    async with asyncio.timeout(20):
        while not web.exists() and not running.done():
            await asyncio.sleep(0.02)
        (options.state / "join" / "shop" / "late").touch()  # in the way of a directory
        (options.directory / "late.yaml").write_text(WORKLOAD.replace("NAME", "late"))
        while "cannot write join directories" not in caplog.text and not running.done():
            await asyncio.sleep(0.02)
    assert not running.done()
    stop.set()
    await running
