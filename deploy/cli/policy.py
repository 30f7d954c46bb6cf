"""`tulle policy`: who may call whom, from files alone."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import click

from deploy.cli.policy_graph import as_dot, as_json, print_table
from deploy.cli.policy_words import decision_data, decision_lines
from deploy.directory import Reading, read_directory
from smi import paths
from smi.diagnostics import Severity
from smi.model import PortKey
from smi.names import closest, is_label, is_subdomain
from smi.objects import Service
from smi.policy import Account, Call, Decision, Policy
from smi.policy.graph import edges

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_DIRECTORY = click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))


class _Service(NamedTuple):
    """`NAMESPACE/SERVICE[:PORT]`."""

    namespace: str
    name: str
    port: int | None


class _AccountName(click.ParamType[Account]):
    """`NAMESPACE/SERVICEACCOUNT`."""

    name = "NAMESPACE/SERVICEACCOUNT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Account:
        namespace, _, account = str(value).partition("/")
        if not (is_label(namespace) and is_subdomain(account)):
            self.fail(f"{value!r} is not NAMESPACE/SERVICEACCOUNT, such as bookbuyer/bookbuyer", param, ctx)
        return Account(namespace, account)


class _ServicePort(click.ParamType[_Service]):
    """`NAMESPACE/SERVICE[:PORT]`."""

    name = "NAMESPACE/SERVICE[:PORT]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> _Service:
        service, colon, port = str(value).partition(":")
        namespace, _, name = service.partition("/")
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
        if not (is_label(namespace) and is_subdomain(name)) or (colon and not 1 <= number <= 65535):
            self.fail(f"{value!r} is not NAMESPACE/SERVICE or NAMESPACE/SERVICE:PORT, such as shop/web:80", param, ctx)
        return _Service(namespace, name, number if colon else None)


class _Header(click.ParamType[tuple[str, str]]):
    """`NAME=VALUE`; the name comes in lower case."""

    name = "NAME=VALUE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not (_TOKEN.fullmatch(name) or name.lower() == ":authority"):
            self.fail(f"{value!r} is not NAME=VALUE, such as x-role=chef", param, ctx)
        if not text.isprintable():
            self.fail(f"the value of {name} holds a character that no header can", param, ctx)
        return name.lower(), text.strip()


class _Method(click.ParamType[str]):
    name = "METHOD"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not _TOKEN.fullmatch(text):
            self.fail(f"{text!r} is not an HTTP method, such as GET", param, ctx)
        if text != text.upper():
            self.fail(f"{text!r} is not {text.upper()}: methods are written in upper case", param, ctx)
        return text


class _Path(click.ParamType[str]):
    name = "PATH"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if "#" in text:
            self.fail(
                f"{text!r} has a fragment (#), which clients never send; as a part of the path it is %23", param, ctx
            )
        if not text.startswith("/"):
            self.fail(f"{text!r} does not begin with '/'", param, ctx)
        if not paths.can_be_sent(text):
            sent = quote(text, safe="/%?&=;:@!$'()*+,~", errors="replace")
            self.fail(f"{text!r} holds characters that no request can; encoded it is {sent}", param, ctx)
        return text


@click.group(short_help="Say who may call whom, offline.")
def policy() -> None:
    """Say who may call whom, from the objects of a directory alone."""


@policy.command(short_help="Say whether a call is allowed, and by which object.")
@_DIRECTORY
@click.option("--from", "source", required=True, type=_AccountName(), help="Who calls.")
@click.option("--to", required=True, type=_ServicePort(), help="Which service is called. Without PORT: each TCP port.")
@click.option("--method", type=_Method(), help="[GET]")
@click.option("--path", type=_Path(), help="With its query, if any. [/]")
@click.option("--header", "headers", multiple=True, type=_Header(), help="May be repeated; host is the service's name.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check(
    directory: Path,
    *,
    source: Account,
    to: _Service,
    method: str | None,
    path: str | None,
    headers: tuple[tuple[str, str], ...],
    output: str,
) -> None:
    """Say whether a call is allowed by the objects of DIRECTORY, and by which object and match.

    Exits with 0 when all of the calls are allowed, with 1 when some or all of them are not, and with 2 for mistakes.
    """
    if sum(name in ("host", ":authority") for name, _ in headers) > 1:
        raise click.UsageError("host is given twice: a request has one")
    reading = read_directory(directory)
    ports = _ports(reading, to)
    http_given = method is not None or path is not None or bool(headers)
    if http_given and not any(reading.mesh.frontends[port].protocol.is_http for port in ports):
        numbers = ", ".join(str(port.port) for port in ports)
        message = f"port {numbers} of {to.namespace}/{to.name} is not HTTP: --method, --path and --header mean nothing"
        raise click.UsageError(message)
    judge = Policy(reading.mesh)
    decisions = [judge.decide(Call(source, port, method or "GET", path or "/", headers)) for port in ports]
    if output == "json":
        click.echo(json.dumps(_as_data(decisions, source, reading), indent=2))
    else:
        for decision in decisions:
            for line in decision_lines(decision):
                click.echo(line)
        if errors := _errors(reading):
            objects = f"{errors} error{'s' * (errors != 1)} in {directory}"
            click.echo(f"note: {objects}: what is wrong is left out, and the answer depends on it; see `tulle lint`")
    sys.exit(0 if all(decision.allowed for decision in decisions) else 1)


@policy.command(short_help="Print who may call whom: a table, DOT, or JSON.")
@_DIRECTORY
@click.option("-o", "--output", type=click.Choice(["table", "dot", "json"]), default="table", show_default=True)
@click.option("--namespace", metavar="NAMESPACE", help="Only calls from or to this namespace.")
def graph(directory: Path, *, output: str, namespace: str | None) -> None:
    """Print who may call whom by the objects of DIRECTORY: source and destination accounts, services, requests."""
    reading = read_directory(directory)
    found = edges(reading.mesh)
    if namespace is not None:
        found = tuple(each for each in found if namespace in _namespaces(each.source, each.destination))
        if not found and namespace not in (known := _known_namespaces(reading)):
            raise click.UsageError(f"there is no namespace {namespace!r} in {directory}{_meant(namespace, known)}")
    if output == "json":
        click.echo(as_json(found))
    elif output == "dot":
        click.echo(as_dot(found))
    else:
        print_table(found)
    if errors := _errors(reading):
        click.echo(f"{errors} error{'s' * (errors != 1)} in {directory}: what is wrong is left out", err=True)


def _ports(reading: Reading, to: _Service) -> list[PortKey]:
    """The ports that are meant. Raises UsageError where there is no such service or port."""
    objects, name = reading.mesh.objects, f"{to.namespace}/{to.name}"
    service = objects.services.get((to.namespace, to.name))
    if service is None:
        known = ["/".join(key) for key in sorted(objects.services)]
        raise click.UsageError(f"there is no Service {name}{_meant(name, known)}")
    if service.external_name:
        outside = f"a name for {service.external_name}, outside of the mesh"
        raise click.UsageError(f"Service {name} is {outside}: no policy applies to its calls")
    tcp = [PortKey(to.namespace, to.name, port.port) for port in service.ports if port.transport == "TCP"]
    wanted = [port for port in tcp if to.port in (None, port.port)]
    if not wanted:
        raise click.UsageError(_no_port(service, to))
    return sorted(wanted)


def _no_port(service: Service, to: _Service) -> str:
    name = f"{to.namespace}/{to.name}"
    other = next((port for port in service.ports if port.port == to.port), None)
    if other is not None:
        return f"port {to.port} of {name} is {other.transport}: sidecars leave it alone, and no policy applies"
    known = ", ".join(f"{port.port} ({port.name})" if port.name else str(port.port) for port in service.ports)
    return f"Service {name} has no TCP port{f' {to.port}' if to.port else ''}; its ports: {known or 'none'}"


def _meant(word: str, known: list[str]) -> str:
    meant = closest(word, known)
    return f"; did you mean {meant}?" if meant else f"; known: {', '.join(known[:5])}{', …' * (len(known) > 5)}"


def _known_namespaces(reading: Reading) -> list[str]:
    objects = reading.mesh.objects
    tables = (objects.services, objects.workloads, objects.traffic_targets)
    return sorted({*objects.namespaces, *(key[0] for table in tables for key in table)})


def _namespaces(source: Account | None, destination: Account) -> set[str]:
    return {destination.namespace} | ({source.namespace} if source else set())


def _errors(reading: Reading) -> int:
    return sum(1 for each in reading.diagnostics if each.severity is Severity.ERROR)


def _as_data(decisions: list[Decision], source: Account, reading: Reading) -> dict[str, object]:
    return {
        "verdict": "allowed" if all(each.allowed for each in decisions) else "denied",
        "from": str(source),
        "ports": [decision_data(each) for each in decisions],
        "errors_in_directory": _errors(reading),
    }
