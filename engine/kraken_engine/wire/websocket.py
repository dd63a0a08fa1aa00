"""One WebSocket connection: open it, get its messages in batches, send, and leave it in bounded time.

trio-websocket does the protocol; this module owns the order of things around it. What trio-websocket 0.12 leaves open
is settled here: a connection that fails while it is opened says so at once and with a reason, every wait has a
deadline, a violation ends the TCP connection too, and an exception of the receiver is not taken for a broken line.

Knows nothing of what the messages mean, of reconnecting, or of how long silence may last.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import attrs
import h11
import trio
import trio_websocket
import wsproto.utilities

from kraken_engine.config import WireSettings
from kraken_engine.errors import ConnectFailed, LineClosed, LineError, UsageError
from kraken_engine.runtime import Runtime
from kraken_engine.wire.dial import AddressCache, open_stream
from kraken_engine.wire.diverting import Deliver, DeliverFailed, DivertingStream
from kraken_engine.wire.endpoints import Endpoint
from kraken_engine.wire.frames import UNSUPPORTED_DATA

__all__ = ["Deliver", "WebSocket", "WireStatistics", "open_websocket"]

NORMAL = 1000
ABNORMAL = 1006

ABRUPT_CLOSE_S = 0.1
"""Most time for a close frame when the block is left by an exception. A socket takes it at once unless it is stuck."""

_LIBRARY_ERRORS = (
    wsproto.utilities.ProtocolError,
    h11.ProtocolError,
    trio_websocket.HandshakeError,
    trio_websocket.ConnectionClosed,
    ValueError,  # UnicodeDecodeError, from a header that is not ASCII
)


@attrs.frozen(kw_only=True)
class WireStatistics:
    """What has passed over one connection so far. Bytes are those inside TLS."""

    reads: int
    frames: int
    """Text messages delivered."""
    bytes_received: int
    bytes_sent: int
    pings_answered: int
    """Split mode only, like the next two: stock mode answers every ping and does not count."""
    pings_dropped: int
    pongs: int


class WebSocket:
    """An open connection; :func:`open_websocket` makes it."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._pings = 0

    async def send(self, payload: bytes) -> None:
        """Send one text frame.

        If this is cancelled half-way, the connection ends: nothing can follow half a frame.

        Raises:
            LineClosed: the connection is gone.
            LineError: it took more than ``send_timeout_s``; the connection is gone, too.
            UsageError: ``payload`` is not UTF-8.
        """
        try:
            text = payload.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"payload: expected UTF-8, {error.reason} at byte {error.start}") from None
        try:
            await self._line.live().send_message(text)
        except trio_websocket.ConnectionClosed:
            raise self._line.gone() from None

    async def ping(self) -> None:
        """Send a protocol ping. The pong is counted, not waited for. Raises as :meth:`send`."""
        self._line.live()
        self._pings += 1
        try:
            await self._line.stream.send_ping((self._pings & 0xFFFFFFFF).to_bytes(4, "big"))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._line.gone() from None

    async def wait_closed(self) -> LineClosed:
        """Return why the connection ended, once it has."""
        await self._line.ended.wait()
        return self._line.reason()

    def statistics(self) -> WireStatistics:
        """Return the counters as they are now."""
        stream, splitter = self._line.stream, self._line.stream.splitter
        return WireStatistics(
            reads=stream.reads,
            frames=stream.messages,
            bytes_received=stream.bytes_received,
            bytes_sent=stream.bytes_sent,
            pings_answered=splitter.pings - splitter.pings_dropped,
            pings_dropped=splitter.pings_dropped,
            pongs=splitter.pongs,
        )

    def __repr__(self) -> str:
        state = self._line.reason() if self._line.ended.is_set() else "open"
        return f"<WebSocket {self._line.endpoint}: {state}, {self._line.stream.messages} messages>"


@asynccontextmanager
async def open_websocket(
    runtime: Runtime,
    endpoint: Endpoint,
    settings: WireSettings,
    deliver: Deliver,
    *,
    addresses: AddressCache | None = None,
) -> AsyncGenerator[WebSocket]:
    """Connect, and deliver messages until the block is left.

    ``deliver`` runs in the reader: while it waits nothing is read, and pings stay unanswered. It is never called
    before the block is entered or after it is left. In stock mode it gets one message a call.

    Leaving the block normally makes the closing handshake, at most ``close_timeout_s`` long. Leaving it by an
    exception, cancellation included, sends a close frame if the socket takes it at once, and waits for nothing.

    Args:
        runtime: dials, and tells the time.
        endpoint: where to.
        settings: limits and deadlines.
        deliver: takes the text messages of one read, in order, and the time of that read.
        addresses: remembered between attempts, so that one attempt survives a failing resolver.

    Raises:
        ConnectFailed: no connection came about; ``stage`` says how far it got. Also :exc:`UpgradeRejected`.
        Exception: one of the body, or of ``deliver`` (which ends the body), leaves as itself.
    """
    cache = AddressCache() if addresses is None else addresses
    transport = await open_stream(runtime, endpoint, settings, cache)
    stream = DivertingStream(
        transport=transport, target=str(endpoint), runtime=runtime, settings=settings, deliver=deliver
    )
    line = _Line(endpoint=endpoint, settings=settings, stream=stream)
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.run)
            try:
                await line.wait_open()
                with line.body:
                    yield WebSocket(line)
            except BaseException as caught:  # noqa: BLE001, ASYNC103 - raised below: the nursery would wrap it in a group
                error = caught
            politely = error is None and line.failure is None
            await line.leave(politely=politely)
            if not politely:
                nursery.cancel_scope.cancel()  # nor does it wait for a TLS goodbye
    finally:
        await trio.aclose_forcefully(stream)
    if error is not None:
        if line.failure is not None:
            error.add_note(f"before that, deliver() failed: {line.failure!r}")
        raise error
    if line.failure is not None:
        raise line.failure


