"""`tulle serve` that makes failing peers wait 0.2 s at most, so that many of them can be tried.

Run as a process of its own, so that attackers and honest clients do not share its event loop:
`python -m tests.server.besieged ARGUMENTS OF TULLE`.
"""

from __future__ import annotations

import sys

from deploy.cli import main
from xds.throttle import Throttle

if __name__ == "__main__":
    Throttle.__init__.__kwdefaults__["longest"] = 0.2
    sys.exit(main())
