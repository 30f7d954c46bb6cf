"""What the simulator is asked, and what it answers."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from smi.model import PortKey, WorkloadKey

ONE = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """`source` connects to `service` (`namespace/name`) at `port`, or straight to `address`:`port`.

    A source without a sidecar, or None for somebody of whom nothing is declared, comes as it is, in plaintext; with
    `own_tls` it speaks a TLS that is no business of the mesh, which makes everything opaque bytes.
    """

    source: WorkloadKey | None
    service: str = ""
    port: int = 80
    address: str = ""
    own_tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Connection):
    """An HTTP request. `path` is the target exactly as sent, with its query; `headers` may name one several times."""

    method: str = "GET"
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    host: str = ""


class Kind(enum.StrEnum):
    """How a call ends."""

    ALLOWED = "allowed"
    """An application of the mesh gets it."""
    DENIED = "denied"
    """A policy of the destination refuses it: 403, or the connection is cut."""
    NO_ROUTE = "no route"
    """404: no route of a sidecar takes such a request."""
    NO_BACKEND = "no backend"
    """503, or the connection is cut: there is nobody to send it to, or nobody whom the sender could believe."""
    PASSTHROUGH = "passthrough"
    """It leaves the mesh, unchanged."""
    INVALID = "invalid"
    """400: a sidecar that speaks HTTP takes it for a broken request."""


@dataclass(frozen=True, slots=True)
class End:
    """What becomes of a call at one place. `status`: what the client sees, 0 for a connection that is cut, 200 if an
    application answers. `application`: the address at which it is reached, in the eyes of the last hop.
    """

    kind: Kind
    status: int
    why: str = ""
    workload: WorkloadKey | None = None
    application: str = ""


@dataclass(frozen=True, slots=True)
class Reached:
    """One endpoint: the part of all calls that it gets, and how they end. Without any endpoint, `address` is empty."""

    cluster: PortKey | str
    share: Fraction
    address: str
    port: int
    end: End

    @property
    def kind(self) -> Kind:
        return self.end.kind

    @property
    def workload(self) -> WorkloadKey | None:
        return self.end.workload


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of very many equal calls.

    `weights`: which part of them each backend is meant to get, by service port, or by the name of what is none.
    `reached`: where they end; the shares add up to 1.
    """

    weights: Mapping[PortKey | str, Fraction]
    reached: tuple[Reached, ...]

    @property
    def kind(self) -> Kind | None:
        """How all of them end; None if not all end alike."""
        kinds = {each.end.kind for each in self.reached}
        return kinds.pop() if len(kinds) == 1 else None

    @property
    def shares(self) -> dict[Kind, Fraction]:
        """Which part of them ends how."""
        found: dict[Kind, Fraction] = {}
        for each in self.reached:
            found[each.end.kind] = found.get(each.end.kind, Fraction(0)) + each.share
        return found

    @property
    def statuses(self) -> set[int]:
        return {each.end.status for each in self.reached}

    @property
    def applications(self) -> set[str]:
        return {each.end.application for each in self.reached if each.end.application}


def nowhere(kind: Kind, status: int, why: str) -> Outcome:
    """All calls end before any backend is chosen."""
    return Outcome({}, (Reached("", ONE, "", 0, End(kind, status, why)),))
