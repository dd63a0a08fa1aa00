"""Clients written on wsproto and h11 alone, and a session without an exchange, for the tests of the shells."""

from __future__ import annotations

import json
import random
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import h11
import trio
from trio_websocket import WebSocketConnection, wrap_client_stream
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from kraken_engine.runtime import Address, Network, Runtime, Stream
from kraken_engine.sim.disk import SimDisk
from kraken_engine.venue.core.ports import Out, RestRequest
from kraken_engine.venue.shells.memory import memory_stream_pair
from kraken_engine.venue.shells.websocket import Session, WebSocketLimits, WebSocketServer

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class VirtualClock:
    def now(self) -> float:
        return trio.current_time()

    def wall_ns(self) -> int:
        return 1_795_305_600 * 10**9  # 2026-11-22 00:00:00 UTC

    def cpu_s(self) -> float:
        return 0.0


def runtime_on(network: Network) -> Runtime:
    return Runtime(clock=VirtualClock(), network=network, files=SimDisk(), rng=random.Random(1))


async def dial(network: Network, url: str) -> Stream:
    host, _, port = url.split("/")[2].rpartition(":")
    return await network.dial(Address(host, int(port)))


@attrs.define(eq=False)
class ScriptedSession:
    """A session that remembers what it was told, and says what the test says."""

    kind: str = "public"
    outbox: deque[Out] = attrs.field(factory=deque[Out])
    wake: Callable[[], None] = lambda: None
    received: list[tuple[bytes, float]] = attrs.field(factory=list[tuple[bytes, float]])
    closed_at: float | None = None
    answer: Callable[[bytes], Sequence[Out]] = lambda _: ()

    def say(self, *outs: Out) -> None:
        for out in outs:
            self.outbox.append(out)
            if len(self.outbox) == 1:
                self.wake()

    def receive(self, text: bytes, now: float) -> None:
        self.received.append((text, now))
        self.say(*self.answer(text))

    def closed(self, now: float) -> None:
        assert self.closed_at is None, "told twice"
        self.closed_at = now

    @property
    def texts(self) -> list[bytes]:
        return [text for text, _ in self.received]


@attrs.define(eq=False)
class CountingStream(trio.abc.Stream):
    """A stream that keeps the size of every write."""

    inner: Stream
    writes: list[int] = attrs.field(factory=list[int])

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(len(data))
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.inner.aclose()


@attrs.define(eq=False)
class LingeringStream(CountingStream):
    """A stream whose transport takes its time to close."""

    async def aclose(self) -> None:
        try:
            await trio.sleep(1000)
        finally:
            await super().aclose()


@attrs.define(eq=False)
class Served:
    """One connection to a :class:`WebSocketServer`, seen from the client and from the session."""

    client: WebSocketClient
    session: ScriptedSession
    server: WebSocketServer
    writes: list[int]
    nudges: list[float]
    scope: trio.CancelScope
    """Around the serving task."""
    done: trio.Event
    """The serving task has returned."""