@attrs.define(eq=False, kw_only=True)
class _Line:
    """A connection from the upgrade to its end, run by one task; :class:`WebSocket` is what others see of it."""

    endpoint: Endpoint
    settings: WireSettings
    stream: DivertingStream
    body: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    """Around the body of ``async with``; cancelled when ``deliver`` fails."""
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    failure: BaseException | None = attrs.field(default=None, init=False)
    """What ``deliver`` raised."""
    _decided: trio.Event = attrs.field(factory=trio.Event, init=False)
    """The upgrade succeeded or failed."""
    _refused: ConnectFailed | None = attrs.field(default=None, init=False)
    _connection: trio_websocket.WebSocketConnection | None = attrs.field(default=None, init=False)
    _leaving: trio.CancelScope | None = attrs.field(default=None, init=False)
    _reading: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True), init=False)
    """Shielded: a cancellation from outside reaches the body first, and :meth:`leave` ends the reader."""

    async def run(self) -> None:
        """Make the upgrade, then read until the connection ends. Failures are kept, not raised."""
        try:
            with self._reading:
                await self._read()
        except* DeliverFailed as group:
            self.failure = _first(group).__cause__
            self.stream.note_end("deliver() failed")
            self.body.cancel()
        except* ConnectFailed as group:
            self._refused = cast("ConnectFailed", _first(group))
        except* _LIBRARY_ERRORS as group:
            error = _root(_first(group))
            self.stream.note_end(f"{type(error).__name__}: {error}")
            if self._connection is None:
                self._refused = ConnectFailed("upgrade", str(self.endpoint), self.stream.why_ended)
                self._refused.__cause__ = error
        finally:
            self._decided.set()
            self.ended.set()
            if self._leaving is not None:
                self._leaving.cancel()
            # trio-websocket leaves TCP open after a violation, and waits for the peer to close it after a handshake.
            await self.stream.aclose()

    async def wait_open(self) -> None:
        """Return once the upgrade is made and messages flow.

        Raises:
            ConnectFailed: it failed, or nothing came within ``upgrade_timeout_s``.
        """
        with trio.move_on_after(self.settings.upgrade_timeout_s):
            await self._decided.wait()
        if self._refused is not None:
            raise self._refused
        if self._connection is None:
            why = f"no reply within {self.settings.upgrade_timeout_s} s"
            raise ConnectFailed("upgrade", str(self.endpoint), why)
        self.stream.open()

    async def leave(self, *, politely: bool) -> None:
        """Close the WebSocket, in bounded time, and end :meth:`run`."""
        self.stream.shut()
        connection, limit_s = self._connection, self.settings.close_timeout_s
        if connection is not None and not self.ended.is_set():
            if politely:
                with trio.move_on_after(limit_s, shield=True) as self._leaving:
                    await connection.aclose(NORMAL)
            elif connection.closed is None:
                await self.stream.send_close(NORMAL, "", within_s=min(ABRUPT_CLOSE_S, limit_s))
        self._reading.cancel()

    def live(self) -> trio_websocket.WebSocketConnection:
        """Return the connection, or raise why there is none."""
        if self._connection is None or self._connection.closed is not None or self.ended.is_set():
            raise self.reason()
        return self._connection

    def gone(self) -> LineError:
        """Return what a sender is told after its send failed."""
        if self.stream.send_overdue:
            return LineError(f"{self.endpoint}: {self.stream.why_ended}")
        return self.reason()

    def reason(self) -> LineClosed:
        """Return how the connection ended, as far as is known."""
        stream = self.stream
        closed = None if self._connection is None else self._connection.closed
        if closed is None or closed.code == ABNORMAL or stream.end_code != ABNORMAL:
            return LineClosed(str(self.endpoint), stream.end_code, stream.why_ended)
        return LineClosed(str(self.endpoint), closed.code, closed.reason or "")

    async def _read(self) -> None:
        async with trio.open_nursery() as nursery:
            self._connection = await trio_websocket.wrap_client_stream(
                nursery,
                # Its annotation names two classes of Trio; its documentation says any stream.
                cast("trio.SocketStream", self.stream),
                self.endpoint.authority,
                self.endpoint.path,
                max_message_size=self.settings.max_message_bytes,
                receive_buffer_size=None,
            )
            self._decided.set()
            if self.settings.mode == "stock":
                await self._pump(self._connection)
                if self._leaving is None:
                    nursery.cancel_scope.cancel()

    async def _pump(self, connection: trio_websocket.WebSocketConnection) -> None:
        await self.stream.wait_open()
        while True:
            try:
                message = await connection.get_message()
            except trio_websocket.ConnectionClosed:
                return
            if isinstance(message, bytes):
                why = "binary message, only text is understood"
                self.stream.end_code = UNSUPPORTED_DATA
                self.stream.note_end(why)
                with trio.move_on_after(self.settings.close_timeout_s):
                    await connection.aclose(UNSUPPORTED_DATA, why)
                return
            await self.stream.hand_over([message.encode()], self.stream.runtime.clock.now())


def _root(error: BaseException) -> BaseException:
    """Return what went wrong first: trio-websocket fails again when it tries to answer a reply that is no good."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(cast("BaseExceptionGroup[BaseException]", first)) if isinstance(first, BaseExceptionGroup) else first
