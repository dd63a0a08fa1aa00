"""The server side of RFC 6455 over any byte stream: one session of the exchange per connection.

Decides when bytes leave (everything pending, in one write), when a client is too slow to keep, and how a connection
ends. wsproto does the opening handshake and reads frames; text frames are written by hand, because a server's frame is
a short header before the payload and a burst of them must cost one ``send_all``. Knows nothing of channels or markets:
text goes in through :class:`Session`, and what the session puts in its outbox comes out.
"""

from __future__ import annotations

import contextlib
import enum
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol, final

import attrs
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.typing import Headers
from wsproto.utilities import RemoteProtocolError

from kraken_engine.runtime import Clock, Stream
from kraken_engine.venue.core.ports import Abort, Close, Out, Raw, UpgradeRefusal

__all__ = ["Session", "WebSocketLimits", "WebSocketServer"]


class Session(Protocol):
    """What a connection needs of a session of the exchange."""

    outbox: deque[Out]
    wake: Callable[[], None]

    def receive(self, text: bytes, now: float) -> None:
        """Take one text message of the client."""
        ...

    def closed(self, now: float) -> None:
        """Learn that the connection is gone."""
        ...


@attrs.frozen(kw_only=True)
class WebSocketLimits:
    """Bounds of one connection, as the venue sees it."""

    handshake_timeout_s: float = 5.0
    send_timeout_s: float = 5.0
    """How long one write may take before the connection is dropped."""
    close_timeout_s: float = 2.0
    """How long the peer may take to answer a close frame, and the transport to close."""
    read_bytes: int = 65536
    max_message_bytes: int = 1024 * 1024
    """Longest message of a client; a longer one ends the connection with 1009."""
    max_pending_bytes: int = 8 * 1024 * 1024
    """Bytes that may wait behind a write; a client further behind is dropped."""


@final
@attrs.define(eq=False, kw_only=True)
class WebSocketServer:
    """Serve the WebSocket connections of one listener."""

    routes: Mapping[str, str]
    """Request path to kind of session; any other path is answered with HTTP 404."""
    connect: Callable[[str, float], Session]
    """Opens a session of a kind, now."""
    clock: Clock
    nudge: Callable[[], None]
    """Called when a message of a client may have changed when the exchange wants its next turn."""
    refusal: Callable[[], UpgradeRefusal | None] = lambda: None
    """Asked for every upgrade of a known path: how to refuse it, or None."""
    limits: WebSocketLimits = attrs.field(factory=WebSocketLimits)
    _lines: list[_Line] = attrs.field(factory=lambda: list[_Line](), init=False)  # noqa: PLW0108  # _Line comes later

    async def serve(self, stream: Stream) -> None:
        """Serve one connection until it ends, and close ``stream``; the world's failures are not raised."""
        protocol = WSConnection(ConnectionType.SERVER)
        try:
            kind = await self._handshake(stream, protocol)
        except (trio.BrokenResourceError, trio.TooSlowError):
            kind = None
        try:
            if kind is not None:
                await self._carry(stream, protocol, self.connect(kind, self.clock.now()))
        finally:
            # Shielded: a cancellation delivered here would take the place of the error in flight.
            with trio.move_on_after(self.limits.close_timeout_s, shield=True):
                await stream.aclose()

    def go_away(self) -> None:
        """Start closing every connection with 1001; each ends within the limits."""
        for line in self._lines:
            line.close(CloseReason.GOING_AWAY, "venue is closing")

    async def _handshake(self, stream: Stream, protocol: WSConnection) -> str | None:
        """Return the kind of session asked for, or None when the upgrade was refused or the peer left."""
        with trio.fail_after(self.limits.handshake_timeout_s):
            try:
                request = await self._request(stream, protocol)
                return None if request is None else self._kind(request)
            except _Refused as refused:
                await stream.send_all(refused.answer(protocol))
                return None

    async def _request(self, stream: Stream, protocol: WSConnection) -> Request | None:
        while data := await stream.receive_some(self.limits.read_bytes):
            try:
                protocol.receive_data(bytes(data))
            except RemoteProtocolError as error:
                hint = error.event_hint
                rejection = hint if isinstance(hint, RejectConnection) else RejectConnection()
                raise _Refused(rejection.status_code, str(error), rejection.headers) from None
            except UnicodeError:  # wsproto decodes Host and target without a guard
                raise _Refused(400, "expected ASCII in Host and target") from None
            for event in protocol.events():
                if isinstance(event, Request):
                    return event
        return None

    def _kind(self, request: Request) -> str:
        kind = self.routes.get(request.target.partition("?")[0])
        if kind is None:
            raise _Refused(404, f"expected the path {' or '.join(self.routes)}")
        if (refusal := self.refusal()) is not None:
            headers = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
            raise _Refused(refusal.status, "refused on command", headers)
        return kind

    async def _carry(self, stream: Stream, protocol: WSConnection, session: Session) -> None:
        line = _Line(stream, protocol, session, self)
        self._lines.append(line)
        try:
            await line.run()
        finally:
            self._lines.remove(line)
            session.closed(self.clock.now())


