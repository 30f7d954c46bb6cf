"""Keeps what is in the memory of a process that holds keys from being written down or looked at."""

from __future__ import annotations

import ctypes
import os
import resource

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def keep_memory_private() -> None:
    """No core dumps, of this process and those it starts, and nobody but root may attach to this one or read
    /proc/PID/mem and /proc/PID/environ. Raises OSError where the kernel does not allow it.

    Both are needed: a kernel that pipes core dumps into a program does not look at the limit, and what is not dumpable
    becomes so again in a child that executes another program.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
