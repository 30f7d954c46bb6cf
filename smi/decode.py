"""Decodes one document into one object: the entry point of decoding. Never raises, whatever the document holds."""

from __future__ import annotations

from dataclasses import dataclass

from smi import codes
from smi.diagnostics import Diagnostic, ObjectRef
from smi.documents import Document
from smi.fields import Fields
from smi.names import closest, is_label
from smi.objects import MeshObject, Meta
from smi.report import Report
from smi.versions import DRAFTS, KINDS, NOT_BUILT, Kind, find_kind


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of a document. `ref` names the object that it is, or very likely means to be.

    `object` is None when it cannot be in force. `intact` is False when an error leaves out the object or a part of
    it, or when a misspelt kind does: such a document does not replace an earlier good one.
    """

    ref: ObjectRef | None
    object: MeshObject | None
    intact: bool
    diagnostics: tuple[Diagnostic, ...]


def decode(document: Document) -> Decoded:
    """The object in `document`, of any known kind and version, and everything that is wrong with it."""
    report = Report(document)
    root = Fields(report, (), document.value)
    root.ignore("metadata", "status")
    api_version, name = root.raw("apiVersion"), root.raw("kind")
    if not isinstance(api_version, str) or not isinstance(name, str) or not api_version or not name:
        key = "kind" if isinstance(api_version, str) and api_version else "apiVersion"
        report.add(codes.NOT_AN_OBJECT, (key,), "a document must have the texts apiVersion and kind")
        return Decoded(None, None, intact=False, diagnostics=report.diagnostics())
    group, _, version = api_version.rpartition("/")
    kind = find_kind(group, name)
    if kind is None:
        return _not_read(root, group, name)
    meta = _meta(root, kind)
    value: MeshObject | None = None
    if meta is not None:
        report.object = ObjectRef(kind.name, meta.namespace, meta.name)
        decoder = kind.decoders.get(version)
        if decoder is not None:
            value = decoder(root, meta)
        else:
            draft = ", a draft that was never released" if (group, version) in DRAFTS else ""
            message = f"{kind.name} in version {version[:60]!r}{draft}; accepted is {kind.accepted}"
            report.add(codes.UNKNOWN_VERSION, ("apiVersion",), message, f"Write it as {kind.accepted}.")
    return Decoded(report.object, value, report.left_out == 0, report.diagnostics())


def _not_read(root: Fields, group: str, name: str) -> Decoded:
    """The outcome for a kind that is not read: ignored, but a misspelt kind still tells which object is meant."""
    report = root.report
    if (group, name) in NOT_BUILT:
        message = f"{name} belongs to a draft of SMI that was never released; the object is ignored"
        report.add(codes.NOT_BUILT, ("kind",), message)
        return Decoded(None, None, intact=True, diagnostics=report.diagnostics())
    meant = _meant(name)
    if meant is None:
        hint = ""
    elif meant.name == name:
        hint = f"Did you mean apiVersion: {meant.accepted}? The group {group[:60]!r} has another {name}."
    else:
        hint = f"Did you mean {meant.name!r} of {meant.accepted}?"
    message = f"{name[:60]} of the group {group[:60]!r} is not a kind that the mesh reads; it is ignored"
    report.add(codes.UNKNOWN_KIND, ("kind",), message, hint)
    found = report.diagnostics()
    unseen = Fields(Report(report.document), (), report.document.value)
    meta = _meta(unseen, meant) if meant else None
    if meant is None or meta is None:
        metadata = root.raw("metadata")
        # Every object has a name. Without one, this may be the beginning of a file that is being written.
        has_name = isinstance(metadata, dict) and bool(metadata.get("name") or metadata.get("generateName"))
        return Decoded(None, None, intact=has_name, diagnostics=found)
    return Decoded(ObjectRef(meant.name, meta.namespace, meta.name), None, intact=False, diagnostics=found)


def _meant(name: str) -> Kind | None:
    """The kind that a person most likely meant: of the same name in another group, or of nearly that name."""
    meant = closest(name, [kind.name for kind in KINDS])
    return next((kind for kind in KINDS if kind.name == meant), None)


def _meta(root: Fields, kind: Kind) -> Meta | None:
    """The metadata; None without a valid name and namespace. A missing namespace is `default`, as for kubectl."""
    fields = root.child("metadata", required=True)
    if fields is None:
        return None
    before = root.report.left_out
    name = fields.text("name", required=True)
    if name and not kind.valid_name(name):
        expected = "a DNS label" if kind.valid_name is is_label else "a DNS subdomain"
        fields.wrong(codes.BAD_NAME, "name", f"{expected} in lower case")
    namespace = (fields.label("namespace") or "default") if kind.has_namespace else ""
    if root.report.left_out > before:
        return None
    created = fields.raw("creationTimestamp")
    return Meta(
        namespace=namespace,
        name=name,
        labels=fields.text_map("labels"),
        annotations=fields.text_map("annotations"),
        created=created if isinstance(created, str) else "",
        location=root.report.document.location(),
    )
