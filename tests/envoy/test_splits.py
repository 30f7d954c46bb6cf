"""TrafficSplits divide real traffic by their weights: HTTP by requests, TCP by connections."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.demo.waiting import eventually
from tests.envoy.http_wire import ask
from tests.envoy.running_mesh import RunningMesh
from tests.envoy.store_mesh import http_versions, only, split, store_mesh, tcp_versions

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

REQUESTS, CONNECTIONS = 2000, 400
SIGMAS = 5

ROOT_AS_BACKEND = """
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: store, namespace: store}
spec:
  service: store
  backends:
    - {service: store, weight: 3}
    - {service: store-v2, weight: 1}
"""

CANARY = """
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: canary, namespace: store}
spec:
  matches:
    - {name: testers, headers: {x-tester: ^yes$$}}
    - {name: new-pages, pathRegex: /new/.*, methods: [GET]}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: store-canary, namespace: store}
spec:
  service: store
  matches:
    - {kind: HTTPRouteGroup, name: canary}
  backends:
    - {service: store-v1, weight: 1}
    - {service: store-v2, weight: 9}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningMesh]:
    async with store_mesh(tmp_path_factory.mktemp("splits")) as running:
        yield running


async def in_force(mesh: RunningMesh, text: str) -> None:
    """Make `text` the split of the store. Before it everything goes to v2, so that an effect can be told."""
    mesh.withdraw("canary.yaml")
    mesh.apply("split.yaml", split(0, 1))
    await eventually(lambda: only(mesh, "v2"), "everything to go to v2")
    mesh.apply("split.yaml", text)

    async def v1_answers() -> bool:
        http, tcp = await http_versions(mesh, 64), await tcp_versions(mesh, 64)
        return http["v1"] > 0 and tcp["v1"] > 0

    await eventually(v1_answers, "v1 to get something")
    await eventually(v1_answers, "v1 to get something, of every worker thread")


def assert_share(found: Counter[str | None], v1: float) -> None:
    """Fails when v1's share of what was found lies further from `v1` than five standard deviations, or if a third
    party answered."""
    total = found.total()
    margin = SIGMAS * math.sqrt(total * v1 * (1 - v1))
    assert found["v1"] + found["v2"] == total
    assert abs(found["v1"] - total * v1) <= margin, f"{found}: expected {total * v1:.0f} +- {margin:.0f} of v1"


@pytest.mark.parametrize(("v1", "v2"), [(90, 10), (50, 50)])
async def test_shares_follow_the_weights(mesh: RunningMesh, v1: int, v2: int) -> None:
    await in_force(mesh, split(v1, v2))
    assert_share(await http_versions(mesh, REQUESTS), v1 / 100)
    assert_share(await tcp_versions(mesh, CONNECTIONS), v1 / 100)


async def test_a_weight_of_nothing_gets_nothing(mesh: RunningMesh) -> None:
    mesh.apply("split.yaml", split(100, 0))
    await eventually(lambda: only(mesh, "v1"), "everything to go to v1")
    mesh.apply("split.yaml", split(0, 100))
    await eventually(lambda: only(mesh, "v2"), "everything to go to v2")
    assert await http_versions(mesh, REQUESTS) == Counter(v2=REQUESTS)
    assert await tcp_versions(mesh, CONNECTIONS) == Counter(v2=CONNECTIONS)


async def test_the_root_may_be_its_own_backend(mesh: RunningMesh) -> None:
    await in_force(mesh, ROOT_AS_BACKEND)
    assert_share(await http_versions(mesh, REQUESTS), 0.75)
    assert_share(await tcp_versions(mesh, CONNECTIONS), 0.75)


async def test_matches_divide_only_what_they_match(mesh: RunningMesh) -> None:
    await in_force(mesh, split(1, 0))
    mesh.apply("canary.yaml", CANARY)

    async def testers_see_v2() -> bool:
        return (await http_versions(mesh, 64, headers={"x-tester": "yes"}))["v2"] > 0

    await eventually(testers_see_v2, "testers to see v2")
    await eventually(testers_see_v2, "testers to see v2, by every worker thread")
    assert_share(await http_versions(mesh, REQUESTS, headers={"x-tester": "yes"}), 0.1)
    assert_share(await http_versions(mesh, REQUESTS // 2, "/new/page?x=1"), 0.1)
    # All others, those that are only nearly right too, and TCP, go where the split without matches sends them.
    for target, headers in (("/", {}), ("/", {"x-tester": "yes, but"}), ("/newer", {}), ("/old/new/page", {})):
        assert await http_versions(mesh, 200, target, headers) == Counter(v1=200)
    posted = Counter([(await ask(mesh.port["store"], "/new/page", "POST")).version for _ in range(40)])
    assert posted == Counter(v1=40)
    assert await tcp_versions(mesh, 80) == Counter(v1=80)


async def test_without_a_split_the_root_serves_itself(mesh: RunningMesh) -> None:
    mesh.withdraw("canary.yaml")
    mesh.apply("split.yaml", split(0, 1))
    await eventually(lambda: only(mesh, "v2"), "everything to go to v2")
    mesh.withdraw("split.yaml")
    await eventually(lambda: only(mesh, "v1"), "the endpoints of the root to get everything")