@asynccontextmanager
async def serving(
    *,
    session: ScriptedSession | None = None,
    limits: WebSocketLimits | None = None,
    path: str = "/v2",
    buffer_bytes: int = 65536,
    upgrade: bool = True,
    wrap: Callable[[Stream], CountingStream] = CountingStream,
) -> AsyncGenerator[Served]:
    """Serve one memory stream with a scripted session; ``upgrade`` does the client's half of the handshake."""
    scripted = session or ScriptedSession()
    nudges: list[float] = []

    def connect(kind: str, now: float) -> Session:
        scripted.kind = kind
        return scripted

    server = WebSocketServer(
        routes={"/v2": "public"},
        connect=connect,
        clock=VirtualClock(),
        nudge=lambda: nudges.append(trio.current_time()),
        limits=limits or WebSocketLimits(),
    )
    near, far = memory_stream_pair(buffer_bytes)
    counted = wrap(far)
    served = Served(WebSocketClient(near), scripted, server, counted.writes, nudges, trio.CancelScope(), trio.Event())

    async def serve() -> None:
        with served.scope:
            await server.serve(counted)
        served.done.set()

    with trio.fail_after(3600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            if upgrade:
                await served.client.upgrade(path)
            yield served
            await trio.aclose_forcefully(near)
            await served.done.wait()


@attrs.define(eq=False)
class WebSocketClient:
    """A client on wsproto: one coroutine reads, nothing is answered unless the test does it."""

    stream: Stream
    protocol: WSConnection = attrs.field(factory=lambda: WSConnection(ConnectionType.CLIENT))
    events: deque[Event] = attrs.field(factory=deque[Event])
    status: int | None = None
    """HTTP status of the answer to the upgrade."""
    body: bytes = b""

    async def upgrade(self, path: str = "/v2", host: str = "venue.test") -> int:
        await self.stream.send_all(self.protocol.send(Request(host=host, target=path)))
        event = await self.next()
        if isinstance(event, AcceptConnection):
            self.status = 101
        else:
            assert isinstance(event, RejectConnection)
            self.status = event.status_code
            while not isinstance(data := await self.next(), RejectData) or not data.body_finished:
                self.body += data.data if isinstance(data, RejectData) else b""
        return self.status

    async def send(self, *events: Event) -> None:
        await self.stream.send_all(b"".join(self.protocol.send(event) for event in events))

    async def next(self) -> Event | None:
        """Return the next event, None at the end of the stream; a pause without bytes is up to the caller."""
        while not self.events:
            try:
                data = await self.stream.receive_some()
            except GONE:
                return None
            if not data:
                return None
            self.protocol.receive_data(bytes(data))
            self.events.extend(self.protocol.events())
        return self.events.popleft()

    async def text(self) -> str:
        """Return the next text message."""
        parts = ""
        while True:
            event = await self.next()
            assert isinstance(event, TextMessage), event
            parts += event.data
            if event.message_finished:
                return parts

    async def pong(self) -> bytes:
        event = await self.next()
        assert isinstance(event, Pong), event
        return bytes(event.payload)

    async def close_frame(self) -> tuple[int, str]:
        """Return code and reason of the close frame that comes next."""
        event = await self.next()
        assert isinstance(event, CloseConnection), event
        return int(event.code), event.reason or ""

    async def answer_close(self, event: CloseConnection) -> None:
        assert self.protocol.state is ConnectionState.REMOTE_CLOSING
        await self.send(event.response())

    async def at_end(self) -> bool:
        """Return whether the server has ended the stream without another frame."""
        return await self.next() is None


@attrs.define(eq=False)
class HttpClient:
    """A client on h11: one request after the other on one connection."""

    stream: Stream
    http: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT))

    async def request(
        self, target: str, *, method: str = "GET", body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        all_headers = {"host": "venue.test", "content-length": str(len(body)), **(headers or {})}
        out = self.http.send(h11.Request(method=method, target=target, headers=list(all_headers.items()))) or b""
        out += self.http.send(h11.Data(data=body)) or b""
        out += self.http.send(h11.EndOfMessage()) or b""
        await self.stream.send_all(out)
        answer = await self.answer()
        if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
        return answer

    async def answer(self) -> Answer:
        """Read one answer, interim ones left out."""
        response: h11.Response | None = None
        body = b""
        while True:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                self.http.receive_data(bytes(await self.stream.receive_some()))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert response is not None
                headers = {name.decode(): value.decode() for name, value in response.headers}
                return Answer(response.status_code, headers, body)
            else:
                assert isinstance(event, h11.InformationalResponse), event

    async def at_end(self) -> bool:
        try:
            return await self.stream.receive_some() == b""
        except GONE:
            return True


@attrs.frozen
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)


def request_of(method: str, path: str, **fields: object) -> RestRequest:
    return RestRequest(method=method, path=path, **fields)  # type: ignore[arg-type]  # a short hand for tests


__all__ = [
    "GONE",
    "Answer",
    "CloseConnection",
    "CountingStream",
    "HttpClient",
    "LingeringStream",
    "Message",
    "Ping",
    "ScriptedSession",
    "Served",
    "VirtualClock",
    "WebSocketClient",
    "dial",
    "request_of",
    "runtime_on",
    "serving",
]


@asynccontextmanager
async def trio_websocket(url: str, context: ssl.SSLContext | None = None) -> AsyncGenerator[WebSocketConnection]:
    """Connect with trio-websocket over a stream of ours: it leaves its own open when the peer closes first."""
    host, _, port = url.split("/")[2].rpartition(":")
    tcp = await trio.open_tcp_stream(host, int(port))
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = tcp
    if context is not None:
        stream = trio.SSLStream(tcp, context, server_hostname=host, https_compatible=True)
    try:
        async with trio.open_nursery() as nursery:
            yield await wrap_client_stream(nursery, stream, f"{host}:{port}", "/v2")
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)
