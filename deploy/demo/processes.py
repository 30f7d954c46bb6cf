"""Child processes with a log each, of which none outlives the process that started them, however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.errors import DemoError
from deploy.sidecar.process import die_with_parent

_TAIL_LINES = 20


@dataclass(eq=False, slots=True)
class ManagedProcess:
    """A running child. `stop_with` is the signal that asks it to end; `log` gets its stdout and stderr."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    stop_with: signal.Signals
    stopping: bool = False

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    def failure(self, what: str = "") -> DemoError:
        """What to say when it has ended, or has not done `what` in time: with the last lines that it wrote."""
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        tail = "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"
        reason = what if self.running else f"ended with code {self.process.returncode}"
        return DemoError(f"{self.name} {reason}; the end of what it wrote:\n{tail}")


class Processes:
    """Starts children and ends them all. Start them from the main thread: they die with the starting thread.

    `work_dir` gets their logs, and is where they have their temporary files.
    """

    def __init__(self, work_dir: Path) -> None:
        self._work_dir = work_dir
        self._logs = work_dir / "logs"
        self._children: list[ManagedProcess] = []

    async def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        stop_with: signal.Signals = signal.SIGTERM,
    ) -> ManagedProcess:
        """Start `command`; its output is appended to a log named after it. Raises DemoError if that is impossible.

        It gets a process group of its own, so that a Ctrl-C on the terminal reaches only us, who end all in order.
        """
        # What a child that was killed leaves behind is removed with the rest.
        temporary = self._work_dir / "tmp"
        for directory in (self._logs, temporary):
            directory.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{name.replace('/', '.')}.log"
        try:
            with log.open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, "TMPDIR": str(temporary)},
                    process_group=0,
                    preexec_fn=die_with_parent(),
                )
        except OSError as error:
            raise DemoError(f"{name} cannot be started: {error}") from None
        child = ManagedProcess(name, process, log, stop_with)
        self._children.append(child)
        return child

    async def stop(self, child: ManagedProcess, *, patience: float = 5.0) -> int:
        """Ask `child` to end, and kill it after `patience` seconds; returns its exit code."""
        child.stopping = True
        if child.running:
            child.process.send_signal(child.stop_with)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.process.wait(), patience)
        return await self.kill(child)

    async def kill(self, child: ManagedProcess) -> int:
        """End `child` and its process group at once; returns its exit code."""
        child.stopping = True
        if child.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
        code = await child.process.wait()
        if child in self._children:
            self._children.remove(child)
        return code

    def require_running(self) -> None:
        """Raises DemoError when a child has ended that nobody asked to end."""
        for child in self._children:
            if not child.running and not child.stopping:
                raise child.failure()

    async def close(self) -> None:
        """End all children together."""
        await asyncio.gather(*(self.stop(child) for child in list(self._children)))
