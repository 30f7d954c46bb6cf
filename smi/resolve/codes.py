"""Codes TL2xxx: objects that are right by themselves and do not fit together."""

from __future__ import annotations

from smi.codes import define
from smi.diagnostics import Severity

# Services and their ports

PROTOCOL_GUESSED = define(
    "TL2001",
    Severity.INFO,
    "protocol guessed",
    cause="A Service port has no appProtocol, no telling name, and no well-known number.",
    effect="It is taken as HTTP; a server of another protocol behind it cannot be reached.",
    repair="Set appProtocol (http, http2, grpc, tcp ...), or begin the port's name with it.",
)
PORT_NOT_TCP = define(
    "TL2002",
    Severity.INFO,
    "port is not TCP",
    cause="A Service has a UDP or SCTP port.",
    effect="The mesh leaves that port alone: no encryption, no policy, no split.",
    repair="Nothing, if that is what you want; SMI and sidecars cover TCP.",
)
SERVICE_WITHOUT_WORKLOADS = define(
    "TL2003",
    Severity.INFO,
    "Service selects nothing",
    cause="No Workload of the Service's namespace has all labels of its selector.",
    effect="Calls to it fail until there is one: HTTP with 503, TCP by a closed connection. As a backend of a"
    " TrafficSplit it keeps its part, which fails too.",
    repair="Compare spec.selector with metadata.labels of the workloads meant.",
)
TARGET_PORT_MISSING = define(
    "TL2004",
    Severity.WARNING,
    "target port missing",
    cause="A Service's targetPort names or numbers a port that a selected workload does not declare.",
    effect="That workload gets no traffic of this port.",
    repair="Use the name or number of one of the workload's spec.ports.",
)
PROTOCOL_CONFLICT = define(
    "TL2005",
    Severity.WARNING,
    "one port, two protocols",
    cause="Two Services lead to the same port of a workload and declare different protocols for it.",
    effect="The workload's sidecar takes the protocol of the older Service; calls through the other may fail.",
    repair="Give both ports the same appProtocol.",
)
ADDRESS_CONFLICT = define(
    "TL2006",
    Severity.ERROR,
    "address already taken",
    cause="Two Services claim the same clusterIP and port, or two explicit Workloads the same port of one host.",
    effect="The older one, or the first by name, keeps it; the other is not served there. Nothing else is affected.",
    repair="Give one of them another address or port.",
)
PLAINTEXT_ENDPOINT = define(
    "TL2007",
    Severity.INFO,
    "endpoint without sidecar",
    cause="A Service selects a workload that has `sidecar: false`.",
    effect="Connections to that endpoint are plaintext and carry no identity.",
    repair="Give it a sidecar, or set plaintextUpstreams: deny in MeshConfig to leave such endpoints out.",
)
PLAINTEXT_ENDPOINT_DENIED = define(
    "TL2008",
    Severity.WARNING,
    "endpoint left out",
    cause="A Service selects a workload without a sidecar, and MeshConfig has plaintextUpstreams: deny.",
    effect="That workload gets no traffic from the mesh.",
    repair="Give it a sidecar, or set plaintextUpstreams: allow in MeshConfig.",
)
APP_PORT_MISSING = define(
    "TL2009",
    Severity.ERROR,
    "appPort missing",
    cause="A port of a workload in explicit mode does not say where its application listens.",
    effect="The sidecar does not serve that port.",
    repair="Add appPort: the port on 127.0.0.1 on which the application listens.",
)

# Traffic splits

