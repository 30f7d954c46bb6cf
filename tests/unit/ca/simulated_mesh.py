"""A mesh in fast motion: proxies that come, go, acknowledge or refuse, a control plane that restarts, and a clock that
is set now and then. Nothing is signed: a leaf is the root it comes from and its end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ca.authority import ROOT_LIFETIME
from ca.rotation import Observed, Phase, RootLife, RotationState, Step, next_step, waits

START = datetime(2027, 3, 1, tzinfo=UTC)
NAMES = tuple(f"shop/w{number}" for number in range(5))
NEXT = {Phase.STABLE: Phase.PREPARED, Phase.PREPARED: Phase.ACTIVATED, Phase.ACTIVATED: Phase.STABLE}


@dataclass
class Leaf:
    root: str
    ends: datetime


@dataclass
class Proxy:
    """What one Envoy holds: that stays while it is not connected, and goes when it stops."""

    running: bool = False
    connected: bool = False
    trusts: frozenset[str] = frozenset()
    leaf: Leaf | None = None
    refuses: bool = False
    sent_bundle: frozenset[str] | None = None
    sent_leaf: Leaf | None = None


@dataclass
class SimulatedMesh:
    """The control plane's state, as `CaState` keeps it and its driver observes it, and the proxies."""

    lifetime: timedelta
    offline: bool = False
    now: datetime = START
    phase: Phase = Phase.STABLE
    since: datetime = START
    requested: bool = False
    history: list[Phase] = field(default_factory=lambda: [Phase.STABLE])
    roots: list[RootLife] = field(default_factory=list)
    leaves_end: dict[str, datetime] = field(default_factory=dict)
    proxies: dict[str, Proxy] = field(default_factory=lambda: {name: Proxy() for name in NAMES})
    # What the driver remembers until the control plane restarts.
    trusting: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    given: dict[str, datetime] = field(default_factory=dict)
    end_at_start: datetime | None = None
    made: int = 0

    def __post_init__(self) -> None:
        self.roots.append(self._new_root())

    @property
    def bundle(self) -> frozenset[str]:
        return frozenset(root.id for root in self.roots)

    @property
    def issuing(self) -> RootLife:
        return self.roots[-1] if self.phase is Phase.ACTIVATED else self.roots[0]

    def state(self) -> RotationState:
        connected = frozenset(name for name, proxy in self.proxies.items() if proxy.connected)
        ends = {name: self.given.get(name, self.end_at_start) for name in NAMES if name not in connected}
        return RotationState(
            self.phase,
            self.roots[0],
            self.roots[1] if len(self.roots) > 1 else None,
            self.since,
            self.requested,
            self.leaves_end.get(self.roots[0].id),
            Observed(
                connected,
                frozenset(self.trusting),
                frozenset(self.moved),
                {name: end for name, end in ends.items() if end is not None},
            ),
        )

    def drive(self) -> Step | None:
        """One look of the driver: take the next step if there is one."""
        state = self.state()
        step = next_step(state, self.now)
        assert (step is None) == bool(waits(state, self.now))
        match step:
            case Step.BEGIN:
                assert self.phase is Phase.STABLE
                self.roots.append(self._new_root())
                self.requested = False
                self._enter(Phase.PREPARED)
                self._push_bundle()
            case Step.ACTIVATE:
                assert self.phase is Phase.PREPARED
                self._enter(Phase.ACTIVATED)
                self.moved.clear()
                for name, proxy in self.proxies.items():
                    if proxy.connected:
                        self._send_leaf(name)
            case Step.RETIRE:
                assert self.phase is Phase.ACTIVATED
                gone = self.roots.pop(0)
                self.leaves_end.pop(gone.id, None)
                self._enter(Phase.STABLE)
                self._push_bundle()
        return step

    def connect(self, name: str) -> None:
        proxy = self.proxies[name]
        if not proxy.connected:
            proxy.running = proxy.connected = True
            proxy.sent_bundle = self.bundle
            self.trusting.discard(name)
            self.moved.discard(name)
            self._send_leaf(name)

    def disconnect(self, name: str) -> None:
        """The stream breaks; the Envoy runs on."""
        proxy = self.proxies[name]
        proxy.connected, proxy.sent_bundle, proxy.sent_leaf = False, None, None

    def kill(self, name: str) -> None:
        self.disconnect(name)
        self.proxies[name] = Proxy(refuses=self.proxies[name].refuses)

    def acknowledge(self, name: str) -> None:
        """It takes what was sent, the bundle before the leaf; or refuses."""
        proxy = self.proxies[name]
        if not proxy.connected or proxy.refuses:
            return
        if proxy.sent_bundle is not None:
            proxy.trusts, proxy.sent_bundle = proxy.sent_bundle, None
            self.trusting.add(name)
        elif proxy.sent_leaf is not None:
            proxy.leaf, proxy.sent_leaf = proxy.sent_leaf, None
            if proxy.leaf.root == self.issuing.id:
                self.moved.add(name)

    def restart(self) -> None:
        """The control plane: all streams break, all that it did not store is forgotten."""
        for name in NAMES:
            self.disconnect(name)
        self.trusting.clear()
        self.moved.clear()
        self.given.clear()
        self.end_at_start = max(self.leaves_end.values(), default=None)

    def renew(self) -> None:
        """Leaves past two thirds of their life are replaced."""
        for name, proxy in self.proxies.items():
            given = self.given.get(name)
            if proxy.connected and (given is None or given - self.now < self.lifetime / 3):
                self._send_leaf(name)

    def check(self) -> None:
        """What must hold at every moment."""
        live = [
            proxy
            for proxy in self.proxies.values()
            if proxy.running and proxy.leaf is not None and proxy.leaf.ends > self.now
        ]
        for holder in live:
            assert holder.leaf is not None
            for peer in live:
                # More than that those who acknowledged believe each other: those who run on by themselves, too.
                assert holder.leaf.root in peer.trusts, (self.phase, holder, peer)

    def _send_leaf(self, name: str) -> None:
        root = self.issuing
        leaf = Leaf(root.id, min(self.now + self.lifetime, root.ends))
        assert root.id in self.bundle
        self.leaves_end[root.id] = max(leaf.ends, self.leaves_end.get(root.id, leaf.ends))
        self.given[name] = leaf.ends
        self.proxies[name].sent_leaf = leaf

    def _push_bundle(self) -> None:
        self.trusting.clear()
        for proxy in self.proxies.values():
            if proxy.connected:
                proxy.sent_bundle = self.bundle

    def _enter(self, phase: Phase) -> None:
        assert phase is NEXT[self.phase]
        self.phase, self.since = phase, self.now
        self.history.append(phase)

    def _new_root(self) -> RootLife:
        self.made += 1
        return RootLife(f"root-{self.made}", self.now + ROOT_LIFETIME, self.offline)


