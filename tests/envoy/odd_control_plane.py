"""`python -m tests.envoy.odd_control_plane`: the control plane with one thing of its surroundings changed.

Its wall clock can be wrong, and certificates can be shorter than the product lets people make them, so that a test
sees many renewals. All else is `tulle`, whose arguments follow.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta

import deploy.clock
from deploy.cli import main as tulle
from smi import decode_config


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ahead", type=float, default=0.0, metavar="SECONDS", help="of the wall clock of all others")
    parser.add_argument("--shortest-lifetime", type=float, metavar="SECONDS", help="that MeshConfig may ask for")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    ahead = timedelta(seconds=options.ahead)
    # The command imports what asks for the time, and does so only when it is called.
    deploy.clock.now = lambda: datetime.now(UTC) + ahead
    if options.shortest_lifetime is not None:
        decode_config.MIN_LIFETIME = options.shortest_lifetime
    sys.argv = ["tulle", *options.arguments]
    tulle()


if __name__ == "__main__":
    main()
