"""What the tests of transparent mode share: a network of their own, and scenes in it."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from deploy.demo.local_mesh import LocalMesh
from tests.envoy.network_namespace import enter, missing_requirement
from tests.envoy.transparent.scene import Scene
from tests.envoy.transparent.wire import Wire

_CLONE_NEWNET = 0x40000000  # linux/sched.h

OpenScene = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Scene]]


@pytest.fixture(scope="module", autouse=True)
def private_network() -> Iterator[None]:
    """The main thread, and so each process that it starts, in a network namespace of its own for a while."""
    missing = missing_requirement()
    if missing is not None:
        pytest.skip(missing)
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        assert libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            with pytest.MonkeyPatch.context() as patch:
                # What `deploy.demo.private_namespaces` says to its own: the machine's network cannot be touched here.
                patch.setenv("TULLE_PRIVATE_NAMESPACES", "root")
                yield
        finally:
            enter(Path(f"/proc/self/fd/{home}"))
    finally:
        os.close(home)


@pytest.fixture(scope="module")
def open_scene(private_network: None, tmp_path_factory: pytest.TempPathFactory) -> OpenScene:
    """Opens a scene with these files in the served directory; hosts, applications, and sidecars come one by one."""

    @asynccontextmanager
    async def opened(files: Mapping[str, str]) -> AsyncIterator[Scene]:
        directory = tmp_path_factory.mktemp("objects")
        for name, text in files.items():
            (directory / name).write_text(text)
        mesh = LocalMesh(directory, work_dir=tmp_path_factory.mktemp("work"), transparent=True)
        with ExitStack() as threads:
            async with mesh:
                scene = Scene(mesh, threads.enter_context(Wire()), threads)
                yield scene
            assert not _processes_in(set(scene.namespaces)), "a namespace has outlived its mesh"

    return opened


def _processes_in(namespaces: set[int]) -> list[str]:
    """The processes in network namespaces with these inode numbers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end while we look
            if (process / "ns/net").stat().st_ino in namespaces:
                found.append((process / "comm").read_text())
    return found
