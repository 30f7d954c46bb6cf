"""`tulle convert`: the SMI objects of a file in other versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import click
import yaml

from deploy.cli.yaml_text import yaml_text
from smi import codes
from smi.conversion import VERSIONS, ConversionError, convert
from smi.diagnostics import Severity
from smi.documents import Document, parse_part, split
from smi.kept import KEPT, read
from smi.tree import LinedMapping, Texts, build_tree

LATEST = "latest"
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_GROUPS = tuple(dict.fromkeys(group for group, _ in VERSIONS))
_WORDS = {
    "port": "destination.port",
    "emptyRules": "what empty rules mean",
    "udpRules": "rules of kind UDPRoute",
    "headers": "headers",
    "spec": "spec.matches",
    "matches": "spec.matches",
    "weights": "weights as quantities",
    "rest": "unknown fields",
}
"""What the keys of the annotation stand for, in words of SMI."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The versions that were asked for: by API group, and for all groups that are not among these."""

    by_group: Mapping[str, str]
    otherwise: str | None

    def version(self, group: str, kind: str) -> str | None:
        """The version that a kind is to have; None when it is to stay as it is."""
        wanted = self.by_group.get(group, self.otherwise)
        return VERSIONS[group, kind][-1] if wanted == LATEST else wanted


def _targets(_: click.Context, __: click.Parameter, words: tuple[str, ...]) -> Targets:
    by_group: dict[str, str] = {}
    for word in words:
        group, _slash, version = word.rpartition("/")
        if group and group not in _GROUPS:
            raise click.BadParameter(f"{group!r} is no API group of SMI; there are {', '.join(_GROUPS)}")
        if group in by_group:
            raise click.BadParameter(f"two versions for {group or 'all groups'}: {by_group[group]} and {version}")
        there = sorted({each for (owner, _), known in VERSIONS.items() if group in ("", owner) for each in known})
        if version not in (*there, LATEST):
            raise click.BadParameter(f"there is no version {word!r}; there are {', '.join(there)}")
        by_group[group] = version
    return Targets(by_group, by_group.pop("", None))


@click.command("convert", short_help="Write the SMI objects of a file in another version.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--to",
    "targets",
    required=True,
    multiple=True,
    metavar="VERSION",
    callback=_targets,
    help="Such as v1alpha2, or latest; with an API group before it, as in split.smi-spec.io/v1alpha2, for that group "
    "only. May be repeated for several groups.",
)
def convert_file(file: str, *, targets: Targets) -> None:
    """Write the objects of FILE, or of standard input for -, to standard output, SMI objects in another VERSION.

    Nothing is lost: what a version cannot say goes into the annotation smi.tulle.dev/kept, with a line on standard
    error, and comes back from there. Lists stay lists. What is no SMI object, and what has its version already, is
    passed through letter by letter; documents that are converted lose their comments.

    Exits with 0 when all is written. When anything cannot be read or has no such version, it writes nothing but one
    line on standard error and exits with 1, or with 2 for options that cannot be understood.
    """
    with click.open_file(file, "rb") as stream:
        raw = stream.read()
    text, notes = _File("<stdin>" if file == "-" else file, targets).converted(raw)
    for note in notes:
        click.echo(note, err=True)
    click.echo(text, nl=False)


class _File:
    """One run over a file; `notes` are the lines for standard error."""

    def __init__(self, name: str, targets: Targets) -> None:
        self._name = name
        self._targets = targets
        self._notes: list[str] = []

    def converted(self, raw: bytes) -> tuple[str, list[str]]:
        """The whole output and the notes. Raises ClickException at the first thing that cannot be done."""
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise click.ClickException(f"{self._name}:{line}: the text is not UTF-8") from None
        parts, wrong = split(text, self._name)
        for finding in wrong:
            raise click.ClickException(f"{finding.location}: {finding.message}")
        texts = Texts()
        outputs = [self._part(part, offset, texts) for offset, part in parts]
        return "".join(_documents(outputs)), self._notes

    def _part(self, part: str, offset: int, texts: Texts) -> str:
        """One document of the file, converted or as it is."""
        _, findings = parse_part(part, offset, self._name, texts)
        for finding in findings:
            if finding.severity is Severity.ERROR and finding.code != codes.NOT_AN_OBJECT.code:
                raise click.ClickException(f"{finding.location}: {finding.message}")
        tree = build_tree(_PARSER(part).get_event, texts)
        if tree is None or not isinstance(tree.value, LinedMapping):
            return part
        document = Document(self._name, tree.value, offset + tree.line + 1, offset)
        value = self._object(tree.value, lambda *path: document.location(path))
        return part if value is tree.value else yaml_text(value)

    def _object(self, value: Mapping[str, Any], place: Callable[..., object]) -> Mapping[str, Any]:
        """An object, or a list of objects, in the version it is to have; itself when nothing is to be done."""
        group, kind = str(value.get("apiVersion")).rpartition("/")[0], str(value.get("kind"))
        items = value.get("items")
        if kind.endswith("List") and isinstance(items, list):
            return self._list(value, items, (group, kind.removesuffix("List")), place)
        if (group, kind) not in VERSIONS:
            if group in _GROUPS:
                self._notes.append(f"{place()}: {kind} of {group} is no kind that is converted; it stays as it is")
            return value
        version = self._targets.version(group, kind)
        if version is None or value["apiVersion"] == f"{group}/{version}":
            return value
        try:
            converted = convert(value, version)
        except ConversionError as error:
            raise click.ClickException(f"{place()}: {error}") from None
        self._notes += (f"{place()}: {note}" for note in _remarks(value, converted))
        return converted

    def _list(
        self, value: Mapping[str, Any], items: list[Any], of: tuple[str, str], place: Callable[..., object]
    ) -> Mapping[str, Any]:
        """A list such as `kind: List` or `kind: TrafficSplitList` with its items converted."""
        done = [
            self._object(item, lambda *path, at=at: place("items", at, *path)) if isinstance(item, dict) else item
            for at, item in zip(count(), items)
        ]
        changed = {**value, "items": done}
        version = self._targets.version(*of) if of in VERSIONS else None
        if version is not None and version in VERSIONS[of]:
            changed["apiVersion"] = f"{of[0]}/{version}"
        same = all(new is old for new, old in zip(done, items, strict=True))
        return value if same and changed["apiVersion"] == value.get("apiVersion") else changed


def _documents(outputs: list[str]) -> Iterator[str]:
    for position, text in enumerate(outputs):
        if position and not text.startswith("---"):
            yield "---\n"
        yield text if text.endswith("\n") else f"{text}\n"


def _remarks(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What a person should know about an object that was converted."""
    version = after["apiVersion"].rpartition("/")[2]
    metadata = after.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = "/".join(str(metadata[key])[:80] for key in ("namespace", "name") if metadata.get(key))
    earlier, kept = _kept(before), _kept(after)
    if kept is None:
        yield f"warning: {after['kind']} {name}: the annotation {KEPT} cannot be understood; nothing was kept in it"
        return
    new = [_WORDS[key] for key in kept if key in _WORDS and key not in (earlier or {})]
    if new:
        said = ", ".join(new)
        yield f"warning: {after['kind']} {name}: {version} cannot say {said}; kept in the annotation {KEPT}"


def _kept(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return read(annotations) if isinstance(annotations, dict) else {}
