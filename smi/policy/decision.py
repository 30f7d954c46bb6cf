"""A call, and what happens to it: values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from smi.diagnostics import Location, ObjectRef
from smi.model import PortKey, WorkloadKey
from smi.protocol import Protocol


class Account(NamedTuple):
    """Names a service account: who calls, or who serves."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a service port by workloads of a service account, through their sidecar.

    `headers` are (lower-case name, value); `host` and `:authority` mean the same, and without one it is
    `SERVICE.NAMESPACE`. On a port that is not HTTP, method, path and headers mean nothing.
    """

    source: Account
    to: PortKey
    method: str = "GET"
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()


class Outcome(enum.StrEnum):
    """`failed`: no rule is against it, and still nobody answers, such as a service without workloads."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Cited:
    """An object that a reason rests on. `match`: which match of an HTTPRouteGroup."""

    ref: ObjectRef
    location: Location | None = None
    match: str = ""

    def __str__(self) -> str:
        return f'{self.ref} match "{self.match}"' if self.match else str(self.ref)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: in words, and by which objects. A denial may have several: what came closest is first."""

    text: str
    cited: tuple[Cited, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerDecision:
    """What the workloads of one class (or all those of a backend that have no sidecar) do with the call.

    `class_name` is empty for workloads without a sidecar: nothing is enforced there. `share` is that of all calls,
    as endpoints are taken in turn. `seen_path`: the path as the sidecar reads it, where that is another one.
    """

    account: Account
    class_name: str
    target_port: int
    workloads: tuple[WorkloadKey, ...]
    share: Fraction
    outcome: Outcome
    reasons: tuple[Reason, ...]
    seen_path: str = ""

    @property
    def enforced(self) -> bool:
        return bool(self.class_name)


@dataclass(frozen=True, slots=True)
class BackendDecision:
    """One backend of the rule that takes the call. Without endpoints it has no servers: calls to it fail."""

    key: PortKey
    weight: int
    share: Fraction
    servers: tuple[ServerDecision, ...]

    def share_of(self, outcome: Outcome) -> Fraction:
        """The part of all calls that goes here and ends in `outcome`."""
        if not self.servers:
            return self.share if outcome is Outcome.FAILED else Fraction(0)
        return sum((each.share for each in self.servers if each.outcome is outcome), Fraction(0))


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to `call`.

    `route`: why it goes to these backends, of which each has a share above 0; the shares sum to 1. Without backends,
    `unrouted` is what comes of the call, and `route` says why. `notes`: what makes this answer doubtful, or moot.
    """

    call: Call
    protocol: Protocol
    route: Reason
    backends: tuple[BackendDecision, ...]
    unrouted: Outcome | None = None
    notes: tuple[str, ...] = ()

    def share_of(self, outcome: Outcome) -> Fraction:
        """The part of the calls that ends in `outcome`, from 0 to 1."""
        if self.unrouted is not None:
            return Fraction(int(self.unrouted is outcome))
        return sum((backend.share_of(outcome) for backend in self.backends), Fraction(0))

    @property
    def allowed(self) -> bool:
        """Whether all calls are allowed."""
        return self.share_of(Outcome.ALLOWED) == 1

    @property
    def servers(self) -> tuple[ServerDecision, ...]:
        """All of all backends."""
        return tuple(server for backend in self.backends for server in backend.servers)
