"""One connection of one line, of whatever kind: reader, writer, liveness, and a task per channel, ending together.

The reader never waits for market data to be handled, so pings stay answered. Each channel task applies its messages to
the line's view and publishes what happened, all between two checkpoints. Nobody here closes the socket: whoever finds
the connection useless ends the session's scope with a reason, and that ``async with`` cleans up.

=============  ===============================  =================================  ==================================
memory channel from, to                         what                               when full
=============  ===============================  =================================  ==================================
inbox          reader to one channel task       messages of one read of that       that channel is resynced; or the
                                                channel                            reader waits, as the line has it
outbound       channels, liveness to writer     pings and requests to subscribe    the asker asks again later
                                                anew
=============  ===============================  =================================  ==================================

What frames mean, and what becomes of messages, is the line's business (:mod:`~kraken_engine.tasks.line`).
"""

from __future__ import annotations

import contextlib
import math

import trio

from kraken_engine.codec.requests import encode_request
from kraken_engine.control.liveness import Liveness, MarkStale, Replace, SendPing
from kraken_engine.errors import LineError
from kraken_engine.state.freshness import StreamKey
from kraken_engine.tasks.line import Batch, Line
from kraken_engine.wire.websocket import WebSocket, open_websocket

__all__ = ["Outbound", "Session", "run_session"]


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
    session = Session(line)
    try:
        async with open_websocket(
            line.runtime, line.endpoint, line.config.wire, session.deliver, addresses=line.addresses
        ) as websocket:
            async with trio.open_nursery() as nursery:
                session.begin(nursery.cancel_scope)
                for channel in line.views:
                    nursery.start_soon(_run_channel, session, channel)
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


class Session:
    """What the tasks of one connection share, and what the line may ask of it (:class:`~..line.Port`).

    Everything but the reader is synchronous.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.scope: trio.CancelScope | None = None
        self.reason: LineError | None = None
        self.liveness = Liveness(line.config.liveness)
        self.outbound = Outbound()
        self.inbox_send: dict[str, trio.MemorySendChannel[Batch]] = {}
        self.inbox_receive: dict[str, trio.MemoryReceiveChannel[Batch]] = {}
        self.overrun: dict[str, bool] = {}
        self.waiting: dict[str, int] = dict.fromkeys(line.views, 0)
        """Batches handed over and not yet taken, by channel."""
        self.reader = line.open_reader(self)
        self._greeted = False
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

    def ping(self) -> None:
        """Let the writer ask the venue for a sign of life."""
        self.outbound.ping = True
        self.outbound.poke()

    def pong(self) -> None:
        """Take note that a ping was answered."""
        self.liveness.pong()

    def idle(self, channel: str) -> bool:
        """Return whether all messages of a channel that were handed over have been applied."""
        return not self.waiting[channel]

    def nudge(self, channel: str, *, now: float) -> None:
        """Let a channel's task look at what is due, unless it is busy anyway."""
        with contextlib.suppress(trio.WouldBlock):
            self.inbox_send[channel].send_nowait(Batch((), now, self.line.late))
            self.waiting[channel] += 1

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
                    line.suspect(reason)
                case Replace(reason=reason):
                    self.end(LineError(f"{line.name}: {reason}"))
        line.outlet.flush()

    # -- the reader

    async def deliver(self, frames: list[bytes], received_s: float) -> None:
        """Take the text frames of one socket read, let the line read them, and hand on what came of it."""
        line = self.line
        line.last_frame_s = received_s
        line.counters.reads += 1
        line.counters.frames += len(frames)
        line.heard_s = received_s
        if not self._greeted:
            self._greeted = True
            self.liveness.connected(now=received_s)
            line.greeted(now=received_s)
        if received_s >= self.liveness.next_check:
            self.judge(now=received_s)
            if self.reason is not None:
                return
        if self.liveness.frame(now=received_s):
            self.reader.spoke_again(now=received_s)
        step = line.config.feed.batch_messages
        for start in range(0, len(frames), step):
            if start:
                await trio.lowlevel.checkpoint()
            part = frames if len(frames) <= step else frames[start : start + step]
            for channel, batch in self.reader.receive(part, received_s).items():
                await self._hand_over(channel, batch)

    async def _hand_over(self, channel: str, batch: Batch) -> None:
        """Put a batch into an inbox; what finds no room is lost, or waited for, as the line has it."""
        inbox = self.inbox_send[channel]
        try:
            inbox.send_nowait(batch)
            self.waiting[channel] += 1
        except trio.WouldBlock:
            if self.line.when_full == "wait":
                await self._wait_for_room(channel, batch)
                return
            self.overrun[channel] = True
            self.line.counters.overruns += 1
            self.line.kpis.error(now=batch.received_s)

    async def _wait_for_room(self, channel: str, batch: Batch) -> None:
        limit_s = self.line.config.feed.handover_timeout_s
        with trio.move_on_after(limit_s):
            await self.inbox_send[channel].send(batch)
            self.waiting[channel] += 1
            return
        self.line.counters.overruns += 1
        self.end(LineError(f"{self.line.name}: no room for {channel} within {limit_s:g} s"))


async def _run_writer(session: Session, websocket: WebSocket) -> None:
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
                await websocket.send(line.encode(request))
                session.liveness.sent(now=line.now())
            line.sweep()
            for notice in line.subscriptions.take_notices():
                line.tell(notice)
            line.outlet.flush()
            due = line.subscriptions.next_due(now=line.now())
            with trio.move_on_at(math.inf if due is None else due):
                await outbound.poked()
    except LineError as error:
        session.end(error)


async def _run_liveness(session: Session) -> None:
    """Look at the connection whenever it is due; ends the session, or is ended by it."""
    while True:
        await trio.sleep_until(session.liveness.next_check)
        now = session.line.now()
        session.judge(now=now)
        session.reader.look(now=now)


async def _run_channel(session: Session, channel: str) -> None:
    """Let the line apply one channel's messages, and do what is due there, until the session ends."""
    line, view, inbox = session.line, session.line.views[channel], session.inbox_receive[channel]
    while True:
        due = view.next_due
        batch = None
        with trio.move_on_at(math.inf if due is None else due):
            batch = await inbox.receive()
            session.waiting[channel] -= 1
        if session.overrun[channel]:
            # What was dropped is newer than what is still queued: none of it can be applied any more.
            session.overrun[channel] = False
            _drain(inbox)
            session.waiting[channel] = 0
            line.overran(channel, session)
        elif batch is None:
            line.tick(channel, session)
        else:
            line.apply(channel, batch, session)
        line.outlet.flush()


def _drain(inbox: trio.MemoryReceiveChannel[Batch]) -> None:
    try:
        while True:
            inbox.receive_nowait()
    except trio.WouldBlock:
        return
