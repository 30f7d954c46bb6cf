"""Python's cycle collector, where it only costs: what is built here lives long and holds no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_VERY_MUCH = 100_000
"""Objects."""


@contextmanager
def collector_paused() -> Iterator[None]:
    """No collection meanwhile: each would walk everything built so far, which took half of a start's time.

    Where very much was built, it is taken out of the collections that follow, as by `settle_in`.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > _VERY_MUCH:
            gc.freeze()
        if enabled:
            gc.enable()


def settle_in() -> None:
    """Take what there is now out of all later collections: it stays as long as the process does, mostly.

    And collect more rarely: pushes make many short-lived objects and no cycles. With Python's own thresholds
    collecting is a fifth of what a push costs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
