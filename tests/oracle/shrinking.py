"""A disagreement -> the smallest mesh that still shows it, as text that a person can paste into a file."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator

import yaml

from tests.oracle.calls import Call, Request
from tests.oracle.meshes import Document

Shows = Callable[[list[Document], Call], bool]
"""Whether a mesh and a call still show what is looked for. It is also asked about meshes that make no sense."""
_Way = tuple[str | int, ...]
_PATIENCE = 4000
"""Attempts after which the smallest mesh so far has to do."""


def shrunk(documents: list[Document], call: Call, shows: Shows) -> tuple[list[Document], Call]:
    """Takes away what can be taken away: documents first, then their parts, then parts of the request."""
    left = _PATIENCE
    again = True
    while again:
        again = False
        for smaller in _smaller(documents):
            left -= 1
            if left and shows(smaller, call):
                documents, again = smaller, True
                break
    for request in _simpler(call.request):
        if shows(documents, dataclasses.replace(call, request=request)):
            call = dataclasses.replace(call, request=request)
    return documents, call


def pasteable(documents: list[Document]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, width=120)


def _smaller(documents: list[Document]) -> Iterator[list[Document]]:
    for at in reversed(range(len(documents))):
        yield documents[:at] + documents[at + 1 :]
    for at, document in enumerate(documents):
        for way in _parts(document, ()):
            made = copy.deepcopy(document)
            holder = made
            for step in way[:-1]:
                holder = holder[step]  # type: ignore[index]
            del holder[way[-1]]  # type: ignore[arg-type]
            yield [*documents[:at], made, *documents[at + 1 :]]


def _parts(value: object, way: _Way) -> Iterator[_Way]:
    """Ways to all parts of a value but the words that say what a document is."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        if step not in ("apiVersion", "kind", "metadata", "name", "namespace"):
            yield (*way, step)
        yield from _parts(child, (*way, step))


def _simpler(request: Request) -> Iterator[Request]:
    for at in range(len(request.headers)):
        yield dataclasses.replace(request, headers=request.headers[:at] + request.headers[at + 1 :])
    plain = Request()
    yield dataclasses.replace(request, host=plain.host)
    yield dataclasses.replace(request, method=plain.method)
    yield dataclasses.replace(request, path=plain.path)
    yield dataclasses.replace(request, headers=())
