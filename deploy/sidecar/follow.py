"""Follows the join directory: a renewed token or trust bundle reaches Envoy without a restart.

In: the join directory and Envoy's runtime directory. Out: SDS files replaced by rename whenever the
content changed. What cannot be used (a missing, broken or foreign bundle) is reported once, and the last
good content stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from watchfiles import awatch

from ca.identity import TrustDomain
from deploy.sidecar.join import JoinError, bundle_trust_domain, read_join_directory, write_sds_files

_LOOK_AGAIN_MS = 5_000
_RETRY_SECONDS = 1.0


async def follow_join_directory(join: Path, runtime: Path, domain: TrustDomain, report: Callable[[str], None]) -> None:
    """Runs until cancelled; `report` gets one line for each new problem.

    Besides waiting for change events it looks every few seconds: a directory that was removed and made anew
    sends none.
    """
    problem = None
    while True:
        try:
            async for _ in awatch(join, recursive=False, rust_timeout=_LOOK_AGAIN_MS, yield_on_timeout=True):
                problem = _refreshed(join, runtime, domain, problem, report)
        except FileNotFoundError:
            problem = _refreshed(join, runtime, domain, problem, report)
        await asyncio.sleep(_RETRY_SECONDS)


def _refreshed(
    join: Path, runtime: Path, domain: TrustDomain, known_problem: str | None, report: Callable[[str], None]
) -> str | None:
    problem = _refresh(join, runtime, domain)
    if problem is not None and problem != known_problem:
        report(f"warning: {problem}; the sidecar goes on with the token and the bundle it has")
    return problem


def _refresh(join: Path, runtime: Path, domain: TrustDomain) -> str | None:
    """Writes what changed; returns what is wrong, if anything."""
    try:
        material = read_join_directory(join)
        found = bundle_trust_domain(material.bundle)
    except JoinError as error:
        return str(error)
    if found != domain:
        return f"the trust bundle in {join} is now of trust domain {found}, no longer {domain}: restart the sidecar"
    write_sds_files(runtime, material)
    return None
