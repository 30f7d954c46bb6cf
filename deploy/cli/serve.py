"""`tulle serve`: the control plane in the foreground."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import replace
from pathlib import Path

import click

from deploy.control_plane import ControlPlane, ServeError, ServeOptions
from deploy.private_memory import keep_memory_private
from deploy.sidecar.process import raise_descriptor_limit


@click.command(short_help="Serve a directory of objects to sidecars.")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--xds-address", default="127.0.0.1:15010", show_default=True, help="Where sidecars connect to.")
@click.option(
    "--xds-mtls-address",
    metavar="ADDRESS",
    help="Where sidecars connect to once they have a certificate.  [default: the port after that of --xds-address]",
)
@click.option(
    "--stream-tokens/--no-stream-tokens",
    default=True,
    help="Whether a bare Envoy may stay with a token that is good until it expires (`tulle bootstrap`).",
)
@click.option("--debug-address", default="127.0.0.1:15014", show_default=True, help="Where people look.")
@click.option(
    "--debug-token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the bearer token of the debug endpoint and of client status (CSDS); needed off loopback.",
)
@click.option(
    "--state",
    default="state",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Keys and join directories; keep it private, and keep it.",
)
@click.option(
    "--hold-off",
    default=100,
    show_default=True,
    type=click.IntRange(0, 10_000),
    metavar="MILLISECONDS",
    help="How long changes wait at most, and merge, while the one before is still being sent.",
)
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]))
def serve(  # noqa: PLR0913  # a command's options
    *,
    directory: Path,
    xds_address: str,
    xds_mtls_address: str | None,
    stream_tokens: bool,
    debug_address: str,
    debug_token_file: Path | None,
    state: Path,
    hold_off: int,
    log_level: str,
) -> None:
    """Serve the objects of DIRECTORY to Envoy sidecars, and follow every change of its files.

    STATE/join/NAMESPACE/WORKLOAD is written for every workload: what its sidecar needs to join.
    """
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    keep_memory_private()
    raise_descriptor_limit()
    token = _token(debug_token_file) if debug_token_file else None
    options = ServeOptions(directory, xds_address, debug_address, state, token, hold_off / 1000)
    options = replace(options, xds_mtls_address=xds_mtls_address, stream_tokens=stream_tokens)
    try:
        asyncio.run(_run(options))
    except ServeError as error:
        raise click.ClickException(str(error)) from None


def _token(path: Path) -> str:
    """The token in the file `path`. An empty one would let everybody in."""
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token:
        raise click.ClickException(f"{path} holds no token: it must be a readable text file with one")
    return token


async def _run(options: ServeOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await ControlPlane(options).run(stop)