class _Refused(Exception):
    """The upgrade gets another answer than 101."""

    def __init__(self, status: int, why: str, headers: Headers | None = None) -> None:
        self.status = status
        self.why = why
        self.headers = headers or []
        super().__init__(why)

    def answer(self, protocol: WSConnection) -> bytes:
        body = b"" if self.status in _BODILESS else self.why.encode() + b"\n"
        headers = [
            *self.headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        head = RejectConnection(status_code=self.status, headers=headers, has_body=True)
        return protocol.send(head) + protocol.send(RejectData(body))


_BODILESS = (204, 304)
"""HTTP statuses whose answer may not have a body."""


def _text_frame_header(payload_bytes: int) -> bytes:
    """Return what precedes the payload of one unfragmented, unmasked text frame (RFC 6455, section 5.2)."""
    if payload_bytes < 126:
        return bytes((0x81, payload_bytes))
    if payload_bytes < 65536:
        return b"\x81\x7e" + payload_bytes.to_bytes(2, "big")
    return b"\x81\x7f" + payload_bytes.to_bytes(8, "big")


class _Ending(enum.Enum):
    """What happens once everything pending is written."""

    CLOSE = enum.auto()
    """Close the transport: the peer has ended its side, or the session wants no ceremony."""
    AWAIT_PEER = enum.auto()
    """We sent a close frame first: read on until the answer, under a deadline, then close.

    Reading on matters after a violation too: closing over unread bytes would reset the reason away."""


@final
class _Line:
    """One open connection: the bytes that wait, the message being put together, and how it ends."""

    def __init__(self, stream: Stream, protocol: WSConnection, session: Session, server: WebSocketServer) -> None:
        self.session = session
        self.ending: _Ending | None = None
        self._stream = stream
        self._protocol = protocol
        self._server = server
        self._limits = server.limits
        self._message = bytearray()
        self._peer_done = trio.Event()
        self._scope = trio.CancelScope()
        self._wanted = trio.Event()
        self._pending = bytearray(protocol.send(AcceptConnection()))
        session.wake = self.collect
        self.collect()

    async def run(self) -> None:
        """Carry the session until either side ends it; returns, and never raises for what the peer does."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                await self._write()
                if self.ending is _Ending.AWAIT_PEER:
                    with trio.move_on_after(self._limits.close_timeout_s):
                        await self._peer_done.wait()
                nursery.cancel_scope.cancel()

    def collect(self) -> None:
        """Take what the session put in its outbox; called by the session, so what waits here is always counted."""
        outbox = self.session.outbox
        while outbox:
            out = outbox.popleft()
            if self.ending is not None:
                continue
            match out:
                case Close(code=code, reason=reason):
                    self.close(code, reason)
                case Abort():
                    self.ending = _Ending.CLOSE
                case Raw(data=data):
                    self._pending += data
                case _:
                    self._pending += _text_frame_header(len(out))
                    self._pending += out
        self._kick()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame after what is pending, unless the connection is ending already."""
        if self.ending is None:
            self._pending += self._protocol.send(CloseConnection(code, reason))
            self.ending = _Ending.AWAIT_PEER
            self._kick()

    def _kick(self) -> None:
        """Have what is pending written, or drop a client that is too far behind."""
        self._wanted.set()
        if len(self._pending) > self._limits.max_pending_bytes:
            self._drop()

    def _drop(self) -> None:
        self.ending = _Ending.CLOSE
        self._scope.cancel()

    async def _write(self) -> None:
        """Write everything pending at once, again and again, until the connection is ending and all is written."""
        while self._pending or self.ending is None:
            await self._wanted.wait()
            self._wanted = trio.Event()
            chunk, self._pending = self._pending, bytearray()
            if not chunk:
                continue
            try:
                with trio.fail_after(self._limits.send_timeout_s):
                    await self._stream.send_all(chunk)
            except (trio.BrokenResourceError, trio.TooSlowError):
                self._drop()

    async def _read(self) -> None:
        """Hand on what the peer sends. No deadline here: the exchange closes sessions that stay silent."""
        with contextlib.suppress(trio.BrokenResourceError):
            while self._protocol.state is not ConnectionState.CLOSED:
                data = await self._stream.receive_some(self._limits.read_bytes)
                if not data:
                    break
                self._take(data)
        self._peer_done.set()
        if self.ending is None:
            self.ending = _Ending.CLOSE
        self._wanted.set()

    def _take(self, data: bytes | bytearray) -> None:
        self._protocol.receive_data(bytes(data))
        for event in self._protocol.events():
            match event:
                case TextMessage():
                    self._take_text(event)
                case BytesMessage():
                    self.close(CloseReason.UNSUPPORTED_DATA, "expected text frames")
                case Ping() if self.ending is None:
                    self._pending += self._protocol.send(event.response())
                    self._kick()
                case CloseConnection():
                    self._take_close(event)
                case _:
                    pass

    def _take_text(self, part: TextMessage) -> None:
        if self.ending is not None:
            return
        self._message += part.data.encode()
        if len(self._message) > self._limits.max_message_bytes:
            self.close(CloseReason.MESSAGE_TOO_BIG, f"expected at most {self._limits.max_message_bytes} bytes")
        elif part.message_finished:
            text = bytes(self._message)
            self._message.clear()
            self.session.receive(text, self._server.clock.now())
            self._server.nudge()

    def _take_close(self, event: CloseConnection) -> None:
        match self._protocol.state:
            case ConnectionState.REMOTE_CLOSING if self.ending is None:
                self._pending += self._protocol.send(event.response())
                self.ending = _Ending.CLOSE
                self._kick()
            case ConnectionState.OPEN:  # not a frame of the peer: wsproto found a violation
                self.close(event.code, event.reason or "")
            case _:
                pass
