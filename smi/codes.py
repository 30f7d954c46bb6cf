"""The codes of all diagnostics: what each one means, what it does to the mesh, and how to repair it.

A code never changes its meaning; a code that is no longer used is not given away again.
TL10xx: files and YAML. TL11xx: fields of any kind. TL12xx: one kind's own rules. TL13xx: what conversion kept.
TL2xxx: objects that do not fit together. TL3xxx: what proxies reject.
"""

from __future__ import annotations

from dataclasses import dataclass

from smi.diagnostics import Diagnostic, Location, ObjectRef, Severity


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding: why it arises, its effect on the mesh, and its repair, in sentences for people."""

    code: str
    severity: Severity
    title: str
    cause: str
    effect: str
    repair: str

    def diagnostic(
        self,
        message: str,
        *,
        object: ObjectRef | None = None,  # noqa: A002
        location: Location | None = None,
        hint: str = "",
    ) -> Diagnostic:
        """A diagnostic of this code; without a `hint` of its own it carries the code's repair."""
        return Diagnostic(self.code, self.severity, message, hint or self.repair, object, location)


CODES: dict[str, Code] = {}
"""Every code by its name, in the order of definition."""


def define(code: str, severity: Severity, title: str, *, cause: str, effect: str, repair: str) -> Code:
    """Register a code. Raises ValueError when it exists already: a code has one meaning."""
    if code in CODES:
        raise ValueError(f"diagnostic code {code} is defined twice")
    CODES[code] = Code(code, severity, title, cause, effect, repair)
    return CODES[code]


# Files and YAML

FILE_UNREADABLE = define(
    "TL1001",
    Severity.ERROR,
    "file cannot be read",
    cause="The file or directory is missing, not a regular file, or may not be read by this user.",
    effect="Its objects stay as they were when it was last read; nothing new is taken from it.",
    repair="Check that it exists and that this user may read it.",
)
FILE_TOO_LARGE = define(
    "TL1002",
    Severity.ERROR,
    "file too large",
    cause="The file has more than 8 MiB.",
    effect="Its objects stay as they were when it was last read; nothing new is taken from it.",
    repair="Split it into several files.",
)
BAD_YAML = define(
    "TL1003",
    Severity.ERROR,
    "not YAML",
    cause="The text is neither YAML nor JSON, or not UTF-8; often a tab as indentation, or an open quote.",
    effect="This document is not read; the other documents of the file are.",
    repair="Correct the text at this line.",
)
DUPLICATE_KEY = define(
    "TL1004",
    Severity.ERROR,
    "key given twice",
    cause="A mapping holds the same key twice, so that it is unclear which value is meant.",
    effect="This document is not read; the other documents of the file are.",
    repair="Remove one of the two.",
)
TOO_COMPLEX = define(
    "TL1005",
    Severity.ERROR,
    "document too large or too deep",
    cause="It is nested deeper than 64 levels, or holds more than a million values with its aliases expanded; or"
    " the file has more than 20,000 documents.",
    effect="This document is not read; the other documents of the file are.",
    repair="Write it flatter, in several documents, or without aliases.",
)
NOT_AN_OBJECT = define(
    "TL1006",
    Severity.ERROR,
    "not an object",
    cause="A document is not a mapping with the texts `apiVersion` and `kind`.",
    effect="This document is ignored.",
    repair="Begin each document with apiVersion, kind and metadata.",
)
KEY_NOT_TEXT = define(
    "TL1007",
    Severity.ERROR,
    "key is not a text",
    cause="A key is a number, a boolean, null or a structure. YAML reads on, off, yes, no as booleans.",
    effect="This document is not read; the other documents of the file are.",
    repair="Put the key in quotes.",
)
LAST_GOOD_KEPT = define(
    "TL1008",
    Severity.WARNING,
    "last good version serves",
    cause="A file or an object was changed into something that cannot be used as a whole.",
    effect="What it held before keeps serving, until it is corrected or removed. After a restart it is gone.",
    repair="Repair the errors reported for this file.",
)
DUPLICATE_OBJECT = define(
    "TL1009",
    Severity.ERROR,
    "object defined twice",
    cause="Two documents define the same kind, namespace and name.",
    effect="The first one counts, by file name and line; this one is ignored.",
    repair="Remove one of the two, or rename it.",
)
UNKNOWN_KIND = define(
    "TL1020",
    Severity.WARNING,
    "unknown kind",
    cause="The kind, or its API group, is none that the mesh reads.",
    effect="The object is ignored.",
    repair="Check kind and apiVersion, or move the object out of this directory.",
)
UNKNOWN_VERSION = define(
    "TL1021",
    Severity.ERROR,
    "unknown version",
    cause="The kind is known, but not in this version.",
    effect="The object is not in force.",
    repair="Write it in one of the accepted versions.",
)
NOT_BUILT = define(
    "TL1022",
    Severity.INFO,
    "not supported",
    cause="The kind belongs to a draft of SMI that was never released, and the mesh does not act on it.",
    effect="The object is ignored. No traffic becomes more open by that.",
    repair="Nothing is needed.",
)

