"""Namespaces of one's own for a process tree: what happens in them cannot touch the machine, nor stay behind.

When the first process in them ends, however it ends, the kernel removes every process, interface, address, firewall
rule, and mount in them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.sidecar.process import die_with_parent

_INSIDE = "TULLE_PRIVATE_NAMESPACES"
_OUTER_PROC = "TULLE_OUTER_PROC"
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_AGAIN_SECONDS = 0.5
_PACKAGES = {"nft": "nftables", "ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}
_PROBE = """
set -e
ip link add name probe0 type veth peer name probe1
ip link add name probe2 type bridge
nft 'add table ip probe; add chain ip probe output { type nat hook output priority -100; };' \
    'add rule ip probe output meta l4proto tcp redirect to :1'
"""


def tool(name: str) -> str:
    """The path of a program, or just its name. /usr/sbin is not on every user's PATH, yet holds these tools."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") or name


def private_command(command: Sequence[str]) -> list[str]:
    """`command` in network, mount, and process namespaces of its own; as an ordinary user, in a user namespace too."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    private = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [tool("unshare"), *user, *private, *command]


def run_privately(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run `command` in private namespaces, pass SIGINT, SIGTERM, and SIGHUP on to it, and return its exit code.

    It must handle these signals, and more than once. Blocks; call it from the main thread. Should this process be
    killed, everything inside dies with it.
    """
    outer_proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    kind = "root" if os.geteuid() == 0 else "user"
    inherited = {**os.environ, _INSIDE: kind, _OUTER_PROC: str(outer_proc), **(environment or {})}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [*_PASSED_ON, signal.SIGCHLD])
    tie = die_with_parent()

    def in_child() -> None:
        tie()
        # While Python still starts in there, a Ctrl-C would end in a traceback. It is sent again, see below.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    try:
        # In a process group of its own, a Ctrl-C on the terminal reaches only us.
        child = subprocess.Popen(
            private_command(command),
            env=inherited,
            pass_fds=[outer_proc],
            process_group=0,
            preexec_fn=in_child,  # noqa: PLW1509  # there are no other threads yet
        )
        _wait_passing_signals_on(child)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(outer_proc)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _wait_passing_signals_on(child: subprocess.Popen[bytes]) -> None:
    """Waits for `child` with its signals blocked, and sends what it receives to the child's process group.

    It is sent again until the child ends: the first process of a process namespace ignores all signals, SIGKILL
    aside, for which it has no handler yet. `unshare` itself, which is in the group, ignores them.
    """
    wanted = None
    while child.poll() is None:
        received = signal.sigtimedwait([*_PASSED_ON, signal.SIGCHLD], _LOOK_AGAIN_SECONDS)
        if received is not None and received.si_signo != signal.SIGCHLD:
            wanted = received.si_signo
        if wanted is not None and child.poll() is None:
            os.killpg(child.pid, wanted)


def is_inside() -> bool:
    """Whether this process runs in private namespaces made by `run_privately`."""
    return _INSIDE in os.environ


def way_in() -> list[str]:
    """What people outside put before a command to run it in the private namespaces, where this process is."""
    pid = os.readlink("self", dir_fd=int(os.environ[_OUTER_PROC]))
    user = ["--user", "--preserve-credentials"] if os.environ[_INSIDE] == "user" else []
    return ["nsenter", f"--target={pid}", *user, "--net", "--mount", "--pid"]


def what_is_missing() -> str | None:
    """Why this machine cannot have private namespaces with a network in them, and what to do; None if it can."""
    missing = sorted(name for name in _PACKAGES if not Path(tool(name)).is_absolute())
    if missing:
        packages = sorted({_PACKAGES[name] for name in missing})
        return f"`{'`, `'.join(missing)}` not found: install {' '.join(packages)}"
    reason = complaint_of(private_command(["true"]))
    if reason is not None:
        hint = "run it as root" if os.geteuid() else "give this container CAP_SYS_ADMIN"
        return (
            f"this machine allows no namespaces of one's own ({reason}): {hint}, or allow user namespaces "
            "(sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, or AppArmor's restriction of them)"
        )
    reason = complaint_of(private_command(["sh", "-c", _PROBE]))
    return f"this kernel has no veth, bridge, or nftables NAT: {reason}" if reason is not None else None


def complaint_of(command: Sequence[str], script: str | None = None) -> str | None:
    """Runs `command` with `script` as its input. None if it succeeds, else the first line of its complaint."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False, env=environment)
    if done.returncode == 0:
        return None
    return (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
