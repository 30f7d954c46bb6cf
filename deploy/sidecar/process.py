"""The Envoy child process: its command line, its tie to the launcher's life, its exit code."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

DRAIN_TIME_S = 60
"""How long Envoy lets connections of a replaced listener live (DESIGN section 2); its default is 600 s."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_DESCRIPTORS_PER_CONNECTION = 2
_RESERVED_DESCRIPTORS = 512


def envoy_command(binary: Path, bootstrap: Path, log_level: str, concurrency: int) -> list[str]:
    """The command line. Hot restart is off: it would let two sidecars of one machine meet in shared
    memory.

    Where Envoy is to be talkative, its component `config` is not: with debug it logs every SDS file that it has read,
    with the private key. `tests/envoy/test_leaks.py` looks.
    """
    quiet = ("--component-log-level", "config:info") if log_level in {"trace", "debug"} else ()
    return [
        str(binary),
        *("--config-path", str(bootstrap)),
        *("--drain-time-s", str(DRAIN_TIME_S)),
        *("--log-level", log_level),
        *quiet,
        *("--concurrency", str(concurrency)),
        "--disable-hot-restart",
    ]


async def start_envoy(command: list[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Starts Envoy so that it dies with the calling thread, however that ends. `environment` is added to our own.

    It gets a process group of its own: a Ctrl-C on the terminal reaches the launcher alone, which then ends
    Envoy in order. Call it from the main thread, before other threads exist.
    """
    return await asyncio.create_subprocess_exec(
        *command, process_group=0, preexec_fn=die_with_parent(), env={**os.environ, **environment}
    )


def die_with_parent() -> Callable[[], None]:
    """For `preexec_fn`: ties the child's life to that of the calling thread."""
    libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork: the child may only make system calls
    parent = os.getpid()

    def in_child() -> None:
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
            os._exit(1)

    return in_child


def exit_code(returncode: int) -> int:
    """The shell's convention: the code itself, or 128 + the number of the signal that ended the process."""
    return returncode if returncode >= 0 else 128 - returncode


def raise_descriptor_limit() -> int:
    """Lets this process and its children open as many files as they may; returns that number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connection_limit(descriptors: int, most: int = 50_000) -> int:
    """How many downstream connections `descriptors` allow, each with its upstream connection; never above
    `most`.
    """
    if descriptors == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, (descriptors - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_PER_CONNECTION))
