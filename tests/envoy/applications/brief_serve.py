"""`tulle serve` whose client certificates live for as many seconds as the first argument says."""

from __future__ import annotations

import argparse
import asyncio
import logging
from datetime import timedelta
from pathlib import Path

from deploy.cli.serve import _run
from deploy.control_plane import ServeOptions


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--state", type=Path)
    for address in ("--xds-address", "--xds-mtls-address", "--debug-address"):
        parser.add_argument(address)
    given = parser.parse_args()
    logging.basicConfig(level="INFO")
    options = ServeOptions(
        given.directory,
        given.xds_address,
        given.debug_address,
        given.state,
        xds_mtls_address=given.xds_mtls_address,
        client_certificate_lifetime=timedelta(seconds=given.seconds),
    )
    asyncio.run(_run(options))


if __name__ == "__main__":
    main()
