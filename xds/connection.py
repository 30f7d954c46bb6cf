"""One admitted stream on the wire: what it reads, what it writes, and what ends it.

In: a gRPC context and the sans-I/O ``Stream``. The handler of the stream reads; a writer, which exists only while
there is something to write, sends what the stream has to say. A slow reader blocks its own writer only; meanwhile its
changes merge, and when one response is not taken for ``WRITE_DEADLINE`` seconds the stream ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from xds.admission import Place
from xds.records import Records
from xds.refusal import Refused
from xds.status import ProxyStatus
from xds.stream import Ack, Nack, ProtocolError, Response
from xds.view import Change

WRITE_DEADLINE = 60.0
_log = logging.getLogger(__name__)


class Connection:
    """The shell around one stream. It is the store's ``Sink`` of its proxy."""

    __slots__ = (
        "_again",
        "_alarm",
        "_alarm_at",
        "_client_is_done",
        "_context",
        "_end",
        "_fanout_round",
        "_forced",
        "_parse",
        "_place",
        "_reader",
        "_records",
        "_status",
        "_stream",
        "_told",
        "_under_way",
        "_writer",
    )

    def __init__(
        self, context: Any, status: ProxyStatus, parse: Callable[[bytes], Any], records: Records, place: Place
    ) -> None:
        self._context = context
        self._status = status
        self._stream = status.stream
        self._parse = parse
        self._records = records
        self._place: Place | None = place
        self._reader: asyncio.Task[Any] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._again = False
        self._fanout_round = 0
        self._under_way = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None
        self._end: Refused | None = None
        self._told = False
        self._client_is_done = False
        self._forced = False

    # -- from the store and the server

    def offer(self, changes: Sequence[Change]) -> None:
        self._stream.offer(changes, time.monotonic())
        fanout = self._records.fanout
        if not self._fanout_round and (not self._under_way or fanout.counts(self._under_way)):
            self._fanout_round = fanout.begin()
        # Not written at once: a change of the mesh may be several of the store.
        self._stir()

    def revoke(self, reason: str) -> None:
        self.end(grpc.StatusCode.NOT_FOUND, reason)

    def end(self, code: grpc.StatusCode, reason: str) -> None:
        """End the stream with a status; the first call counts."""
        if self._end is None:
            self._end = Refused(code, reason)
            self._stir()

    def give_up(self) -> None:
        """End a stream whose client does not read."""
        self._forced = True
        self.end(grpc.StatusCode.DEADLINE_EXCEEDED, "the client does not read its responses")
        for task in (self._writer, self._reader):
            if task is not None:
                task.cancel()

    # -- its life

    def begin(self, first: Any) -> None:
        """Take the first request, before ``run``."""
        self._take(first)

    async def run(self) -> Refused | None:
        """Serve until the stream is over; the caller is the handler of the stream.

        Returns the status that we have ended it with, if it was us. Raises Refused where that is still to be sent.
        """
        self._reader = asyncio.current_task()
        try:
            self._look()
            await self._read()
            self._client_is_done = True
            if self._writer is not None:
                await self._writer
        except asyncio.CancelledError:
            if not self._forced or self._reader is None:
                raise
            self._reader.uncancel()
        finally:
            self._leave()
        if self._end is not None and not self._told:
            raise self._end
        return self._end

    def _leave(self) -> None:
        self._release_place()
        self._silence_alarm()
        self._records.writes.end(self)
        self._records.rejections.forget(self._status)
        self._leave_fanouts()
        if self._writer is not None:
            self._writer.cancel()

    # -- reading

    async def _read(self) -> None:
        # A pending read is not cancelled where that can be avoided, which leaks in gRPC (grpc#43360): ending the
        # stream from the writer makes it raise.
        try:
            while self._end is None:
                data = await self._context.read()
                if data is grpc.aio.EOF:
                    return
                self._take(self._parse(data))
                self._look()
                # The first requests name everything; between messages nothing of them stays.
                del data
        except DecodeError:
            self.end(grpc.StatusCode.INVALID_ARGUMENT, "a request could not be decoded")
        except (grpc.RpcError, grpc.aio.BaseError):
            pass  # the stream is over

    def _take(self, request: Any) -> None:
        status = self._status
        node = request.node.id
        if node and node != status.proxy:
            self.end(grpc.StatusCode.INVALID_ARGUMENT, f"node id {node[:256]!r}: this stream began as {status.proxy!r}")
            return
        now = time.monotonic()
        try:
            answer = self._stream.receive(request, now)
        except ProtocolError as error:
            self.end(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            return
        if isinstance(answer, Ack):
            self._records.acknowledged(status, answer, now)
            if self._place is not None and self._stream.settled:
                self._release_place()
        elif isinstance(answer, Nack):
            self._records.rejected(status, answer)
        self._records.rejections.review(status)

    def _release_place(self) -> None:
        if self._place is not None:
            self._place.release()
            self._place = None

    # -- writing

    def _look(self) -> None:
        """After a request: begin to write if there is something to say."""
        if self._writer is not None:
            self._again = True
        elif self._end is None:
            responses = self._stream.poll(time.monotonic())
            if responses:
                self._writer = asyncio.create_task(self._write(responses))
            else:
                self._set_alarm()

    def _stir(self) -> None:
        """Have a writer look, soon, whether there is something to say."""
        self._again = True
        if self._writer is None:
            self._writer = asyncio.create_task(self._write([]))

    async def _write(self, responses: list[Response]) -> None:
        try:
            await self._send(responses)
            while self._again and not self._over():
                self._again = False
                # What is offered from here on is another fan-out, even where this client is slow to read.
                self._under_way, self._fanout_round = self._fanout_round, 0
                await self._send(self._stream.poll(time.monotonic()))
                self._leave_fanout(self._under_way)
                self._under_way = 0
            if self._end is not None and not self._forced:
                self._told = True
                await self._context.abort(self._end.code, self._end.reason)
        except (grpc.RpcError, grpc.aio.BaseError):
            pass  # the client is gone, or has just been told to go
        except asyncio.CancelledError:
            if not self._forced:
                raise
        except Exception:  # noqa: BLE001  # our bug: loud here; its text may hold secrets and is not for the peer
            _log.exception("a stream ended by an error of ours")
            self._end = Refused(grpc.StatusCode.INTERNAL, "internal error of the control plane")
            self._forced = True
            if self._reader is not None:
                self._reader.cancel()
        finally:
            self._writer = None
            if self._place is not None:
                self._place.written()
            self._records.rejections.review(self._status)
            self._leave_fanouts()
            self._set_alarm()

    async def _send(self, responses: Sequence[Response]) -> None:
        for response in responses:
            if self._end is not None:
                return
            data = response.encode()
            self._records.writes.begin(self)
            try:
                await self._context.write(data)
            finally:
                self._records.writes.end(self)
            self._records.metrics.sent(response, len(data))

    def _over(self) -> bool:
        return self._end is not None or self._client_is_done

    def _leave_fanouts(self) -> None:
        self._leave_fanout(self._under_way)
        self._leave_fanout(self._fanout_round)
        self._under_way = self._fanout_round = 0

    def _leave_fanout(self, round_: int) -> None:
        if round_:
            self._records.fanout.end(round_)

    # -- time

    def _set_alarm(self) -> None:
        """Have the stream looked at when it wants to be, though nothing may happen."""
        due = None if self._over() else self._stream.deadline()
        if due == self._alarm_at:
            return
        self._silence_alarm()
        if due is not None:
            self._alarm_at = due
            self._alarm = asyncio.get_running_loop().call_later(max(0.0, due - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm = self._alarm_at = None
        self._stir()

    def _silence_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._alarm_at = None