def wander(mesh: SimulatedMesh, source: random.Random, *, longest: timedelta) -> None:
    """One thing that happens by chance, and the time until it does."""
    mesh.now += longest * source.random() ** 8
    name = source.choice(NAMES)
    match source.choices(
        ["connect", "disconnect", "kill", "ack", "restart", "renew", "request", "refuse", "drive"],
        [6, 2, 1, 12, 0.5, 3, 0.5, 0.7, 8],
    )[0]:
        case "connect":
            mesh.connect(name)
        case "disconnect":
            mesh.disconnect(name)
        case "kill":
            mesh.kill(name)
        case "ack":
            mesh.acknowledge(name)
        case "restart":
            mesh.restart()
        case "renew":
            mesh.renew()
        case "request":
            mesh.requested = True
        case "refuse":
            mesh.proxies[name].refuses = not mesh.proxies[name].refuses
        case "drive":
            mesh.drive()
    mesh.check()


def settle(mesh: SimulatedMesh) -> int:
    """Everybody connects and acknowledges; how many looks of the driver it takes until nothing is left to do."""
    looks = 0
    for name in NAMES:
        mesh.proxies[name].refuses = False
        mesh.connect(name)
    while True:
        for name in NAMES:
            mesh.acknowledge(name)
            mesh.acknowledge(name)
        mesh.check()
        looks += 1
        if mesh.drive() is None:
            return looks
        mesh.check()
        assert looks < 20
