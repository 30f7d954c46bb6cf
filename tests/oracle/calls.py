"""What the oracle is asked about, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from smi.index import Key

Place = tuple[Key, int]
"""A workload and a port that it serves."""


@dataclass(frozen=True)
class Request:
    """An HTTP/1.1 request without a body. `path` is the target as it stands in the request, with its query."""

    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    host: str = "in.the.mesh"


@dataclass(frozen=True)
class Call:
    """`source` calls a port of a Service; without a source, a client that is not part of the mesh does, in plaintext.

    On a port that is not HTTP the bytes of the request are sent all the same, and nobody reads them.
    """

    source: Key | None
    service: Key
    port: int
    request: Request = field(default=Request())

    def __str__(self) -> str:
        who = "/".join(self.source) if self.source else "a client outside of the mesh"
        request = self.request
        headers = " ".join(f"{name}: {value!r}" for name, value in request.headers)
        where = f"{'/'.join(self.service)}:{self.port}"
        return f"{who} -> {where} {request.method} {request.path!r} host={request.host} {headers}".rstrip()


Answer = bool | str
"""Whether an endpoint allows a call; a text is what else happens there, which the oracle never says."""


@dataclass(frozen=True)
class Verdict:
    """`shares`: the part of the calls that each backend Service gets, without those that get nothing; when it is empty
    the call fails. `endpoints`: where each of these Services is served, and whether the call is allowed there; a
    Service that is served nowhere fails too. Of calls between those who have no sidecar nothing is said.
    """

    shares: Mapping[str, Fraction]
    endpoints: Mapping[str, Mapping[Place, Answer]]


PASSED_THROUGH = Verdict({"passthrough": Fraction(1)}, {})
"""The mesh has nothing to say about this call."""
