"""The text of a file -> what its documents became; documents that are as they were the last time are not read again.

What a document becomes depends on nothing but its text, so the claim that it led to stands as long as the same text is
in the file, on whatever line. That counts for large files, which people edit one object at a time.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from smi.claims import Claim
from smi.decode import Decoded, decode
from smi.diagnostics import Diagnostic, Location, Severity
from smi.documents import Document, parse_part, split
from smi.tree import Texts


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of the documents of a file, in their order: a claim where nothing at all is to be said.

    `found` is everything that is wrong. `broken`: a part of the file could not be read.
    """

    outcomes: list[Claim | Decoded]
    found: list[Diagnostic]
    broken: bool


def read(text: str, file: str, earlier: Iterable[Claim]) -> Reading:
    """Read a file. `earlier` are the claims of the last reading of the same file."""
    known = {claim.source: claim for claim in earlier if claim.source}
    parts, found = split(text, file)
    texts = Texts()
    outcomes: list[Claim | Decoded] = []
    unnamed = False
    for offset, part in parts:
        source = hashlib.blake2b(part.encode(errors="surrogatepass"), digest_size=16).digest()
        if claim := known.get(source):
            outcomes.append(_at(claim, offset + claim.source_line))
            continue
        expanded = texts.expanded
        documents, wrong = parse_part(part, offset, file, texts)
        found += wrong
        decoded = [decode(document) for document in documents]
        if len(decoded) == 1 and not wrong and texts.expanded == expanded:
            outcomes.append(_claim(decoded[0], documents[0], source))
        else:
            outcomes += decoded
        unnamed = unnamed or any(outcome.ref is None and not outcome.intact for outcome in decoded)
    broken = unnamed or any(finding.severity is Severity.ERROR for finding in found)
    for outcome in outcomes:
        if isinstance(outcome, Decoded):
            found.extend(outcome.diagnostics)
    return Reading(outcomes, found, broken)


def _claim(decoded: Decoded, document: Document, source: bytes) -> Claim | Decoded:
    """The claim of a document of which there is nothing to say; what it became otherwise."""
    if decoded.object is None or decoded.ref is None or not decoded.intact or decoded.diagnostics:
        return decoded
    return Claim(decoded.ref, decoded.object, intact=True, source=source, source_line=document.line - document.offset)


def _at(claim: Claim, line: int) -> Claim:
    """The same claim at `line`."""
    if claim.place.line == line:
        return claim
    location = Location(claim.place.file, line)
    meta = dataclasses.replace(claim.object.meta, location=location)
    return dataclasses.replace(claim, object=dataclasses.replace(claim.object, meta=meta))
