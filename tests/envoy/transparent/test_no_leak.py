"""Nothing leaves in plaintext while a sidecar starts, ends, or dies.

A trap has the service's virtual address on the machine between the hosts, as a node that routes service addresses
would: what leaves a client without passing its Envoy ends there, and is read there.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from deploy.demo.waiting import eventually
from tests.envoy.transparent import shop
from tests.envoy.transparent.conftest import OpenScene
from tests.envoy.transparent.host import Host
from tests.envoy.transparent.scene import Scene
from tests.envoy.transparent.shop import CLIENT, V1, VIRTUAL

pytestmark = [pytest.mark.envoy, pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

FILLERS = 10
"""Other services, so that a sidecar takes a while to know all."""
REQUEST = b"GET /public/%s HTTP/1.1\r\nhost: server\r\n\r\n"
ANSWERED, LEAKED, REFUSED, CUT = "HTTP/1.1 200 OK", "leaked", "refused", "cut"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(open_scene: OpenScene) -> AsyncIterator[Scene]:
    fillers = [shop.service(f"aa-{n}", f"10.96.7.{n + 1}", "{app: server}") for n in range(FILLERS)]
    services = "---".join([shop.SERVICES, *fillers])
    files = {"workloads.yaml": shop.WORKLOADS, "services.yaml": services, "access.yaml": shop.ACCESS}
    async with open_scene(files) as scene:
        await scene.add_application(V1, *shop.ANSWERED_PORTS)
        await scene.add_host(CLIENT)
        await scene.add_sidecars(V1)
        with trap(scene):
            yield scene


class Calling:
    """Calls the service again and again, each time on a new connection, and remembers what became of it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self.outcomes: list[str] = []

    def __enter__(self) -> Calling:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    async def becomes(self, outcome: str) -> None:
        """Wait until the present calls have this outcome."""
        start = len(self.outcomes)

        async def is_so() -> bool:
            return outcome in self.outcomes[start:]

        await eventually(is_so, f"calls to be {outcome}, last {self.outcomes[-3:]}", within=30)

    def _loop(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            self.outcomes.append(self._call(b"%d" % number))
            time.sleep(0.002)

    def _call(self, number: bytes) -> str:
        try:
            with self._host.dial(VIRTUAL, 80) as connection:
                connection.sendall(REQUEST % number)
                answer = connection.recv(100)
        except ConnectionRefusedError:
            return REFUSED
        except (ConnectionError, TimeoutError):
            # A connection that is open when the redirect is set may be taken halfway, and hear nothing more.
            return CUT
        return answer.partition(b"\r\n")[0].decode() or CUT


@contextlib.contextmanager
def trap(scene: Scene) -> Iterator[None]:
    """Answers on the service's virtual address in place of the mesh."""
    scene.bridge("ip", "address", "add", f"{VIRTUAL}/32", "dev", "lo")
    with socket.create_server((VIRTUAL, 80)) as server:
        thread = threading.Thread(target=_spring, args=(server,))
        thread.start()
        yield
        server.shutdown(socket.SHUT_RDWR)  # wakes accept()
        thread.join()


def _spring(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            # A redirect that comes between takes the rest of the connection away, its end too.
            connection.settimeout(1)
            connection.recv(1000)
            connection.sendall(LEAKED.encode())


def phases(outcomes: list[str]) -> list[str]:
    """The outcomes without repetitions; calls that were refused and calls that were cut are one: they failed."""
    told = ("failed" if each in (REFUSED, CUT) else each for each in outcomes)
    return [outcome for outcome, _ in itertools.groupby(told)]


def to_the_server_in_plaintext(scene: Scene) -> int:
    packets = scene.wire.packets(scene[CLIENT])
    return sum(b"GET /public/" in each.payload for each in packets if each.destination[0] == scene[V1].address)


async def test_nothing_leaks_while_a_sidecar_starts_and_ends(scene: Scene) -> None:
    for how in (signal.SIGTERM, signal.SIGINT):
        with Calling(scene[CLIENT]) as calling:
            await calling.becomes(LEAKED)
            # Calls never cease here, so draining waits as long as it may.
            await scene.mesh.start_sidecar(CLIENT, "--drain-seconds", "0.5")
            await calling.becomes(ANSWERED)
            sidecar = scene.mesh.sidecars.pop(CLIENT).managed
            sidecar.stopping = True
            sidecar.process.send_signal(how)
            await sidecar.process.wait()
            await calling.becomes(LEAKED)
        # Only where there is no sidecar, before and after, is there no mesh.
        assert phases(calling.outcomes) == [LEAKED, "failed", ANSWERED, "failed", LEAKED]
    assert to_the_server_in_plaintext(scene) == 0


async def test_nothing_leaks_after_kill_9(scene: Scene) -> None:
    with Calling(scene[CLIENT]) as calling:
        await calling.becomes(LEAKED)
        await scene.add_sidecars(CLIENT)
        await calling.becomes(ANSWERED)
        await scene.mesh.processes.kill(scene.mesh.sidecars.pop(CLIENT).managed)
        await calling.becomes(REFUSED)
        await scene.add_sidecars(CLIENT)
        await calling.becomes(ANSWERED)
    assert phases(calling.outcomes) == [LEAKED, "failed", ANSWERED, "failed", ANSWERED]
    assert to_the_server_in_plaintext(scene) == 0
    assert await scene.mesh.nacks() == 0
