"""Follows the join directory: a renewed trust bundle reaches Envoy without a restart.

In: the join directory and Envoy's runtime directory. Out: `trust.json` replaced by rename whenever the bundle changed,
and a call for each change. What cannot be used (a missing, broken or foreign bundle) is reported once, and the last
good content stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from watchfiles import awatch

from ca.identity import TrustDomain
from deploy.sidecar.join import JoinError, JoinMaterial, bundle_trust_domain, read_join_directory, write_trust_file

_LOOK_AGAIN_MS = 5_000
_RETRY_SECONDS = 1.0


@dataclass(slots=True)
class JoinFollower:
    """`seen` is the material that is in use. `report` gets one line for each new problem; `changed` is called when
    token or bundle are others than before.
    """

    join: Path
    runtime: Path
    domain: TrustDomain
    seen: JoinMaterial
    report: Callable[[str], None]
    changed: Callable[[], None]
    _problem: str | None = field(default=None, init=False)

    async def run(self) -> None:
        """Runs until cancelled.

        Besides waiting for change events it looks every few seconds: a directory that was removed and made anew
        sends none.
        """
        while True:
            try:
                async for _ in awatch(self.join, recursive=False, rust_timeout=_LOOK_AGAIN_MS, yield_on_timeout=True):
                    self._look()
            except FileNotFoundError:
                self._look()
            await asyncio.sleep(_RETRY_SECONDS)

    def _look(self) -> None:
        known, self._problem = self._problem, self._refresh()
        if self._problem is not None and self._problem != known:
            self.report(f"warning: {self._problem}; the sidecar goes on with the trust bundle it has")

    def _refresh(self) -> str | None:
        """Takes what changed; returns what is wrong, if anything."""
        try:
            material = read_join_directory(self.join)
            found = bundle_trust_domain(material.bundle)
        except JoinError as error:
            return str(error)
        if found != self.domain:
            return (
                f"the trust bundle in {self.join} is now of trust domain {found}, no longer {self.domain}:"
                " restart the sidecar"
            )
        if material != self.seen:
            if material.bundle != self.seen.bundle:
                # Not otherwise: an enrolment may have brought newer roots than lie here, where this is a copy.
                write_trust_file(self.runtime, material.bundle)
            self.seen = material
            self.changed()
        return None