# Fields of any kind

WRONG_TYPE = define(
    "TL1101",
    Severity.ERROR,
    "wrong type",
    cause="A field holds a text, number, boolean, list or mapping where another of these is expected.",
    effect="The field, or as much around it as its absence would open, is not in force: nothing is widened.",
    repair="Write a value of the expected type; texts that look like numbers or booleans need quotes.",
)
MISSING_FIELD = define(
    "TL1102",
    Severity.ERROR,
    "missing field",
    cause="A required field is absent or empty.",
    effect="The field, or as much around it as its absence would open, is not in force: nothing is widened.",
    repair="Add the field.",
)
UNKNOWN_FIELD = define(
    "TL1103",
    Severity.WARNING,
    "unknown field",
    cause="The kind has no such field in this version.",
    effect="The field is ignored.",
    repair="Correct its name or remove it.",
)
BAD_NAME = define(
    "TL1104",
    Severity.ERROR,
    "invalid name",
    cause="A name is not made of lower case letters, digits and inner dashes (and dots, where allowed).",
    effect="The part that is named so is not in force.",
    repair="Correct the name.",
)
BAD_VALUE = define(
    "TL1105",
    Severity.ERROR,
    "invalid value",
    cause="A field holds a value outside of what it accepts.",
    effect="The field, or as much around it as its absence would open, is not in force: nothing is widened.",
    repair="Write one of the accepted values.",
)
DUPLICATE_ENTRY = define(
    "TL1106",
    Severity.ERROR,
    "entry given twice",
    cause="Two entries of a list claim the same name, port or address.",
    effect="The first one counts, the later one is left out.",
    repair="Remove one of the two, or change what they share.",
)
UNKNOWN_LIMIT = define(
    "TL1107",
    Severity.ERROR,
    "unknown field in a place that limits access",
    cause="A match, a rule or a route holds an unknown field; ignoring it might allow more than was meant.",
    effect="The match, or the object, is not in force.",
    repair="Correct the name of the field or remove it.",
)
BAD_PORT = define(
    "TL1108",
    Severity.ERROR,
    "invalid port",
    cause="A port is not a whole number from 1 to 65535.",
    effect="The entry with this port is not in force; of a route or a TrafficTarget, the whole object.",
    repair="Write a port number from 1 to 65535.",
)
BAD_ADDRESS = define(
    "TL1109",
    Severity.ERROR,
    "invalid address",
    cause="An address is not an IPv4 or IPv6 address that traffic can be sent to.",
    effect="The address is not used; a Workload without one is not in force.",
    repair="Write an IP address, not a host name.",
)
FINDINGS_LEFT_OUT = define(
    "TL1110",
    Severity.ERROR,
    "more findings in this object",
    cause="One object has more findings than are listed.",
    effect="The remaining findings are not shown.",
    repair="Repair the ones that are shown, then look again.",
)

# Rules of single kinds

