"""The graph of who may call whom, as a table, DOT or data."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.cli.policy_words import cited_data, port_name, requests, services
from smi.policy import Account
from smi.policy.graph import Edge

_ANYONE = "anyone"
_UNLIMITED = 100_000
"""Columns of a table that goes into a file or a pipe: nothing there is folded."""


def table_text(found: Iterable[Edge]) -> str:
    """The edges as text, one line each, without colours: for files and pipes."""
    console = Console(file=io.StringIO(), width=_UNLIMITED, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(_table(found, separator=", "))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def print_table(found: Iterable[Edge]) -> None:
    """Print the edges on a terminal, long cells folded; elsewhere as `table_text`."""
    console = Console()
    if console.is_terminal:
        console.print(_table(found, separator="\n"))
    else:
        click.echo(table_text(found))


def _table(found: Iterable[Edge], *, separator: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("SOURCE", "DESTINATION", "SERVICES", "REQUESTS", "BY"):
        table.add_column(heading, overflow="fold")
    for edge in found:
        cells = (_source(edge), str(edge.destination), separator.join(services(edge)) or "-")
        style = "" if edge.enforced else "yellow"
        table.add_row(*map(Text, (*cells, separator.join(requests(edge)), _by(edge))), style=style)
    return table


def as_dot(found: Iterable[Edge]) -> str:
    """The edges in Graphviz' language: one box for each namespace, dashed lines for what nobody enforces."""
    edges = list(found)
    accounts = sorted({each for edge in edges for each in (edge.source, edge.destination) if each is not None})
    lines = ["digraph policy {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="sans-serif"];']
    lines.append('  edge [fontname="sans-serif", fontsize=10];')
    for namespace in dict.fromkeys(account.namespace for account in accounts):
        lines.append(f"  subgraph {_quoted('cluster ' + namespace)} {{")
        lines.append(f"    label={_quoted(namespace)};")
        lines += [
            f"    {_node(each)} [label={_quoted(each.name)}];" for each in accounts if each.namespace == namespace
        ]
        lines.append("  }")
    if any(edge.source is None for edge in edges):
        lines.append(f"  {_quoted(_ANYONE)} [shape=ellipse];")
    for edge in edges:
        label = _quoted(", ".join(services(edge)), *requests(edge))
        source = _quoted(_ANYONE) if edge.source is None else _node(edge.source)
        style = "" if edge.enforced else ", style=dashed"
        tooltip = _quoted(_by(edge))
        lines.append(f"  {source} -> {_node(edge.destination)} [label={label}, tooltip={tooltip}{style}];")
    return "\n".join([*lines, "}"])


def as_json(found: Iterable[Edge]) -> str:
    """The edges as data, nothing shortened."""
    return json.dumps([_data(edge) for edge in found], indent=2)


def _data(edge: Edge) -> dict[str, object]:
    return {
        "source": None if edge.source is None else str(edge.source),
        "destination": str(edge.destination),
        "services": [{"called": port_name(way.called), "backend": port_name(way.backend)} for way in edge.ways],
        "ports": "other" if edge.ports is None else list(edge.ports),
        "requests": None
        if edge.http is None
        else [
            {
                "name": match.name,
                "path_regex": match.path_regex or None,
                "methods": list(match.methods) or None,
                "headers": [list(each) for each in match.headers],
            }
            for match in edge.http
        ],
        "udp_ports": None if edge.udp is None else list(edge.udp),
        "enforced": edge.enforced,
        "by": None if edge.by is None else cited_data(edge.by),
    }


def _source(edge: Edge) -> str:
    return _ANYONE if edge.source is None else str(edge.source)


def _by(edge: Edge) -> str:
    if edge.by is None:
        return "-"
    return f"{edge.by} ({edge.by.location})" if edge.by.location else str(edge.by)


def _node(account: Account) -> str:
    return _quoted(str(account))


def _quoted(*lines: str) -> str:
    """A string of DOT. Only quotes and backslashes mean something in it."""
    return '"' + r"\n".join(line.replace("\\", r"\\").replace('"', r"\"") for line in lines) + '"'
