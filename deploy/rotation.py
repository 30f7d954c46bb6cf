"""Drives the rotation of the root: sees who has acknowledged what, takes each step when its conditions hold, and has
everybody follow it.

In: acknowledgements, connects and disconnects of proxies, requests (a file), the clock. Out: steps of `CaState`, and
after each of them what makes it true: join directories, the trust secret, certificates. What a crash interrupts, the
next start makes up for: it begins with all of that from the state as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from watchfiles import awatch

from ca.authority import AuthorityError
from ca.deadlines import Urgency
from ca.private_file import StateError
from ca.rotation import Observed, Phase, RotationState, Step, next_step, waits
from ca.rotation_request import REQUEST
from ca.state import CaState
from deploy.acknowledgements import Acknowledgements
from deploy.clock import now
from deploy.identities import Identities
from deploy.join_directories import JoinDirectories
from deploy.rotation_status import RotationStatus, ServingMark, write_status
from deploy.trust import Trust
from smi.model import Mesh

_log = logging.getLogger(__name__)
_LOOK_EVERY = 5.0
"""Seconds between looks when nothing is heard; what counts is heard of at once."""
_TELL_EVERY = 0.5
"""Seconds between looks while proxies come, go and answer, for whoever watches."""
_RETRY = 1.0
_WATCH_TIMEOUT_MS = 5000


@dataclass(frozen=True, slots=True)
class Followers:
    """What follows a step. The control plane's own certificate does so by itself, with its next handshake."""

    joins: JoinDirectories
    trust: Trust
    identities: Identities


