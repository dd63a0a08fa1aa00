"""One connection of one line: reader, writer, liveness, and a task per channel, ending together.

The reader decodes and sorts; it never waits for market data to be handled, so pings stay answered. Each channel task
applies its messages to the line's view and publishes what happened, all between two checkpoints. Nobody here closes
the socket: whoever finds the connection useless ends the session's scope with a reason, and that ``async with``
cleans up.

=============  ===============================  ==========================================  =====================
memory channel from, to                         what                                        when full
=============  ===============================  ==========================================  =====================
inbox          reader to one channel task       messages of one read of that channel        that channel is resynced
outbound       channels, liveness to writer     pings and requests to subscribe anew        the asker asks again later
=============  ===============================  ==========================================  =====================
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import Any

import attrs
import trio

from kraken_engine.codec.sniff import sniff
from kraken_engine.codec.ws_v2 import (
    Ack,
    BookMessage,
    Decoder,
    InstrumentMessage,
    OhlcMessage,
    Pong,
    StatusMessage,
    TickerMessage,
    TradeMessage,
    encode_request,
)
from kraken_engine.control.liveness import Liveness, MarkStale, Replace, SendPing
from kraken_engine.control.tripwire import Tripwire
from kraken_engine.errors import DecodeError, LineError
from kraken_engine.normalise.events import InstrumentUpdate
from kraken_engine.normalise.instruments import venue_status
from kraken_engine.state.channels import ChannelView, Outcome, Restore
from kraken_engine.state.freshness import StreamKey
from kraken_engine.tasks.line import HELD_CHANNELS, Line
from kraken_engine.wire.websocket import WebSocket, open_websocket

__all__ = ["run_session"]

_CHANNEL_OF: dict[type, str] = {
    BookMessage: "book",
    TickerMessage: "ticker",
    TradeMessage: "trade",
    OhlcMessage: "ohlc",
    InstrumentMessage: "instrument",
}
_TIMED = (BookMessage, TickerMessage, TradeMessage)
"""Whose updates say when what they tell happened."""
_JUNK_FRAMES = 3
_JUNK_WINDOW_S = 10.0


@attrs.frozen
class Lost:
    """In an inbox, at the place where they are missing: messages of ``symbol`` (None: of any) could not be had."""

    why: str
    symbol: str | None


@attrs.frozen
class Batch:
    """Messages of one channel, from one socket read, in order."""

    messages: list[Any]
    received_s: float
    late: str | None
    """How far the line was behind the venue when this was read, in words; None: not too far."""


class Outbound:
    """What the writer is asked for: it coalesces, so it never overflows, whoever asks and however often.

    The memory channel holds one token: there is something to look at.
    """

    def __init__(self) -> None:
        self.ping = False
        """Ask the venue for a sign of life."""
        self.again: dict[StreamKey, None] = {}
        """Subscribe anew to what stands behind these streams."""
        self._send, self._receive = trio.open_memory_channel[None](1)

    def poke(self) -> None:
        """Let the writer look at this, and at the wishes of its line."""
        with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._send.send_nowait(None)

    async def poked(self) -> None:
        """Wait for the next poke."""
        await self._receive.receive()

    def close(self) -> None:
        """Close both ends."""
        self._send.close()
        self._receive.close()


async def run_session(line: Line) -> LineError:
    """Open one connection of ``line``, run it until it ends, and return why it ended.

    Returns rather than raises, so that only bugs travel as exceptions.
    """
    session = _Session(line)
    try:
        async with open_websocket(
            line.runtime, line.endpoint, line.config.wire, session.deliver, addresses=line.addresses
        ) as websocket:
            async with trio.open_nursery() as nursery:
                session.begin(nursery.cancel_scope)
                for view in line.views.values():
                    nursery.start_soon(_run_channel, session, view.channel)
                nursery.start_soon(_run_writer, session, websocket)
                nursery.start_soon(_run_liveness, session)
                session.end(await websocket.wait_closed())
            # Left by an exception, the connection is closed without waiting for an answer: a dead peer gives none, and
            # the time would go to readers without data.
            raise session.ended()
    except LineError as error:
        session.end(error)
    finally:
        session.close()
    return session.ended()


class _Session:
    """What the tasks of one connection share. Everything but the reader is synchronous."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.scope: trio.CancelScope | None = None
        self.reason: LineError | None = None
        self.liveness = Liveness(line.config.liveness)
        self.outbound = Outbound()
        self.inbox_send: dict[str, trio.MemorySendChannel[Batch]] = {}
        self.inbox_receive: dict[str, trio.MemoryReceiveChannel[Batch]] = {}
        self.overrun: dict[str, bool] = {}
        self._decoder = Decoder()
        self._junk = Tripwire(_JUNK_FRAMES, _JUNK_WINDOW_S)
        self._greeted = False
        self.late: str | None = None
        """How far the line is behind the venue, in words; None: not too far."""
        self._suspects: list[StreamKey] = []
        self._prove_at = math.inf
        for channel in line.views:
            send, receive = trio.open_memory_channel[Batch](line.config.feed.inbox_batches)
            self.inbox_send[channel], self.inbox_receive[channel] = send, receive
            self.overrun[channel] = False

    def begin(self, scope: trio.CancelScope) -> None:
        """The upgrade has succeeded: subscribe, and judge from now on."""
        self.scope = scope
        if not self._greeted:
            self.liveness.connected(now=self.line.now())
        self.line.connected(self)
        if self.reason is not None:
            scope.cancel()

    def end(self, reason: LineError) -> None:
        """End the connection; the first reason counts."""
        if self.reason is None:
            self.reason = reason
        if self.scope is not None:
            self.scope.cancel()

    def ended(self) -> LineError:
        """Return why the connection ended, once it has."""
        assert self.reason is not None
        return self.reason

    def close(self) -> None:
        """Close every channel end this session made."""
        self.outbound.close()
        for channel, send in self.inbox_send.items():
            send.close()
            self.inbox_receive[channel].close()

    def poke(self) -> None:
        """Let the writer look at the wishes of the line."""
        self.outbound.poke()

    def again(self, key: StreamKey) -> None:
        """Let the writer subscribe anew to what stands behind ``key``."""
        self.outbound.again[key] = None
        self.outbound.poke()

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Publish what happened, and ask anew for what only a snapshot heals."""
        for key, outcome in outcomes:
            if isinstance(outcome, Restore):
                self.again(key)
            else:
                self.line.publish(key, outcome)

    def prove_suspects(self, *, now: float) -> None:
        """Ask anew for streams that stayed quiet since the line spoke again: only data on time makes them live."""
        if now >= self._prove_at and self.late is None:
            self._prove_at = math.inf
            suspects, self._suspects = self._suspects, []
            for key in suspects:
                if self.line.publisher.freshness.stale(key) is not None:
                    self.again(key)

    def ping(self) -> None:
        """Let the writer ask the venue for a sign of life."""
        self.outbound.ping = True
        self.outbound.poke()

    def judge(self, *, now: float) -> None:
        """Look at the silence of the connection, and act on what it means."""
        line = self.line
        actions = self.liveness.check(now=now)
        line.counters.longest_lag_s = max(line.counters.longest_lag_s, self.liveness.lag_s)
        for action in actions:
            match action:
                case SendPing():
                    self.ping()
                case MarkStale(reason=reason):
                    for key in line.stream_keys():
                        line.publisher.suspect(key, reason, now=now)
                case Replace(reason=reason):
                    self.end(LineError(f"{line.name}: {reason}"))
        line.publisher.flush()

    # -- the reader

    async def deliver(self, frames: list[bytes], received_s: float) -> None:
        """Take the text frames of one socket read: decode, answer to bookkeeping, sort the rest by channel."""
        line = self.line
        line.counters.reads += 1
        line.counters.frames += len(frames)
        if not self._greeted:
            self._greeted = True
            self.liveness.connected(now=received_s)
            line.greeted(now=received_s)
        if received_s >= self.liveness.next_check:
            self.judge(now=received_s)
            if self.reason is not None:
                return
        if self.liveness.frame(now=received_s):
            self._suspects = line.stream_keys()
            self._prove_at = received_s + line.config.liveness.stale_after_s
        step = line.config.feed.batch_messages
        for start in range(0, len(frames), step):
            if start:
                await trio.lowlevel.checkpoint()
            self._sort(frames[start : start + step], received_s)

    def _sort(self, frames: list[bytes], received_s: float) -> None:
        decode = self._decoder.decode
        sorted_: dict[str, list[Any]] = {}
        newest: Any = None
        for frame in frames:
            try:
                message = decode(frame)
            except DecodeError as error:
                self._undecodable(frame, error, received_s, sorted_)
                continue
            channel = _CHANNEL_OF.get(type(message))
            if channel is None:
                self._keep_books(message, received_s)
                continue
            newest = message
            if channel in sorted_:
                sorted_[channel].append(message)
            else:
                sorted_[channel] = [message]
        if type(newest) in _TIMED and newest.type == "update":
            self._judge_lag(newest, received_s, sorted_)
        for channel, messages in sorted_.items():
            self._hand_over(channel, Batch(messages, received_s, self.late))

    def _judge_lag(self, newest: Any, received_s: float, sorted_: dict[str, list[Any]]) -> None:
        """Find out from the newest update of a batch whether the line is late; every channel has to know a change."""
        venue_time = newest.data[-1].timestamp if newest.data else None
        if venue_time is None:
            return
        lag = self.line.lag
        behind_s = lag.observe(venue_time, received_s=received_s)
        if lag.late != (self.late is not None):
            self.late = f"data is {behind_s:.1f} s behind the venue" if lag.late else None
            for channel in HELD_CHANNELS:
                sorted_.setdefault(channel, [])

    def _hand_over(self, channel: str, batch: Batch) -> None:
        """Put a batch into an inbox; what finds no room is lost, and an empty one may have told of a change."""
        try:
            self.inbox_send[channel].send_nowait(batch)
        except trio.WouldBlock:
            self.overrun[channel] = True
            self.line.counters.overruns += 1
            self.line.kpis.error(now=batch.received_s)

    def nudge(self, channel: str, *, now: float) -> None:
        """Let a channel's task look at what is due, unless it is busy anyway."""
        with contextlib.suppress(trio.WouldBlock):
            self.inbox_send[channel].send_nowait(Batch([], now, self.late))

    def _keep_books(self, message: Any, received_s: float) -> None:
        """Handle what is no market data: replies, the venue's state. A heartbeat has done its work by arriving."""
        line = self.line
        if type(message) is Ack:
            line.answered(message, now=received_s)
            self.poke()
            if message.channel in self.inbox_send:
                # A confirmed subscription may have started a deadline, which its channel's task must get to know.
                self.nudge(message.channel, now=received_s)
        elif type(message) is StatusMessage:
            status = venue_status(message, at_s=received_s, reject=line.reject)
            if status is not None:
                line.publisher.announce(status)
        elif type(message) is Pong:
            self.liveness.pong()
            return
        else:
            return
        line.publisher.flush()

    def _undecodable(self, frame: bytes, error: DecodeError, received_s: float, sorted_: dict[str, list[Any]]) -> None:
        """Skip a frame, but not silently: what it may have changed is unsynchronised from here on."""
        self.line.reject(error)
        suspect = sniff(frame)
        if suspect is not None:
            channel, symbol = suspect
            for name in [channel] if channel is not None else list(self.inbox_send):
                if name in self.inbox_send:
                    sorted_.setdefault(name, []).append(Lost(f"undecodable frame ({error})", symbol))
        if self._junk.fault(now=received_s):
            why = f"{_JUNK_FRAMES} undecodable frames within {_JUNK_WINDOW_S:g} s, last: {error}"
            self.end(LineError(f"{self.line.name}: {why}"))


