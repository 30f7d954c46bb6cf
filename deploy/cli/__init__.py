"""The command line: `tulle`. What a person gets wrong ends in one clear line and a non-zero code, never a traceback."""

from __future__ import annotations

import os
import sys

import click

from deploy.cli.explain import explain
from deploy.cli.lint import lint
from deploy.cli.serve import serve
from deploy.cli.translate import translate
from deploy.demo.cli import demo
from deploy.sidecar.cli import print_bootstrap, sidecar


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tulle", message="tulle %(version)s")
def tulle() -> None:
    """A service mesh control plane: SMI objects in, configuration for stock Envoy out."""


for command in (serve, sidecar, print_bootstrap, translate, lint, explain, demo):
    tulle.add_command(command)


def main() -> None:
    """Entry point of the console script."""
    try:
        tulle(standalone_mode=True)
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has seen enough: that is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