BAD_WEIGHT = define(
    "TL1201",
    Severity.ERROR,
    "invalid weight",
    cause="Weights of a TrafficSplit are whole numbers from 0 to 2147483647; in v1alpha1, quantities of 0 or more.",
    effect="The TrafficSplit is not in force: traffic goes to the root service.",
    repair="Write whole numbers; only their ratio counts, so 1 and 9 mean the same as 10 and 90.",
)
BAD_REGEX = define(
    "TL1202",
    Severity.ERROR,
    "regular expression refused",
    cause="RE2 refuses the expression: it has no look-around or back references, and its size is limited.",
    effect="The match is left out: it matches nothing.",
    repair="Write it in the syntax of RE2, as in Go; for long alternatives use several matches.",
)
BAD_METHOD = define(
    "TL1203",
    Severity.ERROR,
    "unknown method",
    cause="Methods are GET, HEAD, PUT, POST, DELETE, CONNECT, OPTIONS, TRACE, PATCH, in upper case, or `*`.",
    effect="The match is left out: it matches nothing.",
    repair="Write one of these methods, or leave `methods` out for any method.",
)
NEVER_MATCHES = define(
    "TL1204",
    Severity.WARNING,
    "path can never match",
    cause="A pathRegex is anchored at the beginning of the path, and every path begins with `/`.",
    effect="The match is in force, but no request can fit it.",
    repair="Begin the expression with `/`.",
)
MATCHES_AT_ROOT = define(
    "TL1205",
    Severity.WARNING,
    "matches outside of spec",
    cause="Since specs v1alpha3 the matches of an HTTPRouteGroup belong under `spec`.",
    effect="They are read as if they stood there.",
    repair="Move `matches` under `spec`.",
)
GRANTS_NOTHING = define(
    "TL1211",
    Severity.ERROR,
    "grants nothing",
    cause="A TrafficTarget has no source, or no rule in v1alpha3, or a rule whose list of matches is there and empty.",
    effect="The TrafficTarget allows nothing. What it allowed before is taken back.",
    repair="Add the missing entries, or remove the object.",
)
BAD_SUBJECT = define(
    "TL1212",
    Severity.ERROR,
    "identity of an unknown kind",
    cause="Sources and destination of a TrafficTarget are of kind ServiceAccount.",
    effect="A source of another kind is left out; with such a destination the TrafficTarget is not in force.",
    repair="Write `kind: ServiceAccount` and the name of the account.",
)
FOREIGN_DESTINATION = define(
    "TL1213",
    Severity.ERROR,
    "destination in another namespace",
    cause="Only the owner of a service may open it: a TrafficTarget opens its own namespace only.",
    effect="The TrafficTarget is not in force.",
    repair="Put the TrafficTarget into the namespace of its destination.",
)
SOURCE_NAMESPACE_ASSUMED = define(
    "TL1214",
    Severity.WARNING,
    "source without namespace",
    cause="A source does not say in which namespace its ServiceAccount lives.",
    effect="The namespace of the TrafficTarget is taken.",
    repair="Add `namespace` to the source.",
)
UDP_RULE = define(
    "TL1215",
    Severity.WARNING,
    "UDP is not enforced",
    cause="Sidecars leave UDP alone: a redirect loses its destination, and UDP carries no identity of the client.",
    effect="UDP passes as without a mesh, whatever the rules say. The rule opens no TCP port and no HTTP request.",
    repair="Limit UDP by other means, such as a NetworkPolicy. The rule may stay.",
)
PORT_REMOVED = define(
    "TL1216",
    Severity.WARNING,
    "destination.port in v1alpha3",
    cause="access v1alpha3 removed `destination.port`.",
    effect="It is honoured as in v1alpha2: all rules of the TrafficTarget are limited to this port.",
    repair="Add a TCPRoute with this port to the rules, and remove `port`.",
)
NO_RULES = define(
    "TL1217",
    Severity.WARNING,
    "no rules",
    cause="A TrafficTarget has no rules, which access v1alpha1 and v1alpha2 allow without saying what it means.",
    effect="It allows nothing. With `emptyRules: allow` in MeshConfig it allows everything, on `port` if that is set.",
    repair="Add the rules that are meant; a TCPRoute without ports allows everything.",
)
PORTS_TOO_EARLY = define(
    "TL1218",
    Severity.WARNING,
    "ports in an older version",
    cause="A TCPRoute has ports only since specs v1alpha4; this one is written in an older version.",
    effect="The `spec` is honoured as in v1alpha4.",
    repair="Write `apiVersion: specs.smi-spec.io/v1alpha4`.",
)
BAD_FEDERATION = define(
    "TL1219",
    Severity.ERROR,
    "foreign trust domain that cannot be trusted",
    cause="An entry of `federation` names the mesh's own trust domain, or its roots are not signing certificates in PEM"
    " of the trust domain that it names.",
    effect="The entry is not in force: nobody of that trust domain is believed.",
    repair="Name the other mesh's trust domain, and give the root certificates that it publishes.",
)

# What conversion between versions kept

KEPT_UNREADABLE = define(
    "TL1301",
    Severity.ERROR,
    "kept fields cannot be understood",
    cause="Conversion between versions stores in the annotation smi.tulle.dev/kept what the version has no field for."
    " Here it is not what conversion writes, or longer than 256 KiB.",
    effect="The object is not in force, since what it kept may be a limit.",
    repair="Restore the annotation. If you remove it, write what it said in a version that has the fields.",
)
