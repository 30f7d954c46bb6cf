"""`python -m tests.envoy.odd_control_plane`: the control plane with one thing of its surroundings changed.

Its wall clock can be wrong, and certificates can be shorter than the product lets people make them, so that a test
sees many renewals. All else is `tulle`, whose arguments follow.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta

import deploy.clock


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ahead", type=float, default=0.0, metavar="SECONDS", help="of the wall clock of all others")
    parser.add_argument("--shortest-lifetime", type=float, metavar="SECONDS", help="that MeshConfig may ask for")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    ahead = timedelta(seconds=options.ahead)
    # Before anything is imported that asks for the time.
    deploy.clock.now = lambda: datetime.now(UTC) + ahead
    from deploy.cli.__main__ import main as tulle  # noqa: PLC0415
    from smi import decode_config  # noqa: PLC0415

    if options.shortest_lifetime is not None:
        decode_config.MIN_LIFETIME = options.shortest_lifetime
    sys.argv = ["tulle", *options.arguments]
    tulle()


if __name__ == "__main__":
    main()
