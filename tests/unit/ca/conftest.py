"""One authority, one instant and one identity for the tests of `ca`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ca.authority import Authority, create_intermediate, create_root
from ca.identity import TrustDomain, WorkloadIdentity

NOW = datetime(2027, 3, 1, 12, 0, 0, 654321, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def trust_domain() -> TrustDomain:
    return TrustDomain("mesh.test")


@pytest.fixture(scope="session")
def identity(trust_domain: TrustDomain) -> WorkloadIdentity:
    return WorkloadIdentity(trust_domain, "bookstore", "bookstore-v1")


@pytest.fixture(scope="session")
def authority(trust_domain: TrustDomain, now: datetime) -> Authority:
    root = create_root(trust_domain, now)
    return Authority(root, create_intermediate(root, now))
