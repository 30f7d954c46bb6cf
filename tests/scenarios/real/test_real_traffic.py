"""Real sidecars behind real redirects do with the calls of a scenario what the simulator says."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import socket
import subprocess
import sys
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import pytest

from deploy.demo.private_network import NETWORK
from deploy.demo.waiting import eventually
from smi.index import MeshIndex
from smi.model import WorkloadKey
from tests.envoy.transparent.conftest import OpenScene
from tests.envoy.transparent.scene import Scene
from tests.scenarios.real.caller import Ending, Run, ending
from tests.scenarios.scenario import FOLDER, SCENARIOS, Scenario, load
from tests.simulator import Call, Connection, Kind, Outcome, World
from tests.simulator.clusters import Place

pytestmark = [pytest.mark.envoy, pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

APPLICATION = Path(__file__).with_name("application.py")
IN_EVERY_RUN = {"ab-test", "tcp-split", "targets-do-not-leak", "mtls-permissive"}
"""The others are slow, all together."""
SIGMAS = 5


def runs_here(name: str) -> bool:
    """Whether the workloads of a scenario are on the private network."""
    workloads = load(name).reading.mesh.objects.workloads.values()
    return all(ipaddress.ip_address(each.address) in NETWORK for each in workloads)


NAMES = [
    pytest.param(name, marks=() if name in IN_EVERY_RUN else pytest.mark.slow) for name in SCENARIOS if runs_here(name)
]


@pytest.mark.parametrize("name", NAMES)
async def test_real_sidecars_do_the_same(open_scene: OpenScene, name: str) -> None:
    scenario = load(name)
    world = World.of(scenario.reading.configuration, scenario.reading.mesh)
    tried, wrong = 0, []
    async with open_scene({"mesh.yaml": (FOLDER / name / "mesh.yaml").read_text()}) as scene:
        await opened(scene, scenario, world)
        for expected in scenario.calls:
            outcome = asked_of(world, expected.asked)
            places = called(world, scenario, expected.asked)
            if not places or expected.asked.own_tls or Kind.PASSTHROUGH in outcome.shares:
                continue
            tried += 1
            likely = endings(outcome, expected.asked)
            found = await asyncio.to_thread(real, scene, expected.asked, places, 10 if len(likely) == 1 else 300)
            wrong += [f"{expected.text}: {text}" for text in differences(likely, found)]
    without_bridge()
    assert tried or name == "egress", "nothing was tried"
    assert not wrong, "\n".join(wrong)


def without_bridge() -> None:
    """The network is the module's, and the next mesh makes a bridge of its own."""
    subprocess.run(["ip", "link", "delete", "tulle0"], check=True)


async def opened(scene: Scene, scenario: Scenario, world: World) -> None:
    """Start everybody, and wait until all have what they should."""
    objects = scenario.reading.mesh.objects
    ports = ports_of(objects, scenario, world)
    for key in objects.workloads:
        workload = "/".join(key)
        await scene.add_host(workload)
        if ports[WorkloadKey(*key)]:
            listened = sorted(ports[WorkloadKey(*key)])
            await scene.mesh.start_application(workload, [sys.executable, APPLICATION, workload, *map(str, listened)])
    for key, listened in ports.items():
        host = scene[f"{key.namespace}/{key.name}"]

        async def listening(host=host, listened=listened) -> bool:
            return not any(host.refuses(host.address, port) for port in listened)

        await eventually(listening, f"the application of {key} to listen")
    await scene.add_sidecars(*map(str, scenario.reading.configuration.views))
    await scene.settled()


def ports_of(objects: MeshIndex, scenario: Scenario, world: World) -> dict[WorkloadKey, set[int]]:
    """Where applications listen: at the target ports of their Services, and at ports that are called directly."""
    places = {(each.asked.address, each.asked.port) for each in scenario.calls if each.asked.address}
    for (namespace, name), service in objects.services.items():
        for port in service.ports:
            if not service.external_name:
                asked = Connection(source=None, service=f"{namespace}/{name}", port=port.port)
                places.update(world.places.behind(asked))
    found: dict[WorkloadKey, set[int]] = defaultdict(set)
    for address, number in places:
        for key in world.places.at(address):
            found[key].add(number)
    return found


def called(world: World, scenario: Scenario, asked: Connection) -> list[Place]:
    """The addresses that the client calls, in turn."""
    has_sidecar = asked.source in scenario.reading.configuration.views
    return world.places.named(asked) if has_sidecar else world.places.behind(asked)


def asked_of(world: World, asked: Connection) -> Outcome:
    return world.call(asked) if isinstance(asked, Call) else world.connect(asked)


def endings(outcome: Outcome, asked: Connection) -> dict[Ending, Fraction]:
    """What the client should see, and how often."""
    found: dict[Ending, Fraction] = defaultdict(Fraction)
    for each in outcome.reached:
        who = str(each.workload) if each.kind is Kind.ALLOWED else ""
        found[each.end.status if isinstance(asked, Call) else 0, who] += each.share
    return found


def real(scene: Scene, asked: Connection, places: list[Place], calls: int) -> Counter[Ending]:
    """What the client does see."""
    run: Run = here if asked.source is None else scene[str(asked.source)].namespace.run
    return Counter(ending(asked, places[number % len(places)], run) for number in range(calls))


def here(function: Run, *arguments: object) -> socket.socket:
    """Somebody outside of the mesh is between the hosts, where this process is."""
    return function(*arguments)


def differences(likely: dict[Ending, Fraction], found: Counter[Ending]) -> list[str]:
    total, wrong = found.total(), []
    for each in likely.keys() | found.keys():
        share = float(likely.get(each, 0))
        if abs(found[each] - total * share) > SIGMAS * math.sqrt(total * share * (1 - share)):
            wrong.append(f"{each}: {found[each]} of {total} in place of {share:.0%}")
    return wrong