ROOT_SERVICE_MISSING = define(
    "TL2101",
    Severity.WARNING,
    "root Service missing",
    cause="spec.service of a TrafficSplit names no Service of its namespace.",
    effect="The split has no effect until that Service exists.",
    repair="Create the Service, or correct spec.service.",
)
SPLIT_CONFLICT = define(
    "TL2102",
    Severity.WARNING,
    "two splits of one Service",
    cause="Two TrafficSplits without matches have the same root Service.",
    effect="The older one, or the first by name, is in force; this one is ignored.",
    repair="Delete one of them, or give one of them matches.",
)
BACKEND_MISSING = define(
    "TL2103",
    Severity.WARNING,
    "backend missing",
    cause="A backend with a weight above 0 names no Service of the split's namespace, or an ExternalName, which is"
    " outside of the mesh.",
    effect="The other backends share its part; without another one calls fail: HTTP with 503, TCP by a closed"
    " connection.",
    repair="Create the Service, correct the name, or set the weight to 0 until it exists.",
)
BACKEND_LACKS_PORT = define(
    "TL2104",
    Severity.WARNING,
    "backend lacks the port",
    cause="A backend Service has no TCP port with the number of the root Service's port.",
    effect="On that port the backend gets nothing (SMI Traffic Split, Ports); the other backends share its part, and"
    " without another one calls fail.",
    repair="Add the port to the backend Service; its targetPort may differ.",
)
ALL_WEIGHTS_ZERO = define(
    "TL2105",
    Severity.WARNING,
    "all weights are zero",
    cause="Every backend of a TrafficSplit has weight 0.",
    effect="Calls that the split applies to fail: HTTP with 503, TCP by a closed connection.",
    repair="Give at least one backend a weight above 0, or delete the split.",
)
MATCHES_NEED_HTTP = define(
    "TL2106",
    Severity.WARNING,
    "matches on a port that is not HTTP",
    cause="A TrafficSplit has matches, and its root Service a port that is not HTTP.",
    effect="On that port the split does not apply: traffic goes to the root Service, or where a split without matches"
    " sends it.",
    repair="If the port speaks HTTP, set its appProtocol to http; else use a split without matches.",
)
PROTOCOL_MISMATCH = define(
    "TL2107",
    Severity.WARNING,
    "backend speaks another protocol",
    cause="The same port is HTTP for the root Service and not for a backend, or the other way round.",
    effect="Requests may fail at that backend.",
    repair="Give both ports the same appProtocol.",
)
ROUTE_MISSING = define(
    "TL2108",
    Severity.ERROR,
    "route missing",
    cause="A TrafficTarget's rule or a TrafficSplit's matches names a route that its namespace does not have.",
    effect="The rule grants nothing, and still limits the other rules of its TrafficTarget; a split is ignored. Neither"
    " widens to everything.",
    repair="Create the route in the same namespace, or correct the name.",
)
MATCH_MISSING = define(
    "TL2109",
    Severity.ERROR,
    "match missing",
    cause="A TrafficTarget's rule lists a match that its HTTPRouteGroup does not have, or has in a broken form.",
    effect="That entry grants nothing; other entries are in force.",
    repair="Correct the name under the rule's `matches`, or the match in the HTTPRouteGroup.",
)

