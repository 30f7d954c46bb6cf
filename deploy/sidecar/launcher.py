"""Runs a sidecar in the foreground: from a join directory to a running Envoy, and back to a clean machine.

In: SidecarOptions. Out: the exit code; one line on stderr when the sidecar is ready, and one for each
thing that a person should know. Order: redirect first and last, so that no connection leaves unprotected at
either end; then a certificate for the control plane, and then Envoy.

Ending. SIGTERM and SIGHUP: Envoy is asked to drain (its HTTP answers say `connection: close`, new
connections are still accepted), and is ended when no connection is left, or after `drain_seconds`. SIGINT,
or a second signal: it is ended at once. SIGUSR1 is passed on (Envoy reopens its logs).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ca.identity import TrustDomain, control_plane_id
from deploy.sidecar import admin, redirect
from deploy.sidecar.bootstrap import BootstrapSettings, bootstrap, to_json
from deploy.sidecar.client_certificate import workload_of
from deploy.sidecar.envoy import EnvoyBinary, find_envoy
from deploy.sidecar.errors import SidecarError
from deploy.sidecar.follow import JoinFollower
from deploy.sidecar.join import (
    JoinMaterial,
    bundle_trust_domain,
    client_file,
    read_join_directory,
    replace_file,
    trust_file,
)
from deploy.sidecar.membership import Membership
from deploy.sidecar.ports import SidecarPorts, hold_port, write_ports_file
from deploy.sidecar.process import (
    connection_limit,
    envoy_command,
    exit_code,
    raise_descriptor_limit,
    start_envoy,
)
from deploy.sidecar.stats import environment_labels

_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 5.0
_KILL_AFTER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SidecarOptions:
    """What a person chooses. Ports: 0 picks a free one. `metrics_host` None: loopback, or any address if
    transparent. `xds_port` is where tokens are taken; certificates are taken where the control plane says.

    `ports_file`, if given, gets the chosen ports as JSON once the sidecar is ready, and is removed at the
    end.
    """

    namespace: str
    workload: str
    join: Path
    xds_host: str = "127.0.0.1"
    xds_port: int = 15010
    admin_port: int = 0
    metrics_port: int = 0
    metrics_host: str | None = None
    service_account: str | None = None
    transparent: bool = False
    excluded_inbound_ports: tuple[int, ...] = ()
    excluded_outbound_ports: tuple[int, ...] = ()
    excluded_outbound_cidrs: tuple[str, ...] = ()
    envoy: Path | None = None
    log_level: str = "warn"
    concurrency: int = 2
    drain_seconds: float = 5.0
    ports_file: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.workload}"

    @property
    def mark(self) -> int | None:
        """The SO_MARK of connections that the redirect lets pass, if there is one."""
        return redirect.MARK if self.transparent else None

    @property
    def metrics_address(self) -> str:
        if self.metrics_host is not None:
            return self.metrics_host
        return "0.0.0.0" if self.transparent else "127.0.0.1"


def run(options: SidecarOptions) -> int:
    """Runs the sidecar until it ends; returns Envoy's exit code (128 + n for signal n).

    Blocks, and must be called from the main thread, since it handles signals. Raises SidecarError when it
    cannot start.
    """
    material = read_join_directory(options.join)
    trust_domain = bundle_trust_domain(material.bundle)
    owner = workload_of(material.token)
    if owner not in {None, options.name}:
        raise SidecarError(f"the join directory {options.join} is that of {owner}, not of {options.name}")
    binary = find_envoy(options.envoy)
    if binary.warning:
        _say(f"warning: {binary.warning}")
    return asyncio.run(_run(options, binary, material, trust_domain))


async def _run(options: SidecarOptions, binary: EnvoyBinary, material: JoinMaterial, domain: TrustDomain) -> int:
    signals = _receive_signals()
    with contextlib.ExitStack() as cleanup:
        held = [
            cleanup.enter_context(hold_port("the admin port", "127.0.0.1", options.admin_port)),
            cleanup.enter_context(hold_port("the metrics port", options.metrics_address, options.metrics_port)),
        ]
        ports = SidecarPorts(held[0].getsockname()[1], options.metrics_address, held[1].getsockname()[1])
        runtime = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tulle-sidecar-")))
        if options.ports_file is not None:
            if not options.ports_file.parent.is_dir():
                raise SidecarError(f"the ports file cannot be written: no directory {options.ports_file.parent}")
            options.ports_file.unlink(missing_ok=True)
            cleanup.callback(options.ports_file.unlink, missing_ok=True)
        if options.transparent:
            cleanup.enter_context(_redirected(options, ports))
        control_plane = (options.xds_host, options.xds_port)
        membership = Membership(options.name, options.join, runtime, control_plane, _say, options.mark)
        mtls_port = await _joined(membership, signals)
        if mtls_port is None:
            return 0
        follower = JoinFollower(options.join, runtime, domain, material, _say, membership.looked.set)
        config = _write_configuration(options, runtime, ports, mtls_port, domain)
        process = await start_envoy(
            envoy_command(binary.path, config, options.log_level, options.concurrency),
            environment_labels(options.namespace, options.workload),
        )
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(follower.run()),
                    group.create_task(membership.keep()),
                    group.create_task(_end_on_signal(signals, process, ports.admin, options.drain_seconds)),
                    group.create_task(_announce(options, ports, held)),
                ]
                returncode = await process.wait()
                for task in tasks:
                    task.cancel()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return exit_code(returncode)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _receive_signals() -> asyncio.Queue[signal.Signals]:
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        # Started by nohup, SIGHUP is ignored, and stays so. Not so SIGINT, which shells let background jobs ignore:
        # whoever sends it to a sidecar means it.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, received.put_nowait, number)
    return received


async def _joined(membership: Membership, signals: asyncio.Queue[signal.Signals]) -> int | None:
    """The mTLS port, as soon as there is a certificate for it; None when a signal ended that first."""
    joining = asyncio.create_task(membership.join())
    ending = asyncio.create_task(_ending_signal(signals))
    try:
        await asyncio.wait((joining, ending), return_when=asyncio.FIRST_COMPLETED)
        return joining.result() if joining.done() else None
    finally:
        for task in (joining, ending):
            task.cancel()
        await asyncio.wait((joining, ending))


async def _ending_signal(signals: asyncio.Queue[signal.Signals]) -> None:
    while await signals.get() == signal.SIGUSR1:
        pass


def _write_configuration(
    options: SidecarOptions, runtime: Path, ports: SidecarPorts, mtls_port: int, domain: TrustDomain
) -> Path:
    settings = BootstrapSettings(
        namespace=options.namespace,
        workload=options.workload,
        service_account=options.service_account,
        control_plane=control_plane_id(domain),
        xds_host=options.xds_host,
        xds_port=mtls_port,
        client_file=str(client_file(runtime)),
        trust_file=str(trust_file(runtime)),
        admin_port=ports.admin,
        metrics_host=ports.metrics_host,
        metrics_port=ports.metrics,
        capture="transparent" if options.transparent else "explicit",
        mark=options.mark,
        max_connections=connection_limit(raise_descriptor_limit()),
    )
    path = runtime / "bootstrap.json"
    replace_file(path, to_json(bootstrap(settings)))
    return path


@contextlib.contextmanager
def _redirected(options: SidecarOptions, ports: SidecarPorts) -> Iterator[None]:
    settings = redirect.RedirectSettings(
        excluded_inbound_ports=(ports.metrics, *options.excluded_inbound_ports),
        excluded_outbound_ports=options.excluded_outbound_ports,
        excluded_outbound_cidrs=options.excluded_outbound_cidrs,
        ipv6=redirect.kernel_has_ipv6(),
    )
    redirect.apply(settings)
    try:
        yield
    finally:
        redirect.remove(settings)


async def _announce(options: SidecarOptions, ports: SidecarPorts, held: list[socket.socket]) -> None:
    """Waits until Envoy has its first configuration, then says so and gives up the held ports."""
    name = f"sidecar {options.name}"
    loop = asyncio.get_running_loop()
    complain_at: float | None = loop.time() + _PATIENCE_SECONDS
    while not await admin.is_ready(ports.admin):
        if complain_at is not None and loop.time() > complain_at:
            _say(f"{name} still waits for its configuration from {options.xds_host}:{options.xds_port}")
            complain_at = None
        await asyncio.sleep(_POLL_SECONDS)
    for port in held:
        port.close()
    if options.ports_file is not None:
        write_ports_file(options.ports_file, ports)
    _say(f"{name} ready: admin {ports.admin_url} metrics {ports.metrics_url}")


async def _end_on_signal(
    signals: asyncio.Queue[signal.Signals],
    process: asyncio.subprocess.Process,
    admin_port: int,
    drain_seconds: float,
) -> None:
    """Ends Envoy in the way that the signals ask for; runs until cancelled."""
    number = await signals.get()
    while number == signal.SIGUSR1:
        process.send_signal(number)
        number = await signals.get()
    if number != signal.SIGINT:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await _drained_or_impatient(signals, admin_port)
    process.terminate()
    await asyncio.sleep(_KILL_AFTER_SECONDS)
    process.kill()


async def _drained_or_impatient(signals: asyncio.Queue[signal.Signals], admin_port: int) -> None:
    """Returns when no connection is left, when Envoy does not answer, or when another signal arrives."""
    await admin.begin_drain(admin_port)
    while await admin.open_connections(admin_port):
        if not signals.empty():
            return
        await asyncio.sleep(_POLL_SECONDS)