async def _run_writer(session: _Session, websocket: WebSocket) -> None:
    """Send what is due: subscriptions in their order and at their pace, and pings. Ends with the session."""
    line, outbound = session.line, session.outbound
    try:
        while True:
            if outbound.ping:
                outbound.ping = False
                await websocket.send(encode_request("ping", None, None))
            again, outbound.again = outbound.again, {}
            for key in again:
                line.subscribe_again(key)
            for request in line.subscriptions.due(now=line.now()):
                await websocket.send(encode_request(request.method, request.params, request.req_id))
                session.liveness.sent(now=line.now())
                line.sent(request)
            for notice in line.subscriptions.take_notices():
                line.tell(notice)
            line.publisher.flush()
            due = line.subscriptions.next_due(now=line.now())
            with trio.move_on_at(math.inf if due is None else due):
                await outbound.poked()
    except LineError as error:
        session.end(error)


async def _run_liveness(session: _Session) -> None:
    """Look at the connection whenever it is due; ends the session, or is ended by it."""
    while True:
        await trio.sleep_until(session.liveness.next_check)
        now = session.line.now()
        session.judge(now=now)
        session.prove_suspects(now=now)


async def _run_channel(session: _Session, channel: str) -> None:
    """Apply one channel's messages to the line's view and publish the outcome, until the session ends."""
    line = session.line
    view = line.views[channel]
    inbox = session.inbox_receive[channel]
    while True:
        due = view.next_due
        batch = None
        with trio.move_on_at(math.inf if due is None else due):
            batch = await inbox.receive()
        if session.overrun[channel]:
            # What was dropped is newer than what is still queued: none of it can be applied any more.
            session.overrun[channel] = False
            _drain(inbox)
            session.settle(view.lose("this channel's inbox overran", now=line.now()))
            line.held(channel, session.late)
        elif batch is None:
            session.settle(view.tick(now=line.now()))
        else:
            _apply(session, view, batch)
        line.publisher.flush()


def _apply(session: _Session, view: ChannelView, batch: Batch) -> None:
    line = session.line
    received_s = batch.received_s
    publish = line.publish
    if batch.late is not None:
        line.held(view.channel, batch.late)
    for message in batch.messages:
        if type(message) is Lost:
            session.settle(view.lose(message.why, now=received_s, symbol=message.symbol))
            continue
        for key, outcome in view.receive(message, received_s=received_s):
            if isinstance(outcome, Restore):
                session.again(key)
            else:
                publish(key, outcome)
                if isinstance(outcome, InstrumentUpdate):
                    session.settle(line.instruments_changed(outcome))
                    session.nudge("book", now=received_s)  # it may have something due now
        if message.type == "snapshot":
            line.arrived(view.channel, message)
    if batch.late is None:
        line.held(view.channel, None)
    line.handled(len(batch.messages), received_s)


def _drain(inbox: trio.MemoryReceiveChannel[Batch]) -> None:
    try:
        while True:
            inbox.receive_nowait()
    except trio.WouldBlock:
        return
