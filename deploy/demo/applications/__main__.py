"""`python -m deploy.demo.applications NAME --listen HOST:PORT [--upstream URL]`: runs one of them."""

from __future__ import annotations

import click
from aiohttp import web

from deploy.demo.applications import LISTENING
from deploy.demo.applications.clients import Client
from deploy.demo.applications.servers import Bookstore, Bookwarehouse
from deploy.sidecar.cli import HostPort


@click.command()
@click.argument("name", type=click.Choice(["bookstore", "bookwarehouse", "bookbuyer", "bookthief"]))
@click.option("--listen", type=HostPort(), required=True)
@click.option("--upstream", default="", help="URL of what it calls.")
@click.option("--version", default="v1", show_default=True)
def run(name: str, listen: tuple[str, int], upstream: str, version: str) -> None:
    """Run one application of the bookstore until SIGTERM or SIGINT."""
    match name:
        case "bookstore":
            application = Bookstore(version).application(upstream)
        case "bookwarehouse":
            application = Bookwarehouse(version).application()
        case _:
            application = Client(name, upstream, "/buy-a-book").application()

    def announce(_banner: str) -> None:
        print(LISTENING, flush=True)

    host, port = listen
    web.run_app(application, host=host, port=port, print=announce, access_log=None, shutdown_timeout=1)


run()
