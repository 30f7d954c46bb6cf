"""HTTP/2 without TLS, by prior knowledge: a server that echoes with trailers, and a client for one request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, ResponseReceived, StreamEnded, TrailersReceived

Headers = list[tuple[str, str]]


@dataclass
class Stream:
    """What came on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    trailers: dict[str, str] = field(default_factory=dict)
    ended: bool = False


@asynccontextmanager
async def http2_server(port: int) -> AsyncIterator[None]:
    """Answers each request with its body, and with its method, path and trailers in trailers."""
    server = await asyncio.start_server(_connection, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    ends = _Ends(reader, writer, client=False)
    try:
        while (ended := await ends.next_end()) is not None:
            number, stream = ended
            ends.http.send_headers(number, [(":status", "200"), ("server", "h2-echo")])
            await ends.send_body(number, bytes(stream.body))
            echoed = {"x-method": stream.headers[":method"], "x-path": stream.headers[":path"], **stream.trailers}
            ends.http.send_headers(number, list(echoed.items()), end_stream=True)
            await ends.flush()
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


async def request_http2(
    port: int, method: str, path: str, body: bytes = b"", trailers: Headers | None = None
) -> Stream:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ends = _Ends(reader, writer, client=True)
    try:
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "echo"), (":path", path)]
        ends.http.send_headers(1, [*pseudo, ("te", "trailers")])
        await ends.send_body(1, body)
        if trailers:
            ends.http.send_headers(1, trailers, end_stream=True)
        else:
            ends.http.end_stream(1)
        await ends.flush()
        ended = await ends.next_end()
        assert ended is not None, "the connection ended before the answer"
        return ended[1]
    finally:
        writer.close()


class _Ends:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool) -> None:
        self.http = H2Connection(H2Configuration(client_side=client, header_encoding="utf-8"))
        self._reader = reader
        self._writer = writer
        self._streams: dict[int, Stream] = {}
        self._ended: list[int] = []
        self.http.initiate_connection()

    async def flush(self) -> None:
        self._writer.write(self.http.data_to_send())
        await self._writer.drain()

    async def next_end(self) -> tuple[int, Stream] | None:
        """The next stream whose other side has said all; None at the end of the connection."""
        while not self._ended:
            if not await self._receive():
                return None
        number = self._ended.pop(0)
        return number, self._streams.pop(number)

    async def send_body(self, number: int, body: bytes) -> None:
        """As the windows of the other side allow."""
        while body:
            room = min(self.http.local_flow_control_window(number), self.http.max_outbound_frame_size)
            if room <= 0:
                await self._receive()
                continue
            self.http.send_data(number, body[:room])
            body = body[room:]
            await self.flush()

    async def _receive(self) -> bool:
        await self.flush()
        data = await self._reader.read(65536)
        for event in self.http.receive_data(data) if data else ():
            self._take(event)
        await self.flush()
        return bool(data)

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived() | ResponseReceived():
                self._stream(event.stream_id).headers = dict(event.headers)  # type: ignore[arg-type]
            case DataReceived():
                self._stream(event.stream_id).body += event.data
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case TrailersReceived():
                self._stream(event.stream_id).trailers = dict(event.headers)  # type: ignore[arg-type]
            case StreamEnded():
                self._ended.append(event.stream_id)

    def _stream(self, number: int) -> Stream:
        return self._streams.setdefault(number, Stream())
