"""What an object means does not depend on the version it is written in: decoding gives the same for all of them."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings

from smi.conversion import convert
from smi.decode import decode
from smi.documents import Document
from smi.kept import KEPT
from tests.unit.conversion.documents import crossed, journeys


def meaning(document: dict):
    """The object that a document is, without what conversion keeps in its annotations; None when it has no effect."""
    decoded = decode(Document("mesh.yaml", document, 1, 0))
    if decoded.object is None:
        return None
    meta = decoded.object.meta
    annotations = {key: value for key, value in meta.annotations.items() if key != KEPT}
    return dataclasses.replace(decoded.object, meta=dataclasses.replace(meta, annotations=annotations))


@settings(max_examples=600, deadline=None)
@given(journeys(junk=False, stops=2))
def test_an_object_means_the_same_at_every_version(journey):
    written, other, last = journey
    assert meaning(convert(written, other)) == meaning(written)
    assert meaning(convert(convert(written, other), last)) == meaning(written)


@settings(max_examples=600, deadline=None)
@given(journeys(junk=True, stops=2))
def test_an_object_with_mistakes_never_means_something_else_than_before(journey):
    """One that is refused may be in force elsewhere, with the limits that it names: `matches` of a v1alpha2 split."""
    written, other, last = journey
    meant = meaning(written)
    assert meant is None or meaning(convert(written, other)) == meant
    assert meant is None or meaning(convert(convert(written, other), last)) == meant


@settings(max_examples=400, deadline=None)
@given(crossed())
def test_fields_of_another_version_do_not_change_what_is_in_force(case):
    document, version = case
    meant = meaning(document)
    assert meant is None or meaning(convert(document, version)) == meant
