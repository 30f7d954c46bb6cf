"""The codes of what proxies reject: TL3xxx."""

from __future__ import annotations

from smi.codes import define
from smi.diagnostics import Severity

_KEPT = "Those proxies go on with what they had before; where they had nothing, "

OUTBOUND_REJECTED = define(
    "TL3001",
    Severity.ERROR,
    "rejected: calls of a Service",
    cause="Proxies have rejected what was made of a Service, or of the TrafficSplits that it is the root of.",
    effect=_KEPT + "calls to this Service fail or are not captured there.",
    repair="The message says what the proxy dislikes. It is tried again by itself, at once when the object changes.",
)
ACCESS_REJECTED = define(
    "TL3002",
    Severity.ERROR,
    "rejected: access",
    cause="Proxies have rejected the access rules of a workload that this TrafficTarget applies to.",
    effect=_KEPT + "nobody gets in: rules that are not understood open nothing.",
    repair="The message says what the proxy dislikes, most often a regular expression of an HTTPRouteGroup.",
)
INBOUND_REJECTED = define(
    "TL3003",
    Severity.ERROR,
    "rejected: what a workload serves",
    cause="The sidecar of a Workload has rejected its own inbound side, most often because a port is taken.",
    effect=_KEPT + "the workload is not reached through the mesh.",
    repair="The message says why. Free the port or change spec.ports; it is tried again by itself.",
)
LOCAL_REJECTED = define(
    "TL3004",
    Severity.ERROR,
    "rejected: a local port of an upstream",
    cause="The sidecar of a Workload could not listen on the localPort of one of its upstreams.",
    effect="Its application does not reach that upstream; its other upstreams are not affected.",
    repair="Free the port, or choose another localPort; it is tried again by itself.",
)
GENERAL_REJECTED = define(
    "TL3005",
    Severity.ERROR,
    "rejected: what every proxy gets",
    cause="Proxies have rejected something that belongs to no object: a certificate, or what every sidecar needs.",
    effect=_KEPT + "they may not serve at all.",
    repair="Compare the version of those proxies with the one that is supported; the message says what they dislike.",
)
