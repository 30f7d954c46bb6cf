"""The command line: `tulle`. What a person gets wrong ends in one clear line and a non-zero code, never a traceback."""

from __future__ import annotations

import importlib
import os
import sys

import click

_COMMANDS = {
    "ca": "deploy.cli.ca:ca",
    "convert": "deploy.cli.convert:convert_file",
    "serve": "deploy.cli.serve:serve",
    "sidecar": "deploy.sidecar.cli:sidecar",
    "bootstrap": "deploy.sidecar.cli:print_bootstrap",
    "translate": "deploy.cli.translate:translate",
    "lint": "deploy.cli.lint:lint",
    "policy": "deploy.cli.policy:policy",
    "explain": "deploy.cli.explain:explain",
    "demo": "deploy.demo.cli:demo",
}


class _Commands(click.Group):
    """Imports a command when it is asked for: a sidecar needs no gRPC server, and starts four times as fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tulle", message="tulle %(version)s")
def tulle() -> None:
    """A service mesh control plane: SMI objects in, configuration for stock Envoy out."""


def main() -> None:
    """Entry point of the console script."""
    try:
        tulle(standalone_mode=True)
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has seen enough: that is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