HEADER_AMBIGUOUS = define(
    "TL2110",
    Severity.ERROR,
    "header name with too many dashes",
    cause="A TrafficTarget depends on a header whose name has more than five dashes or underscores.",
    effect="The match grants nothing: the spellings that applications may confuse with it are too many to refuse.",
    repair="Use a header with a simpler name.",
)
PORT_AMBIGUOUS = define(
    "TL2111",
    Severity.WARNING,
    "port means two things",
    cause="A port number of a TCPRoute or of destination.port is the port of a Service and also another target port of"
    " the same workload.",
    effect="The TrafficTarget with it opens both target ports.",
    repair="Nothing, if both may be opened; else give the Service a port that is no targetPort of the same workload.",
)
ROOT_NOT_SPLIT = define(
    "TL2120",
    Severity.WARNING,
    "root Service cannot be split",
    cause="The root Service of a TrafficSplit is an ExternalName, is headless, or has no TCP port.",
    effect="Calls to it go where they would without the split. Of a headless Service, only calls through the upstreams"
    " of workloads in explicit mode are split.",
    repair="Split a Service with a cluster IP and a TCP port.",
)
BACKEND_IS_ROOT = define(
    "TL2121",
    Severity.INFO,
    "backend is the root of another split",
    cause="A backend of a TrafficSplit is itself the root Service of another one.",
    effect="Its part goes to that Service's own workloads: splits are not chained (SMI Traffic Split, Tradeoffs).",
    repair="Nothing, if that is what you want; else name the other split's backends, with weights for each.",
)
SPLIT_SHADOWED = define(
    "TL2122",
    Severity.WARNING,
    "split never reached",
    cause="Older TrafficSplits of the same root Service name every HTTPRouteGroup that this one names.",
    effect="The older ones, or the first by name, take all its requests; this one gets none.",
    repair="Give it another HTTPRouteGroup, or put all backends into one split.",
)
BACKEND_WITHOUT_SELECTOR = define(
    "TL2123",
    Severity.WARNING,
    "backend without selector",
    cause="Calls are split to a Service without spec.selector, so that no workload can be behind it.",
    effect="Its part of the calls fails with 503, or by a closed connection.",
    repair="Give the Service a selector, or the backend the weight 0.",
)
NOTHING_MATCHED = define(
    "TL2124",
    Severity.WARNING,
    "split without usable match",
    cause="The HTTPRouteGroups that a TrafficSplit names hold no match, or only matches with errors.",
    effect="The split takes no request: they go where they would without it.",
    repair="Add a match to the HTTPRouteGroup, or correct the ones it has.",
)
POLICY_PERMISSIVE = define(
    "TL2125",
    Severity.INFO,
    "TrafficTargets play no part",
    cause="TrafficTargets name the account of a workload whose traffic policy is permissive.",
    effect="Everything is allowed there, whatever they say.",
    repair="Nothing, if that is what you want; else set the annotation tulle.dev/traffic-policy: smi on the namespace"
    " or the workload.",
)

# Workloads, namespaces, scopes

ANNOTATION_INVALID = define(
    "TL2201",
    Severity.ERROR,
    "annotation not understood",
    cause="An annotation of a namespace or workload, tulle.dev/traffic-policy or tulle.dev/mtls, has a value that does"
    " not exist.",
    effect="The strictest value is used in its place: smi, or strict.",
    repair="Write smi or permissive for tulle.dev/traffic-policy, strict or permissive for tulle.dev/mtls.",
)
REACH_UNKNOWN = define(
    "TL2202",
    Severity.WARNING,
    "reach leads nowhere",
    cause="The annotation tulle.dev/reaches names a namespace without Services, or a Service that does not exist.",
    effect="It adds nothing to what the workload can call through the mesh.",
    repair="Write `namespace` or `namespace/service`, separated by commas.",
)
REACH_LARGE = define(
    "TL2203",
    Severity.WARNING,
    "very large scope",
    cause="A sidecar is sent more than 2,000 Services.",
    effect="It needs much memory and a long start: 448 MB and 7.6 s were measured with 5,000 Services.",
    repair="Name what it calls with the annotation tulle.dev/reaches, on its namespace or on the workload.",
)
UPSTREAM_MISSING = define(
    "TL2204",
    Severity.ERROR,
    "upstream missing",
    cause="An upstream of a workload names a Service or a TCP port that does not exist.",
    effect="The sidecar does not listen on that local port.",
    repair="Create the Service or port, or correct the upstream.",
)
IDENTITY_INVALID = define(
    "TL2205",
    Severity.ERROR,
    "no identity possible",
    cause="The workload's namespace or service account cannot be a part of a SPIFFE ID.",
    effect="The workload gets no certificate and takes no part in the mesh: nothing is sent to it either.",
    repair="Name it with letters, digits, dots, dashes and underscores only.",
)
TRUST_DOMAIN_FIXED = define(
    "TL2206",
    Severity.ERROR,
    "trust domain cannot change",
    cause="MeshConfig got another trustDomain while the control plane was running.",
    effect="The trust domain stays as it was when the control plane started.",
    repair="Change it back; another trust domain needs a new state directory and a restart of everything.",
)
