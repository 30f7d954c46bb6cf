from __future__ import annotations

import pytest

from xds.quarantine import backoff, blamed

NAMES = ["a", "b", "outbound/ns/svc/80", "outbound/ns/svc/8080", "local/127.0.0.1:80", "local/127.0.0.1:8080", "x.y"]


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ("Error adding/updating listener(s) outbound/ns/svc/8080: bad\n", {"outbound/ns/svc/8080"}),
        ("Error adding/updating cluster(s) a: bad, b: worse", {"a", "b"}),
        ("outbound/ns/svc/80: bad", {"outbound/ns/svc/80"}),
        ("'local/127.0.0.1:80' has duplicate address", {"local/127.0.0.1:80"}),
        ("local/127.0.0.1:8080: x", {"local/127.0.0.1:8080"}),
        ("invalid value in x.y.", {"x.y"}),
        ("x.yz or zx.y or x.y.z", set()),
        ("bad filter", set()),
        ("", set()),
        ("a: bad ...(truncated)", set()),
    ],
)
def test_blame(message: str, names: set[str]) -> None:
    assert blamed(message, NAMES) == names


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (10_000, 300)])
def test_backoff(attempts: int, seconds: float) -> None:
    assert backoff(attempts) == seconds
