"""The stream that trio-websocket is given: it keeps the text messages to itself and passes on the rest.

trio-websocket hands over one message at a time through a channel, at some 50 µs each. Here the frames of one socket
read are cut at once and delivered as a list; trio-websocket sees the upgrade reply and the control frames, does the
opening and closing handshakes, answers pings and sends. In stock mode everything passes through, and this stream only
guards: the reply head, the deadline of every send, and the reason why the connection ended.

Decides nothing about what messages mean, nor when to close.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from kraken_engine.config import WireSettings
from kraken_engine.errors import ConnectFailed
from kraken_engine.runtime import Runtime, Stream
from kraken_engine.wire.frames import PING, FrameSplitter, close_frame, control_frame
from kraken_engine.wire.upgrade import ReplyHead

__all__ = ["Deliver", "DeliverFailed", "DivertingStream", "words"]

Deliver = Callable[[list[bytes], float], Awaitable[None]]
"""Takes the text messages of one socket read, in order, and the monotonic time right after that read."""


class DeliverFailed(Exception):
    """``deliver`` raised, which is no fault of the connection: the cause is its exception."""


@attrs.define(eq=False, kw_only=True, slots=False)
class DivertingStream(trio.abc.Stream):
    """Sits between a transport and trio-websocket. A cancelled receive loses nothing.

    One task receives (trio-websocket's reader); any task may send.
    """

    transport: Stream
    target: str
    runtime: Runtime
    settings: WireSettings
    deliver: Deliver

    delivering: bool = attrs.field(default=False, init=False)
    """Off before the connection is handed out and after it was given back: messages are dropped then."""
    why_ended: str = attrs.field(default="", init=False)
    """What the transport said when it ended; empty while it lives."""
    end_code: int = attrs.field(default=1006, init=False)
    """The close code for a violation found here."""
    send_overdue: bool = attrs.field(default=False, init=False)

    reads: int = attrs.field(default=0, init=False)
    messages: int = attrs.field(default=0, init=False)
    bytes_received: int = attrs.field(default=0, init=False)
    bytes_sent: int = attrs.field(default=0, init=False)
    splitter: FrameSplitter = attrs.field(init=False)

    _head: ReplyHead | None = attrs.field(init=False)
    """Present until the reply to the upgrade is complete."""
    _opened: trio.Event = attrs.field(factory=trio.Event, init=False)
    _rest: bytes = attrs.field(default=b"", init=False)
    """What came with the reply head; not looked at before the connection is handed out."""
    _forward: bytes = attrs.field(default=b"", init=False)
    """Control frames that trio-websocket has still to get."""
    _send_lock: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _send_broken: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self._head = ReplyHead(target=self.target, max_bytes=settings.max_handshake_bytes)
        self.splitter = FrameSplitter(
            max_message_bytes=settings.max_message_bytes,
            max_fragments=settings.max_fragments,
            max_pings_per_s=settings.max_pings_per_s,
        )

    def note_end(self, why: str) -> None:
        """Keep the first reason why the connection ended."""
        self.why_ended = self.why_ended or why

    def open(self) -> None:
        """Let messages through: whoever opened the connection is ready for them."""
        self.delivering = True
        self._opened.set()

    async def wait_open(self) -> None:
        """Wait for :meth:`open`."""
        await self._opened.wait()

    def shut(self) -> None:
        """Let no message through any more, and do not answer pings: we are closing, or have closed."""
        self.delivering = False
        self.splitter.answering = False
        self._opened.set()

    async def hand_over(self, messages: list[bytes], received_s: float) -> None:
        """Deliver, and keep an exception of the receiver apart from those of the connection.

        Raises:
            DeliverFailed: trio-websocket would take some exceptions for a broken stream; never this one.
        """
        if not self.delivering:
            return
        self.messages += len(messages)
        try:
            await self.deliver(messages, received_s)
        except Exception as error:
            raise DeliverFailed from error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 - the reads are ours to size
        """Return what trio-websocket is to see, which may be more than ``max_bytes``: pass None.

        Raises:
            ConnectFailed: before the reply to the upgrade is complete, whatever goes wrong.
            DeliverFailed: ``deliver`` raised.
            trio.BrokenResourceError: the transport broke, or the peer broke the protocol.
        """
        if self._head is not None:
            return await self._receive_head(self._head)
        if self.settings.mode == "stock":
            return await self._read()
        return await self._receive_control_frames()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send within ``send_timeout_s``. What is cut short leaves half a frame: the transport is closed then.

        Raises:
            ConnectFailed: before the reply to the upgrade is complete.
            trio.BrokenResourceError: the transport broke, or took too long.
        """
        cause: Exception | None = None
        try:
            with trio.move_on_after(self.settings.send_timeout_s) as deadline:
                await self._send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.note_end(f"while sending: {words(error)}")
            cause = error
        else:
            if not deadline.cancelled_caught:
                return
            self.send_overdue = True
            self.why_ended = f"a send took more than {self.settings.send_timeout_s} s"
        if self._head is not None:
            raise ConnectFailed("upgrade", self.target, self.why_ended) from cause
        raise trio.BrokenResourceError(self.why_ended) from cause

    async def send_ping(self, payload: bytes) -> None:
        """Send a ping of our own; trio-websocket's would wait for the pong. Raises as :meth:`send_all`."""
        await self.send_all(control_frame(PING, payload, masking_key=self.runtime.rng.getrandbits(32)))

    async def send_close(self, code: int, reason: str, *, within_s: float) -> None:
        """Send a close frame if the transport takes it in time, and do not mind if not."""
        frame = close_frame(code, reason, masking_key=self.runtime.rng.getrandbits(32))
        with trio.move_on_after(within_s, shield=True):
            try:
                await self._send(frame)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for the transport."""
        await self.transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the transport."""
        await self.transport.aclose()

    async def _receive_head(self, head: ReplyHead) -> bytes:
        while True:
            try:
                data = await self._read()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ConnectFailed("upgrade", self.target, words(error)) from error
            done = head.feed(data, wall_s=self.runtime.clock.wall_ns() / 1e9)
            if done is not None:
                break
        self._head = None
        whole, rest = done
        if self.settings.mode == "stock":
            return whole + rest
        self._rest = rest
        return whole

    async def _receive_control_frames(self) -> bytes:
        splitter = self.splitter
        await self.wait_open()
        while True:
            if self._forward:
                forward, self._forward = self._forward, b""
                return forward
            if splitter.closed:
                # trio-websocket has answered the close frame by now. A peer that never closes TCP must not keep us.
                return b""
            if splitter.violation is not None:
                await self._refuse(splitter.violation.code, splitter.violation.why)
            if self._rest:
                data, self._rest = self._rest, b""
            else:
                data = await self._read()
                if not data:
                    return b""
            received_s = self.runtime.clock.now()
            cut = splitter.feed(data, now=received_s)
            # Kept before the next checkpoint: whoever is cancelled in deliver() still gets them afterwards.
            self._forward = cut.forward
            if cut.texts:
                await self.hand_over(cut.texts, received_s)

    async def _refuse(self, code: int, why: str) -> None:
        self.end_code = code
        self.note_end(why)
        await self.send_close(code, why, within_s=self.settings.close_timeout_s)
        raise trio.BrokenResourceError(why)

    async def _read(self) -> bytes:
        try:
            data = await self.transport.receive_some(self.settings.read_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.note_end(words(error))
            raise
        if not data:
            self.note_end("the peer ended the connection without a close frame")
        self.reads += 1
        self.bytes_received += len(data)
        return bytes(data)

    async def _send(self, data: bytes | bytearray | memoryview) -> None:
        async with self._send_lock:
            if self._send_broken:
                raise trio.BrokenResourceError("an earlier send was cut short")
            try:
                await self.transport.send_all(data)
            except trio.Cancelled:
                # Perhaps half a frame is out, and nothing sensible can follow it: the reader has to notice, too.
                self._send_broken = True
                self.note_end("a send was cut short")
                await trio.aclose_forcefully(self.transport)
                raise
        self.bytes_sent += len(data)


def words(error: BaseException) -> str:
    """Return what an exception of a library says, or its name when it says nothing."""
    return str(error) or str(error.__cause__ or "") or type(error).__name__
