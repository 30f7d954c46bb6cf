"""Rotation of the root without a failed request: which step is next, and what it waits for.

In: where the rotation is, what was observed of the proxies, the time. Out: a step, or what is missing for it.
Pure: `ca.state` keeps the phase and takes the steps.

    stable --BEGIN--> prepared --ACTIVATE--> activated --RETIRE--> stable

A proxy accepts a leaf when it trusts its root. So the new root is trusted by all before the first leaf of it
is issued, and the old root is trusted until nobody shows a leaf of it any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from ca.authority import ROOT_LIFETIME

ROOT_RENEWAL = ROOT_LIFETIME / 5
"""A rotation begins by itself when the root has less than this left, a fifth of its life."""


class Phase(StrEnum):
    """Where a rotation is."""

    STABLE = "stable"
    """One root."""
    PREPARED = "prepared"
    """Both roots are trusted; leaves come from the old one."""
    ACTIVATED = "activated"
    """Both roots are trusted; leaves come from the new one."""


class Step(StrEnum):
    """What leads from one phase to the next."""

    BEGIN = "begin"
    """stable -> prepared: make a new root, and trust it beside the old one."""
    ACTIVATE = "activate"
    """prepared -> activated: issue from the new root."""
    RETIRE = "retire"
    """activated -> stable: forget the old root, its key too."""


STEPS: Mapping[Phase, tuple[Step, Phase]] = MappingProxyType(
    {
        Phase.STABLE: (Step.BEGIN, Phase.PREPARED),
        Phase.PREPARED: (Step.ACTIVATE, Phase.ACTIVATED),
        Phase.ACTIVATED: (Step.RETIRE, Phase.STABLE),
    }
)
"""The one step out of each phase, and where it leads. None goes back, none can be left out."""


@dataclass(frozen=True, slots=True)
class RootLife:
    """One root: its id (`SigningCertificate.id`), its end, and whether its key is offline."""

    id: str
    ends: datetime
    offline: bool = False

    @property
    def renewal(self) -> datetime:
        """From when on a rotation is due."""
        return self.ends - ROOT_RENEWAL


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of the proxies, by name (`namespace/workload`)."""

    connected: frozenset[str] = frozenset()
    trusting: frozenset[str] = frozenset()
    """Those that acknowledged the bundle of the present phase. Whoever did so and is gone now may be among
    them: a running Envoy keeps what it acknowledged, and one that starts asks first.
    """
    moved: frozenset[str] = frozenset()
    """Those that acknowledged a leaf of the new root, as their latest."""
    absent: Mapping[str, datetime] = field(default_factory=dict, hash=False)
    """Workloads with a sidecar that are not connected, and when the last leaf ends that each may hold: the
    last that it got, or `CaState.leaves_end_at_start` when it was not seen since the control plane started.
    """


@dataclass(frozen=True, slots=True)
class RotationState:
    """All that `next_step` looks at."""

    phase: Phase
    root: RootLife
    """The root that was there before the rotation: the old one."""
    next_root: RootLife | None
    """The root that follows it; None in the stable phase."""
    since: datetime
    """When the phase began."""
    requested: bool = False
    """Whether a person asked for a rotation that has not begun yet."""
    old_leaves_end: datetime | None = None
    """When the last leaf of `root` ends; None when it issued none."""
    observed: Observed = field(default_factory=Observed)


class Reason(StrEnum):
    """Why a step is not taken yet."""

    NOT_DUE = "not-due"
    BUNDLE = "bundle"
    IDENTITY = "identity"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing a step waits for: the reason, the proxies it is about, and until when at the latest."""

    reason: Reason
    proxies: tuple[str, ...] = ()
    until: datetime | None = None

    def __str__(self) -> str:
        match self.reason:
            case Reason.NOT_DUE:
                return "nobody asked for a rotation" + (f", and none is due before {self.until}" if self.until else "")
            case Reason.BUNDLE:
                return f"{_counted(self.proxies)} to acknowledge the new trust bundle"
            case Reason.IDENTITY:
                return f"{_counted(self.proxies)} to acknowledge a certificate of the new root"
            case Reason.ABSENT:
                return f"{_counted(self.proxies)} to connect, or for their certificates to end at {self.until}"


def next_step(state: RotationState, now: datetime) -> Step | None:
    """The step to take now, or None while something is missing for it (`waits` says what)."""
    return None if waits(state, now) else STEPS[state.phase][0]


def waits(state: RotationState, now: datetime) -> tuple[Wait, ...]:
    """What the next step waits for; empty when it can be taken now."""
    if state.phase is Phase.STABLE:
        # Nobody but a person knows where to put the key of a root whose predecessor's is offline.
        due = None if state.root.offline else state.root.renewal
        if state.requested or (due is not None and now > due):
            return ()
        return (Wait(Reason.NOT_DUE, until=due),)
    if now >= state.root.ends:
        # All that the old root signed has ended with it: waiting protects nobody any more.
        return ()
    seen = state.observed
    found = [_missing(Reason.BUNDLE, seen.connected - seen.trusting)]
    ready = seen.trusting
    if state.phase is Phase.ACTIVATED:
        found.append(_missing(Reason.IDENTITY, seen.connected - seen.moved))
        ready &= seen.moved
    found.append(_absent(state, ready, now))
    return tuple(wait for wait in found if wait is not None)


def _missing(reason: Reason, proxies: Iterable[str]) -> Wait | None:
    names = tuple(sorted(proxies))
    return Wait(reason, names) if names else None


def _absent(state: RotationState, ready: frozenset[str], now: datetime) -> Wait | None:
    """Proxies that run on without us, it may be: with a leaf that others must trust, trusting what they last knew."""
    last = state.old_leaves_end
    if last is None or last <= now:
        return None
    seen = state.observed
    holding = {
        name: min(end, last)
        for name, end in seen.absent.items()
        if name not in ready and name not in seen.connected and min(end, last) > now
    }
    return Wait(Reason.ABSENT, tuple(sorted(holding)), max(holding.values())) if holding else None


def _counted(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return f"{len(names)} {'proxy' if len(names) == 1 else 'proxies'} ({shown}{', ...' if len(names) > 5 else ''})"