class Rotation:
    """An ``xds.presence.Observer``, which passes what it hears on to the identities; `run` drives."""

    def __init__(
        self,
        state: CaState,
        state_dir: Path,
        mesh: Callable[[], Mesh],
        followers: Followers,
        acknowledgements: Acknowledgements,
    ) -> None:
        self._state = state
        self._state_dir = state_dir
        self._mesh = mesh
        self._followers = followers
        self._seen = acknowledgements
        self._owed: list[Callable[[], Awaitable[None]]] = []
        self._woken = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None
        self._told: RotationStatus | None = None
        self._problem: str | None = None
        self._warned: set[tuple[str, str, Urgency]] = set()
        self._mark = ServingMark(state_dir)
        followers.identities.on_renewed = self.on_ack

    # -- what is heard

    async def on_connect(self, proxy: str) -> None:
        """The proxy gets its certificate before its first answer."""
        await self._followers.identities.on_connect(proxy)
        self._seen.enter(proxy)
        self._heard()

    async def on_disconnect(self, proxy: str) -> None:
        await self._followers.identities.on_disconnect(proxy)
        self._seen.leave(proxy)
        self._heard()

    def on_ack(self, proxy: str) -> None:
        """A proxy has accepted something, or was given something that it need not accept."""
        if self._seen.missing and self._seen.look(proxy):
            self._heard()

    def _heard(self) -> None:
        """Look at once if a rotation waits for nobody any more, else soon: with many proxies a look is dear."""
        if self._state.phase is not Phase.STABLE and not self._seen.missing:
            self._woken.set()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_TELL_EVERY, self._woken.set)

    # -- the loop

    async def run(self) -> None:
        """Drive until cancelled."""
        self._seen.begin(same_roots=False)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_requests())
                group.create_task(self._drive())
        finally:
            self._mark.close()

    async def _follow_requests(self) -> None:
        while True:
            try:
                async for _ in awatch(
                    self._state_dir / "ca",
                    watch_filter=lambda _, path: Path(path).name == REQUEST,
                    debounce=100,
                    step=20,
                    recursive=False,
                    rust_timeout=_WATCH_TIMEOUT_MS,
                    yield_on_timeout=True,
                ):
                    self._woken.set()
            except OSError as error:
                # Then requests are seen when we look anyway.
                _log.warning("cannot watch %s: %s", self._state_dir / "ca", error)
                await asyncio.sleep(_LOOK_EVERY)

    async def _drive(self) -> None:
        while True:
            self._woken.clear()
            wait = await self._turn()
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                self._seen.look_again()

    async def _turn(self) -> float:
        """Take every step that can be taken now. Returns the seconds until it is worth to look again."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        moment = now()
        try:
            marked = self._mark.put()
            await self._follow_up()
            state = self._observed(moment)
            while (step := next_step(state, moment)) is not None:
                self._take(step, moment)
                self._tell(self._observed(moment), moment)
                await self._follow_up()
                moment = now()
                state = self._observed(moment)
            self._warn(moment)
            self._problem = None
            self._tell(state, moment)
        except (StateError, AuthorityError, OSError) as error:
            self._complain(str(error))
            return _RETRY
        if not marked:
            return _RETRY
        ends = [(each.until - moment).total_seconds() for each in waits(state, moment) if each.until is not None]
        return max(0.0, min([_LOOK_EVERY, *ends]))

    def _observed(self, moment: datetime) -> RotationState:
        if self._state.phase is Phase.STABLE:
            return self._state.rotation(Observed())
        seen = self._seen
        observed = Observed(
            frozenset(seen.connected), frozenset(seen.trusting), frozenset(seen.moved), self._absent(moment)
        )
        return self._state.rotation(observed)

    def _absent(self, moment: datetime) -> Mapping[str, datetime]:
        """Proxies that are not connected, and when the last certificate ends that each may hold."""
        ends, before = self._followers.identities.ends(moment), self._state.leaves_end_at_start
        found = {
            str(key): ends.get(str(key), before) for key in self._mesh().proxies if str(key) not in self._seen.connected
        }
        return {proxy: end for proxy, end in found.items() if end is not None}

    # -- steps

    def _take(self, step: Step, moment: datetime) -> None:
        self._state.advance(step, moment)
        match step:
            case Step.BEGIN:
                _log.info("rotation of the root: the new root is to be trusted beside the old one")
                self._owed += [self._write_joins, self._push_trust]
            case Step.ACTIVATE:
                _log.info("rotation of the root: certificates come from the new root now")
                self._owed += [self._reissue]
            case Step.RETIRE:
                _log.info("rotation of the root: the old root is gone")
                self._owed += [self._write_joins, self._push_trust]
        self._seen.begin(same_roots=step is Step.ACTIVATE)

    async def _follow_up(self) -> None:
        """Do what steps have left to do, in order. What fails is tried again before any other step is taken."""
        while self._owed:
            await self._owed[0]()
            del self._owed[0]

    async def _write_joins(self) -> None:
        await self._followers.joins.refresh(self._mesh().proxies)

    async def _push_trust(self) -> None:
        self._followers.trust.push()

    async def _reissue(self) -> None:
        self._followers.identities.reissue()

    # -- what is said

    def _tell(self, state: RotationState, moment: datetime) -> None:
        seen, rotating = self._seen, state.phase is not Phase.STABLE
        status = RotationStatus(
            phase=state.phase,
            since=state.since,
            root=state.root.id,
            next_root=None if state.next_root is None else state.next_root.id,
            proxies=len(self._mesh().proxies),
            connected=len(seen.connected),
            trusting=len(seen.trusting & seen.connected) if rotating else 0,
            moved=len(seen.moved & seen.connected),
            waits=waits(state, moment),
            problem=self._problem,
        )
        if status != self._told:
            self._write(status)

    def _write(self, status: RotationStatus) -> None:
        write_status(self._state_dir, status)
        self._told = status

    def _complain(self, problem: str) -> None:
        """Something is wrong that a person must see to; it is tried again all the same."""
        if problem == self._problem:
            return
        _log.error("the rotation of the root cannot go on: %s", problem)
        self._problem = problem
        if self._told is not None:
            with suppress(StateError):  # the log has it
                self._write(replace(self._told, waits=(), problem=problem))

    def _warn(self, moment: datetime) -> None:
        """Say once, and again when it gets urgent, what nobody but a person can renew."""
        for deadline in self._state.deadlines():
            urgency = deadline.urgency(moment)
            key = (deadline.subject, deadline.root, urgency)
            if deadline.action is not None and urgency is not Urgency.LATER and key not in self._warned:
                self._warned.add(key)
                about = f"{deadline.subject} {deadline.root}"
                _log.warning("the %s ends at %s: %s", about, deadline.ends, deadline.action)
