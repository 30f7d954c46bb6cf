"""Creates one state directory after the other below the given one, naming each before it starts, until killed."""

from __future__ import annotations

import itertools
import sys
from datetime import UTC, datetime
from pathlib import Path

from ca.identity import TrustDomain
from ca.state import load_or_create

for number in itertools.count():
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()
    load_or_create(Path(sys.argv[1]) / str(number), TrustDomain("mesh.test"), datetime(2027, 3, 1, tzinfo=UTC)).close()
