"""One admitted stream on the wire: a reader, a writer, and what ends them.

In: a gRPC context and the sans-I/O ``Stream``. The reader feeds requests to it; the writer sends what it has to say
whenever something has happened. A slow reader blocks its own writer only; meanwhile its changes merge, and when one
response is not taken for ``WRITE_DEADLINE`` seconds the stream ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from xds.metrics import Metrics, type_name
from xds.redaction import without_keys
from xds.status import ProxyStatus, Rejection
from xds.stream import Ack, Nack, ProtocolError
from xds.view import Change

WRITE_DEADLINE = 60.0
_LONGEST_MESSAGE = 4096
_log = logging.getLogger(__name__)


class Refused(Exception):  # noqa: N818  # it says what happened
    """The stream ends with this status; the reason goes to the peer and to the log."""

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason


class Connection:
    """The shell around one stream. It is the store's ``Sink`` of its proxy."""

    def __init__(
        self,
        context: Any,
        status: ProxyStatus,
        parse: Callable[[bytes], Any],
        metrics: Metrics,
        *,
        write_deadline: float = WRITE_DEADLINE,
    ) -> None:
        self._context = context
        self._status = status
        self._stream = status.stream
        self._parse = parse
        self._metrics = metrics
        self._write_deadline = write_deadline
        self._wake = asyncio.Event()
        self._end: Refused | None = None
        self._client_is_done = False
        self._gave_up = False

    # -- from the store

    def offer(self, changes: Sequence[Change]) -> None:
        self._stream.offer(changes, time.monotonic())
        self._wake.set()

    def revoke(self, reason: str) -> None:
        self.end(grpc.StatusCode.NOT_FOUND, reason)

    # -- the two directions

    def end(self, code: grpc.StatusCode, reason: str) -> None:
        """End the stream with a status; the first call counts."""
        if self._end is None:
            self._end = Refused(code, reason)
            self._wake.set()

    def _ending(self) -> bool:
        return self._end is not None

    async def run(self, first: Any, expires_at: float | None) -> None:
        """Serve until the client is done. Raises Refused where the stream ends for another reason.

        ``first`` is the first request, ``expires_at`` when the credential expires, in seconds since the epoch.
        """
        self._take(first)
        loop = asyncio.get_running_loop()
        expiry = None
        if expires_at is not None:
            expiry = loop.call_later(
                max(0.0, expires_at - time.time()),
                self.end,
                grpc.StatusCode.UNAUTHENTICATED,
                "the credential that opened this stream has expired",
            )
        # The reader is left to end by itself: cancelling a pending read leaks in gRPC (grpc#43360), and it returns
        # as soon as the stream is over.
        reader = asyncio.create_task(self._read())
        try:
            await self._write()
            if reader.done() and (error := reader.exception()) is not None:
                raise error
        finally:
            if expiry is not None:
                expiry.cancel()
            if self._gave_up:
                # gRPC queues our status behind what the client does not read, so this stream may never be over.
                reader.cancel()
        if self._end is not None:
            raise self._end

    async def _read(self) -> None:
        try:
            while not self._ending():
                data = await self._context.read()
                if data is grpc.aio.EOF:
                    break
                self._take(self._parse(data))
                self._wake.set()
        except DecodeError:
            self.end(grpc.StatusCode.INVALID_ARGUMENT, "a request could not be decoded")
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.CancelledError):
            pass  # the client is gone, which the writer learns as well
        finally:
            self._client_is_done = True
            self._wake.set()

    def _take(self, request: Any) -> None:
        if request.node.id and request.node.id != self._status.proxy:
            self.end(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"node id {request.node.id[:256]!r}: this stream began as {self._status.proxy!r}",
            )
            return
        try:
            answer = self._stream.receive(request, time.monotonic())
        except ProtocolError as error:
            self.end(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            return
        if isinstance(answer, Ack):
            self._status.answers_of(answer.type_url).acks += 1
            since = None if answer.changed_at is None else time.monotonic() - answer.changed_at
            self._metrics.acknowledged(answer.type_url, since)
        elif isinstance(answer, Nack):
            self._rejected(answer)

    def _rejected(self, nack: Nack) -> None:
        message = without_keys(nack.message)[:_LONGEST_MESSAGE]
        answers = self._status.answers_of(nack.type_url)
        answers.nacks += 1
        answers.last_nack = Rejection(message, time.time(), nack.names)
        self._metrics.rejected(nack.type_url)
        _log.warning("%s rejected %s: %s", self._status.proxy, type_name(nack.type_url), message)

    async def _write(self) -> None:
        while True:
            self._wake.clear()
            if self._ending() or self._client_is_done:
                return
            for response in self._stream.poll(time.monotonic()):
                data = response.encode()
                await self._write_one(data)
                self._metrics.sent(response, len(data))
                if self._ending():
                    return
            await self._sleep()

    async def _write_one(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        writer = asyncio.current_task()
        assert writer is not None  # noqa: S101  # for the type checker: a coroutine runs in a task
        deadline = loop.call_later(self._write_deadline, self._give_up, writer)
        try:
            await self._context.write(data)
        except asyncio.CancelledError:
            if not self._ending():
                raise
            writer.uncancel()
        finally:
            deadline.cancel()

    def _give_up(self, writer: asyncio.Task[Any]) -> None:
        self._gave_up = True
        self.end(grpc.StatusCode.DEADLINE_EXCEEDED, "the client does not read its responses")
        writer.cancel()

    async def _sleep(self) -> None:
        """Until something happens, or the stream wants to be polled."""
        due = self._stream.deadline()
        if due is None:
            await self._wake.wait()
            return
        alarm = asyncio.get_running_loop().call_later(max(0.0, due - time.monotonic()), self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()
