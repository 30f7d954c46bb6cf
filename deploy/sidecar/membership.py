"""Keeps the sidecar a member of the mesh: gets it a client certificate, and the next one in time.

In: the join directory, where the control plane is. Out: `client.json` and `trust.json` in the runtime directory, and
one line for the person for each new problem. The exchange itself is another process (`deploy.sidecar.enrol`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.sidecar.client_certificate import ClientCertificate
from deploy.sidecar.errors import SidecarError
from deploy.sidecar.join import JoinError, JoinMaterial, read_client_file, read_join_directory
from deploy.sidecar.process import die_with_parent

_LONGEST_WAIT = 60.0
"""Seconds between looks at the wall clock: it may be set, and timers may stand still while a machine sleeps."""
_FIRST_RETRY, _LAST_RETRY = 0.5, 10.0
_PATIENCE = 5.0
"""Seconds that the control plane may be away before it is worth a line."""
_PROCESS_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an exchange came to: a certificate and the mTLS port, or a `problem`."""

    mtls_port: int = 0
    problem: str | None = None
    refused: bool = False


class Membership:
    """Of the sidecar `name` (`namespace/workload`). `report` gets lines for the person. `mark` is the SO_MARK that the
    redirect lets pass, where there is one.
    """

    def __init__(
        self,
        name: str,
        join: Path,
        runtime: Path,
        control_plane: tuple[str, int],
        report: Callable[[str], None],
        mark: int | None = None,
    ) -> None:
        self._name = name
        self._join = join
        self._runtime = runtime
        self._host, self._port = control_plane
        self._report = report
        self._mark = mark or 0
        self._mtls_port = 0
        self._held: ClientCertificate | None = None
        self._known: JoinMaterial | None = None
        """What the join directory held at the last exchange. Only news there is a reason for another one: where the
        directory is a copy that nobody renews, it and the certificate may disagree for ever.
        """
        self._renew_at = datetime.now(UTC)
        self.looked = asyncio.Event()
        """To be set when the join directory has changed."""

    async def join(self) -> int:
        """Exchange the join token, as soon as that is possible; returns the mTLS port."""
        await self._until_done("cannot join the mesh")
        return self._mtls_port

    async def keep(self) -> None:
        """Renew until cancelled."""
        first_port = self._mtls_port
        while True:
            await self._until_due()
            await self._until_done("cannot renew its certificate")
            if self._mtls_port != first_port:
                self._report(
                    f"warning: the control plane now takes certificates on port {self._mtls_port}, no longer"
                    f" {first_port}: restart the sidecar"
                )
                first_port = self._mtls_port

    async def _until_due(self) -> None:
        while True:
            now = datetime.now(UTC)
            if now >= self._renew_at:
                return
            reason = self._useless_reason(now)
            if reason is not None:
                self._report(f"sidecar {self._name} enrols anew: {reason}")
                return
            await _set_or_timeout(self.looked, min(_LONGEST_WAIT, (self._renew_at - now).total_seconds()))

    def _useless_reason(self, now: datetime) -> str | None:
        try:
            material = read_join_directory(self._join)
            if self._held is None or material == self._known:
                return None
            return self._held.useless_reason(material, now)
        except JoinError:
            return None  # who follows the directory says so

    async def _until_done(self, complaint: str) -> None:
        """Try until there is a new certificate. A new problem is told once; that nobody answers, after a while."""
        told, retry = "", _FIRST_RETRY
        began = asyncio.get_running_loop().time()
        while True:
            with contextlib.suppress(JoinError):
                self._known = read_join_directory(self._join)
            outcome = await self._try()
            if outcome.problem is None:
                self._take(outcome)
                return
            patient = asyncio.get_running_loop().time() < began + _PATIENCE
            if outcome.problem != told and (outcome.refused or not patient):
                self._report(f"sidecar {self._name} {complaint} at {self._host}:{self._port}: {outcome.problem}")
                told = outcome.problem
            # The next token comes into the join directory, and then there is no reason to wait.
            await _set_or_timeout(self.looked, retry * random.uniform(0.8, 1.2))  # noqa: S311  # spreads load
            retry = min(2 * retry, _LAST_RETRY)

    def _take(self, outcome: Outcome) -> None:
        written = read_client_file(self._runtime)
        if written is None:
            raise SidecarError(f"the client certificate in {self._runtime} is gone")
        self._mtls_port = outcome.mtls_port
        self._held = ClientCertificate(written[0], datetime.now(UTC))
        self._renew_at = self._held.renew_at(random.random())  # noqa: S311  # spreads load, hides nothing

    async def _try(self) -> Outcome:
        self.looked.clear()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.sidecar.enrol", "--name", self._name),
            *("--join", str(self._join.absolute()), "--runtime", str(self._runtime)),
            *("--host", self._host, "--port", str(self._port), "--mtls-port", str(self._mtls_port)),
            *("--mark", str(self._mark)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            process_group=0,
            preexec_fn=die_with_parent(),
        )
        try:
            async with asyncio.timeout(_PROCESS_PATIENCE):
                printed, _ = await process.communicate()
        except TimeoutError:
            return Outcome(problem=f"no answer within {_PROCESS_PATIENCE:g} s")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return _outcome(printed)


def _outcome(printed: bytes) -> Outcome:
    try:
        match json.loads(printed):
            case {"mtls_port": int(port)}:
                return Outcome(mtls_port=port)
            case {"refused": str(reason)}:
                return Outcome(problem=reason, refused=True)
            case {"unreachable": str(reason)}:
                return Outcome(problem=reason)
    except ValueError:
        pass
    return Outcome(problem="the enrolment has failed, see above", refused=True)


async def _set_or_timeout(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.01, seconds)):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
