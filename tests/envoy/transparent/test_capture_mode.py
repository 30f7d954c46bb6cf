"""A sidecar that runs in another mode than its workload is declared for gets nothing, and the log says why."""

from __future__ import annotations

import signal
import sys

import pytest

from deploy.demo.processes import ManagedProcess
from deploy.demo.waiting import eventually
from tests.envoy.transparent.conftest import OpenScene
from tests.envoy.transparent.scene import Scene

pytestmark = [pytest.mark.envoy, pytest.mark.root]

WORKLOADS = """
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: explicit-0, namespace: shop}
spec: {address: 10.99.1.1, capture: explicit}
---
apiVersion: tulle.dev/v1alpha1
kind: Workload
metadata: {name: transparent-0, namespace: shop}
spec: {address: 10.99.1.2, capture: transparent}
"""


async def sidecar(scene: Scene, workload: str, *arguments: str) -> ManagedProcess:
    """A sidecar that is not waited for."""
    await scene.add_host(workload)
    join = scene.mesh.state / "join" / workload
    command = [*scene.mesh.inside(workload), sys.executable, "-m", "deploy.cli", "sidecar", workload, "--join", join]
    command += ["--xds-address", scene.mesh.xds_address, *arguments]
    return await scene.mesh.processes.start(f"{workload}-sidecar", command, stop_with=signal.SIGINT)


async def test_the_wrong_mode_is_refused(open_scene: OpenScene) -> None:
    async with open_scene({"workloads.yaml": WORKLOADS}) as scene:
        log = scene.mesh.work_dir / "logs" / "control-plane.log"
        started = [
            await sidecar(scene, "shop/explicit-0", "--transparent"),
            await sidecar(scene, "shop/transparent-0"),
        ]
        for name, runs, declared in (
            ("explicit-0", "transparent", "explicit"),
            ("transparent-0", "explicit", "transparent"),
        ):
            reason = f"the sidecar of shop/{name} runs in {runs} mode, and is declared {declared}"

            async def told(reason: str = reason) -> bool:
                return reason in log.read_text()

            await eventually(told, f"the control plane to say: {reason}", within=30)
        assert {each["connected"] for each in await scene.mesh.debug("/debug/proxies")} == {None}
        # Neither may hang: both end in order, and the redirect goes with them.
        for process in started:
            assert await scene.mesh.processes.stop(process) == 0
        assert scene["shop/explicit-0"].namespace.shell("nft", "list", "ruleset") == ""
