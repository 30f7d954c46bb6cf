"""Decisions and edges in the words that people and programs read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction

import click

from smi.model import PortKey
from smi.objects import HTTPMatch
from smi.policy import BackendDecision, Cited, Decision, Outcome, Reason, ServerDecision
from smi.policy.graph import Edge

_COLORS = {Outcome.ALLOWED: "green", Outcome.DENIED: "red", Outcome.FAILED: "yellow"}
_MOST_REQUESTS = 4
_MOST_CHARACTERS = 40
"""Of one request in a table: objects may hold much longer ones."""
_INDENT = "    "


def printable(text: str) -> str:
    """`text` with whatever could confuse a terminal written as an escape: objects are written by others."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def port_name(key: PortKey) -> str:
    """A service port as people write it."""
    return f"{key.namespace}/{key.service}:{key.port}"


def percent(share: Fraction) -> str:
    """A share in a hundred, never rounded to nothing or to all."""
    if share in (0, 1):
        return f"{int(share * 100)}%"
    rounded = f"{float(share * 100):.4g}%"
    return rounded if rounded not in ("0%", "100%") else "<0.01%" if share < Fraction(1, 2) else ">99.99%"


def verdict(decision: Decision) -> Outcome:
    """The one word for a call: it is allowed, or it is not."""
    return Outcome.ALLOWED if decision.allowed else Outcome.DENIED


def decision_lines(decision: Decision) -> Iterator[str]:
    """A decision as text, the word that counts first."""
    word, call = verdict(decision), decision.call
    request = f" {call.method} {call.path}" if decision.protocol.is_http else " (opaque bytes)"
    headers = "".join(f" {name}={value}" for name, value in call.headers)
    lost = ", ".join(
        f"{percent(decision.share_of(each))} of the calls {each.value}"
        for each in (Outcome.DENIED, Outcome.FAILED)
        if decision.share_of(each) and (decision.share_of(each) < 1 or each is Outcome.FAILED)
    )
    about = printable(f" {call.source} to {port_name(call.to)}{request}{headers}")
    yield f"{_styled(word)}{about}{f': {lost}' if lost else ''}"
    if decision.unrouted is not None or decision.route.cited:
        by = "" if decision.route.text else "routed by "
        yield f"{_INDENT}{by}{printable(_reason(decision.route))}"
    told = [(server.outcome, server.reasons, server.seen_path) for server in decision.servers]
    alike = len(set(told)) == 1 and all(backend.servers for backend in decision.backends)
    if alike:
        yield from _server_lines(decision.servers[0], _INDENT)
    else:
        for backend in decision.backends:
            yield from _backend_lines(backend)
    for note in decision.notes:
        yield f"note: {printable(note)}"


def _backend_lines(backend: BackendDecision) -> Iterator[str]:
    if not backend.servers:
        lost = f"{percent(backend.share)} {_styled(Outcome.FAILED)}"
        yield f"{_INDENT}{lost} {port_name(backend.key)}: nobody serves it"
    for server in backend.servers:
        about = f"{port_name(backend.key)}, account {server.account}"
        yield f"{_INDENT}{percent(server.share)} {_styled(server.outcome)} {about}"
        yield from _server_lines(server, _INDENT * 2)


def _server_lines(server: ServerDecision, indent: str) -> Iterator[str]:
    for reason in server.reasons:
        by = "by " if server.outcome is Outcome.ALLOWED and not reason.text else ""
        yield f"{indent}{by}{printable(_reason(reason))}"
    if server.seen_path:
        yield f"{indent}its sidecar reads the path as {printable(server.seen_path)}"


def _reason(reason: Reason) -> str:
    cited = ", ".join(f"{each} ({each.location})" if each.location else str(each) for each in reason.cited)
    if not reason.text or not cited:
        return reason.text or cited
    return f"{cited}: {reason.text}" if not reason.text.endswith(":") else f"{reason.text} {cited}"


def _styled(outcome: Outcome) -> str:
    return click.style(outcome.value, fg=_COLORS[outcome], bold=True)


def decision_data(decision: Decision) -> dict[str, object]:
    """A decision as data. Shares are numbers from 0 to 1."""
    call, http = decision.call, decision.protocol.is_http
    return {
        "verdict": verdict(decision).value,
        "to": port_name(call.to),
        "protocol": decision.protocol.value,
        "request": {"method": call.method, "path": call.path, "headers": [list(each) for each in call.headers]}
        if http
        else None,
        "shares": {outcome.value: float(decision.share_of(outcome)) for outcome in Outcome},
        "route": _reason_data(decision.route),
        "backends": [
            {
                "service": port_name(backend.key),
                "weight": backend.weight,
                "share": float(backend.share),
                "servers": [_server_data(server) for server in backend.servers],
            }
            for backend in decision.backends
        ],
        "notes": list(decision.notes),
    }


def _server_data(server: ServerDecision) -> dict[str, object]:
    return {
        "account": str(server.account),
        "sidecar": server.enforced,
        "workloads": [str(key) for key in server.workloads],
        "target_port": server.target_port,
        "share": float(server.share),
        "outcome": server.outcome.value,
        "reasons": [_reason_data(reason) for reason in server.reasons],
        "path_as_read": server.seen_path or None,
    }


def _reason_data(reason: Reason) -> dict[str, object]:
    return {"text": reason.text, "objects": [cited_data(each) for each in reason.cited]}


def cited_data(cited: Cited) -> dict[str, object]:
    """An object that something rests on, as data."""
    location = dataclasses.asdict(cited.location) if cited.location else None
    return {**dataclasses.asdict(cited.ref), "match": cited.match or None, "location": location}


def services(edge: Edge) -> list[str]:
    """Where an edge leads: service ports, and ports that no Service leads to."""
    found = [
        f"{way.called.service}:{way.called.port}"
        + ("" if way.called == way.backend else f" (split, {way.backend.service})")
        for way in edge.ways
    ]
    if edge.ports is None:
        found.append("other ports")
    elif edge.ports:
        found.append(f"port {', '.join(map(str, edge.ports))} (directly)")
    return found


def requests(edge: Edge) -> list[str]:
    """Which requests an edge allows, each cut short, and not more than a few."""
    if edge.udp is not None:
        ports = ", ".join(map(str, edge.udp)) or "any port"
        return [f"UDP {ports}: not enforced"]
    if not edge.enforced:
        return ["anything: no sidecar"]
    if edge.http is None:
        return ["anything"]
    told = [_request(match) for match in edge.http[:_MOST_REQUESTS]]
    more = len(edge.http) - len(told)
    return [*told, f"{more} more"] if more else told


def _request(match: HTTPMatch) -> str:
    headers = "".join(f" {name}" for name, _ in match.headers)
    text = f"{'|'.join(match.methods) or '*'} {match.path_regex or '*'}{f' with{headers}' if headers else ''}"
    return printable(text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…")
