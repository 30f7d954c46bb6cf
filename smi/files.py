"""Objects from a directory of YAML and JSON files, re-read when they change.

What people break keeps its last good version: a file that cannot be read or parsed (it may be half-written), and an
object that an edit makes invalid, just as a cluster refuses an invalid `kubectl apply` and keeps what it has. Only
what was never good is missing.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from smi import codes
from smi.claims import Claim, Claims
from smi.decode import Decoded
from smi.diagnostics import Diagnostic, Location, ObjectRef
from smi.directory import Listing, Stamp, list_directory
from smi.documents import MAX_TEXT
from smi.index import ObjectEvent
from smi.reading import read
from smi.watching import settled, stirrings


@dataclass(frozen=True, slots=True)
class FileChange:
    """What changed since the last look. `diagnostics` are all of the directory as it is now, not only new ones."""

    events: tuple[ObjectEvent, ...]
    diagnostics: tuple[Diagnostic, ...]


class FileSource:
    """The objects in `directory`. One task at a time may call `load()` or run `watch()`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stamps: dict[str, Stamp] = {}
        self._found: dict[str, tuple[Diagnostic, ...]] = {}
        self._claims = Claims()
        self.diagnostics: tuple[Diagnostic, ...] = ()

    def load(self) -> FileChange:
        """Read what changed since the last call, everything at first; blocks. Never raises for what files hold."""
        listing = list_directory(self._directory)
        for file, stamp in listing.files.items():
            known = self._stamps.get(file)
            if known is None or known != stamp or known.racy:
                self._read(file, stamp)
        for file in [file for file in self._stamps if file not in listing.files and not listing.hides(file)]:
            self._forget(file)
        events = self._claims.settle()
        self.diagnostics = self._all_diagnostics(listing)
        return FileChange(events, self.diagnostics)

    async def watch(self, stop: asyncio.Event | None = None) -> AsyncGenerator[FileChange, None]:
        """Yields after each change of objects or diagnostics, until `stop` is set. Changes missed before are seen too.

        An edit is seen within about 100 ms; changes that give no notice, such as those of a file behind a symbolic
        link into another directory, within half a second.
        """
        stop = stop or asyncio.Event()
        async with aclosing(stirrings(self._directory, stop)) as looks:
            async for _ in looks:
                await settled(self._directory, self._stamps)
                before = self.diagnostics
                change = await asyncio.to_thread(self.load)
                if change.events or change.diagnostics != before:
                    yield change

    def _read(self, file: str, stamp: Stamp) -> None:
        self._stamps[file] = stamp
        text = _read_text(self._directory / file, file)
        if isinstance(text, Diagnostic):
            self._take(file, [], [text], broken=True)
            return
        reading = read(text, file, self._claims.of_file(file))
        self._take(file, reading.outcomes, reading.found, broken=reading.broken)

    def _take(self, file: str, outcomes: list[Claim | Decoded], found: list[Diagnostic], *, broken: bool) -> None:
        """Claim what `file` holds now, and of what it held before what is needed to keep broken parts in force.

        `broken`: a part of the file could not be read, so that what is not in it may be in that part.
        """
        earlier: dict[ObjectRef, Claim] = {}
        for claim in self._claims.of_file(file):
            earlier.setdefault(claim.ref, claim)
        claims: list[Claim] = []
        flawed: list[tuple[ObjectRef, Decoded]] = []
        for outcome in outcomes:
            if isinstance(outcome, Claim):
                claims.append(outcome)
            elif outcome.ref is not None:
                good = outcome.ref in earlier and earlier[outcome.ref].intact
                if outcome.object is not None and (outcome.intact or not good):
                    claims.append(Claim(outcome.ref, outcome.object, outcome.intact))
                elif good:
                    flawed.append((outcome.ref, outcome))
        if flawed or broken:
            for claim in claims:
                earlier.pop(claim.ref, None)
            claims += _kept(earlier, flawed, found, lost_in=file if broken else "")
        self._claims.replace(file, tuple(claims))
        self._found[file] = tuple(found)

    def _forget(self, file: str) -> None:
        self._claims.replace(file, ())
        del self._stamps[file], self._found[file]

    def _all_diagnostics(self, listing: Listing) -> tuple[Diagnostic, ...]:
        found = [finding for findings in self._found.values() for finding in findings]
        found += self._claims.diagnostics()
        for path, reason in listing.unreadable.items():
            what, place = ("the directory", None) if path == "." else (path, Location(path, 1))
            found.append(codes.FILE_UNREADABLE.diagnostic(f"{what} cannot be read: {reason}", location=place))
        return tuple(sorted(found, key=Diagnostic.sort_key))


def _read_text(path: Path, file: str) -> str | Diagnostic:
    """The text of a file, or why there is none."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_TEXT + 1)
        if len(data) > MAX_TEXT:
            message = f"the file has more than {MAX_TEXT // 1024 // 1024} MiB"
            return codes.FILE_TOO_LARGE.diagnostic(message, location=Location(file, 1))
        return data.decode()
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or error}"
        return codes.FILE_UNREADABLE.diagnostic(message, location=Location(file, 1))
    except UnicodeDecodeError as error:
        place = Location(file, error.object.count(b"\n", 0, error.start) + 1)
        return codes.BAD_YAML.diagnostic("the file is not UTF-8 text", location=place)


def _kept(
    earlier: dict[ObjectRef, Claim], flawed: list[tuple[ObjectRef, Decoded]], found: list[Diagnostic], lost_in: str
) -> list[Claim]:
    """The claims of `earlier`, none of which is written now, that stay in force; `found` gets what is said of them.

    Those are the ones of `flawed` documents, and all others when the file `lost_in` may hold them where it is broken.
    """
    kept: dict[ObjectRef, Claim] = {}
    for ref, outcome in flawed:
        if ref in earlier and ref not in kept:
            kept[ref] = earlier[ref]
            found.append(_kept_object(ref, outcome))
    lost = {ref: claim for ref, claim in earlier.items() if ref not in kept} if lost_in else {}
    if lost:
        found.append(_kept_file(lost_in, found, list(lost)))
    return [dataclasses.replace(claim, kept=True, source=b"") for claim in (kept | lost).values()]


def _kept_object(ref: ObjectRef, outcome: Decoded) -> Diagnostic:
    message = f"{ref} keeps its last good version until the errors in it are repaired"
    place = outcome.diagnostics[0].location if outcome.diagnostics else None
    return codes.LAST_GOOD_KEPT.diagnostic(message, object=ref, location=place)


def _kept_file(file: str, found: list[Diagnostic], refs: list[ObjectRef]) -> Diagnostic:
    """Says which objects of a broken file are still those of its last good version, at its first error."""
    shown = ", ".join(str(ref) for ref in refs[:3])
    more = f" and {len(refs) - 3} more" if len(refs) > 3 else ""
    lines = [finding.location.line for finding in found if finding.location]
    message = f"the last good version of {shown}{more} keeps serving until the file can be read"
    return codes.LAST_GOOD_KEPT.diagnostic(message, location=Location(file, min(lines, default=1)))
