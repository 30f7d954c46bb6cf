"""`tulle serve` whose certificate has a DNS name too, for gRPC's own client, which knows nothing of SPIFFE, and which
makes failing peers wait 0.2 s at most, so that many of them can be tried.

Run as a process of its own, so that attackers and honest clients do not share its event loop:
`python -m tests.server.besieged ARGUMENTS OF TULLE`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ca.authority import Authority
from ca.identity import control_plane_id
from deploy.cli import main
from xds.throttle import Throttle

SERVER_NAME = "besieged"


def _with_a_name(issue: Any) -> Any:
    def named(
        self: Authority, spiffe_id: Any, lifetime: timedelta, now: datetime, dns_names: Sequence[str] = ()
    ) -> Any:
        if spiffe_id == control_plane_id(self.trust_domain):
            dns_names = [*dns_names, SERVER_NAME]
        return issue(self, spiffe_id, lifetime, now, dns_names)

    return named


if __name__ == "__main__":
    Authority.issue = _with_a_name(Authority.issue)  # type: ignore[method-assign]
    Throttle.__init__.__kwdefaults__["longest"] = 0.2
    sys.exit(main())
