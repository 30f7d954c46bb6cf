"""How many streams may begin at once.

To begin is what costs: a certificate is made, everything is sent. After a restart all proxies begin at once, and were
they all served at once, each would wait for all, and so would every change for the streams that are settled. So only
``places`` streams are in their *initial phase*; the others wait in the order in which they came. The phase ends when
the proxy has acknowledged its first answers, or shortly after those were written: it is our work that is limited, not
the time that proxies take to apply what they got. Whoever keeps us from writing has the place for a second.

Measured with 800 proxies that began at once, 200 services each (1.8 ms of our CPU): the number of places makes no
difference to when the last one is served. Without a limit a change took up to 156 ms to reach a settled proxy, with 16
places up to 44 ms. Where each took 0.3 s to acknowledge, waiting for that made 1.8 s of work last 12.6 s; now 3 s.

A proxy has one place, and one turn in the queue: its newest stream has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from xds.overdue import Overdue
from xds.refusal import Refused

PLACES = 16
LONGEST_PHASE = 1.0
LONGEST_ANSWER = 0.05
LONGEST_QUEUE = 10_000
LONGEST_WAIT = 60.0


class Place:
    """The permission to begin. ``release`` gives it to the next; doing so twice does no harm.

    ``written`` says that the first answers are on their way.
    """

    __slots__ = ("_admission", "proxy")

    def __init__(self, admission: Admission, proxy: str) -> None:
        self._admission = admission
        self.proxy = proxy

    def written(self) -> None:
        self._admission.written(self)

    def release(self) -> None:
        self._admission.release(self)


class Admission(Collector):
    """The places, and who waits for one. A Prometheus collector.

    Times are in seconds: ``longest_phase`` until the first answers are written, ``longest_answer`` from then on.
    """

    def __init__(
        self,
        *,
        places: int = PLACES,
        longest_phase: float = LONGEST_PHASE,
        longest_answer: float = LONGEST_ANSWER,
        longest_queue: int = LONGEST_QUEUE,
        longest_wait: float = LONGEST_WAIT,
    ) -> None:
        self.authenticating = asyncio.Semaphore(places)
        """Held while a peer is authenticated: it is not known yet which proxy's turn it would be."""
        self._places = places
        self._longest_queue = longest_queue
        self._longest_wait = longest_wait
        self._active: dict[str, Place] = {}
        self._phases: Overdue[Place] = Overdue(longest_phase, self._expired)
        self._answers: Overdue[Place] = Overdue(longest_answer, self._expired)
        self._queue: dict[str, asyncio.Future[Place]] = {}
        self._closed: Refused | None = None
        self._admitted = self._refused = self._late = 0

    async def enter(self, proxy: str) -> Place:
        """Wait for a place. Raises Refused."""
        self.must_be_open()
        older = self._queue.get(proxy)
        if older is None:
            if len(self._active) < self._places and not self._queue:
                return self._take(proxy)
            if len(self._queue) >= self._longest_queue:
                raise self._refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many proxies are waiting to be served")
        elif not older.done():
            older.set_exception(self._refusal(grpc.StatusCode.UNAVAILABLE, "a newer stream of this proxy is waiting"))
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[Place] = loop.create_future()
        self._queue[proxy] = turn
        timer = loop.call_later(self._longest_wait, self._too_long, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                turn.result().release()
            raise
        finally:
            timer.cancel()
            if self._queue.get(proxy) is turn:
                del self._queue[proxy]

    def written(self, place: Place) -> None:
        """See ``Place.written``."""
        if self._active.get(place.proxy) is place and self._phases.end(place):
            self._answers.begin(place)

    def release(self, place: Place) -> None:
        """See ``Place.release``."""
        if self._active.get(place.proxy) is place:
            self._forget(place)
            self._next()

    def _forget(self, place: Place) -> None:
        del self._active[place.proxy]
        self._phases.end(place)
        self._answers.end(place)

    def must_be_open(self) -> None:
        """Raises Refused after ``close``."""
        if self._closed is not None:
            raise self._refusal(self._closed.code, self._closed.reason)

    def close(self, code: grpc.StatusCode, reason: str) -> None:
        """Refuse who waits, and who comes from now on."""
        self._closed = Refused(code, reason)
        for turn in self._queue.values():
            if not turn.done():
                turn.set_exception(self._refusal(code, reason))
        self._queue.clear()

    def _take(self, proxy: str) -> Place:
        older = self._active.get(proxy)
        if older is not None:
            self._forget(older)
        place = self._active[proxy] = Place(self, proxy)
        self._phases.begin(place)
        self._admitted += 1
        return place

    def _next(self) -> None:
        while self._queue and len(self._active) < self._places:
            proxy = next(iter(self._queue))
            turn = self._queue.pop(proxy)
            if not turn.done():
                turn.set_result(self._take(proxy))

    def _expired(self, place: Place) -> None:
        self._late += 1
        self.release(place)

    def _too_long(self, turn: asyncio.Future[Place]) -> None:
        if not turn.done():
            turn.set_exception(self._refusal(grpc.StatusCode.UNAVAILABLE, "too many proxies begin at once"))

    def _refusal(self, code: grpc.StatusCode, reason: str) -> Refused:
        self._refused += 1
        return Refused(code, reason)

    def collect(self) -> Iterator[Metric]:
        """The metrics of admission."""
        for name, text, value in (
            ("waiting", "Streams that wait for a place to begin", len(self._queue)),
            (
                "initial",
                "Streams that have not yet acknowledged their first answers, of those counted",
                len(self._active),
            ),
        ):
            yield GaugeMetricFamily(f"tulle_xds_streams_{name}", text, value)
        for name, text, value in (
            ("admitted", "Streams that got a place to begin", self._admitted),
            ("turned_away", "Streams that got no place", self._refused),
            ("initial_late", "Streams whose place went to the next before they had acknowledged", self._late),
        ):
            yield CounterMetricFamily(f"tulle_xds_streams_{name}", text, value)
