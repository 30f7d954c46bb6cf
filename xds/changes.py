"""What changes for all proxies of one view at once, made ready for their streams.

A change may concern a thousand streams, and most of them are in the same state: at rest, subscribed to what changes.
So what each of them would note down is made once, and taken over as a whole.
"""

from __future__ import annotations

from functools import cached_property

from xds.ledger import Pending
from xds.view import Change


class Changes(list[Change]):
    """A sequence of changes; ``owed``: by type and name, what a stream at rest owes its client because of them."""

    @cached_property
    def owed(self) -> dict[str, dict[str, Pending]]:
        owed: dict[str, dict[str, Pending]] = {}
        for change in self:
            owed.setdefault(change.type_url, {})[change.name] = Pending(change.old)
        return owed
