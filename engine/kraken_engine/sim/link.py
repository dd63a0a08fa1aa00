"""One simulated TCP connection: two directions of bytes under conditions that faults change, and a stream at each end.

The rules are TCP's. Bytes arrive whole and in order, later than they were sent, or the connection dies; nothing is ever
lost in the middle. A direction holds at most a window of bytes that were sent and not yet read, so a peer that does not
read stops a sender. The words for what goes wrong are toxiproxy's (latency, bandwidth, slicer, slow_close, timeout,
reset_peer, limit_data), so that people know them.

No task carries the bytes. A reader that finds nothing due sleeps once, until the moment the first byte is due; whatever
changes that moment moves the deadline of its sleep.
"""

from __future__ import annotations

import math
import operator
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, Literal

import attrs
import trio

from kraken_engine.errors import UsageError
from kraken_engine.runtime import Rng
from kraken_engine.sim.trace import Trace

__all__ = ["Conditions", "Direction", "Link", "Side", "SimStream", "changed"]

WINDOW_BYTES: Final = 65536
"""Bytes of one direction that may be sent and not yet read."""
WINDOW_OPENS_BELOW: Final = WINDOW_BYTES - 8192
"""A sender that found the window full goes on when no more is left in it: not for every byte that is read."""
DEFAULT_READ_BYTES: Final = 65536
PIECE_S: Final = 0.1
"""On a slow direction bytes arrive in pieces that take so long to transmit."""
LEAST_PIECE_BYTES: Final = 64

Side = Literal["client", "server"]


def _not_negative(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 <= value < math.inf:
        raise UsageError(f"{attribute.name}: expected a finite number of 0 or more, got {value!r}")


def _positive(_: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value < math.inf:
        raise UsageError(f"{attribute.name}: expected a finite number above 0, got {value!r}")


@attrs.frozen(kw_only=True)
class Conditions:
    """What a direction does to the bytes that are sent from now on."""

    latency_s: float = attrs.field(default=0.0005, validator=_not_negative)
    """Seconds a byte takes."""
    jitter_s: float = attrs.field(default=0.0, validator=_not_negative)
    """Up to so much more, drawn anew for each piece; bytes stay in order all the same."""
    bytes_per_s: float | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))
    """Bandwidth; None for as much as anybody sends."""
    slice_bytes: int | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))
    """Slicer: one read gives so many bytes on average, from 1 to twice that less 1."""
    slice_delay_s: float = attrs.field(default=0.0, validator=_not_negative)
    """Slicer: pause between two slices."""
    slow_close_s: float = attrs.field(default=0.0, validator=_not_negative)
    """The end of the stream arrives so much later than the last byte."""
    blackhole: bool = False
    """Nothing arrives while this is set; what was held back arrives after it was cleared. Nobody is told."""
    limit_bytes: int | None = attrs.field(default=None, validator=attrs.validators.optional(_not_negative))
    """After so many more bytes the connection is reset, in the middle of whatever is being sent."""


@attrs.define(eq=False)
class Direction:
    """The bytes on their way from one end of a link to the other."""

    label: str
    """``host:port#n>`` from client to server, ``host:port#n<`` back."""
    _rng: Rng = attrs.field(repr=False)
    _conditions: Conditions
    _queue: deque[tuple[float, memoryview]] = attrs.field(
        factory=deque[tuple[float, memoryview]], init=False, repr=False
    )
    """(when due, bytes) in the order of sending."""
    held_bytes: int = attrs.field(default=0, init=False)
    """Bytes sent and not yet read: in flight, or waiting for their reader."""
    _last_due: float = attrs.field(default=-math.inf, init=False)
    _free_at: float = attrs.field(default=-math.inf, init=False)
    """When the last byte so far has left, on a direction of limited bandwidth."""
    _frozen_at: float = attrs.field(default=math.inf, init=False)
    """What is due later does not arrive: when the blackhole opened, or for ever away."""
    _allowance: int | None = attrs.field(default=None, init=False)
    _cut: bool = attrs.field(default=False, init=False)
    """The limit of bytes was reached: the connection is reset, and no orderly end may come before that."""
    end_due: float = attrs.field(default=math.inf, init=False)
    """When the reader learns that no more bytes come (FIN)."""
    gone_due: float = attrs.field(default=math.inf, init=False)
    """When the reader learns that nobody listens to it any more either (FIN of a socket closed both ways)."""

    def __attrs_post_init__(self) -> None:
        self._allowance = self._conditions.limit_bytes
        if self._conditions.blackhole:
            self._frozen_at = -math.inf

    @property
    def conditions(self) -> Conditions:
        """What happens to bytes here now; :meth:`Link.change` changes it."""
        return self._conditions

    def become(self, conditions: Conditions, now: float) -> None:
        """Let ``conditions`` hold from now on. Bytes under way keep their times, except behind a blackhole."""
        before, self._conditions = self._conditions, conditions
        if conditions.limit_bytes != before.limit_bytes:
            self._allowance = conditions.limit_bytes
        if conditions.blackhole and not before.blackhole:
            self._frozen_at = now
        elif before.blackhole and not conditions.blackhole:
            self._thaw(now + conditions.latency_s)

    def put(self, data: memoryview, now: float) -> tuple[int, bool]:
        """Send as much of ``data`` as the window has room for.

        Returns:
            How many bytes were taken, and whether the limit of bytes was reached with them.
        """
        taken = data[: max(0, WINDOW_BYTES - self.held_bytes)]
        carried, cut = taken, False
        if self._allowance is not None:
            cut = len(taken) >= self._allowance and len(taken) > 0
            carried = taken[: self._allowance]
            self._allowance -= len(carried)
            self._cut = self._cut or cut
        rate = self._conditions.bytes_per_s
        step = len(carried) if rate is None else max(LEAST_PIECE_BYTES, int(rate * PIECE_S))
        for begin in range(0, len(carried), step or 1):
            piece = carried[begin : begin + step]
            leaves_at = now
            if rate is not None:
                leaves_at = self._free_at = max(now, self._free_at) + len(piece) / rate
            self._queue.append((self._due(leaves_at), piece))
        self.held_bytes += len(carried)
        return len(taken), cut

    def take(self, max_bytes: int, until: float, now: float) -> bytes:
        """Return what arrived up to ``until``, at most ``max_bytes``, and at most one slice of a slicer."""
        until = min(until, self._frozen_at)
        room, mean = max_bytes, self._conditions.slice_bytes
        if mean is not None and self._queue:
            room = min(room, self._rng.randint(1, 2 * mean - 1))
        parts: list[memoryview] = []
        while room and self._queue and self._queue[0][0] <= until:
            due, piece = self._queue.popleft()
            if len(piece) > room:
                self._queue.appendleft((due, piece[room:]))
                piece = piece[:room]
            parts.append(piece)
            room -= len(piece)
        if mean is not None and parts and self._queue:
            due, piece = self._queue.popleft()
            self._queue.appendleft((max(due, now + self._conditions.slice_delay_s), piece))
        data = b"".join(parts)
        self.held_bytes -= len(data)
        return data

    def end(self, now: float, *, gone: bool) -> None:
        """Send the end of the stream behind the last byte; ``gone``: this end will not read any more either."""
        if self.end_due == math.inf and not self._cut:
            self.end_due = self._due(now) + self._conditions.slow_close_s
        if gone:
            self.gone_due = self._due(now) if self._cut else max(self.end_due, self._due(now))

    def ended(self, now: float) -> bool:
        """Whether the reader has everything and knows that it is the end."""
        return not self._queue and self._arrives(self.end_due) <= now

    def gone(self, now: float) -> bool:
        """Whether the reader knows that its own bytes reach nobody any more."""
        return self.gone_at() <= now

    def gone_at(self) -> float:
        """Return when the reader will know, as things are: infinity for never."""
        return self._arrives(self.gone_due)

    def next_due(self) -> float:
        """Return when the reader has something to read, as things are: infinity for never."""
        return self._arrives(self._queue[0][0] if self._queue else self.end_due)

    def last_due(self) -> float:
        """Return when the last byte sent so far is due."""
        return self._last_due

    def _due(self, leaves_at: float) -> float:
        jitter_s = self._conditions.jitter_s
        due = leaves_at + self._conditions.latency_s + (self._rng.random() * jitter_s if jitter_s else 0.0)
        self._last_due = max(self._last_due, due)
        return self._last_due

    def _arrives(self, due: float) -> float:
        return due if due <= self._frozen_at else math.inf

    def _thaw(self, first: float) -> None:
        frozen_at, self._frozen_at = self._frozen_at, math.inf
        self._queue = deque((due if due <= frozen_at else max(due, first), piece) for due, piece in self._queue)
        if self.end_due > frozen_at:
            self.end_due = max(self.end_due, first)
        if self.gone_due > frozen_at:
            self.gone_due = max(self.gone_due, first)
        if self._last_due > frozen_at:
            self._last_due = max(self._last_due, first)


@attrs.define(eq=False)
class Link:
    """One connection: what faults aim at.

    ``up`` carries bytes from client to server, ``down`` back. A link is listed by its network until both of its ends
    were closed.
    """

    label: str
    """``host:port#n``: the address dialled, and the number of this connection to it."""
    _rng: Rng = attrs.field(repr=False)
    _trace: Trace = attrs.field(repr=False)
    _closed: Callable[[Link], None] = attrs.field(repr=False)
    up: Direction = attrs.field(init=False)
    down: Direction = attrs.field(init=False)
    client: SimStream = attrs.field(init=False, repr=False)
    server: SimStream = attrs.field(init=False, repr=False)
    reset_at: float = attrs.field(default=math.inf, init=False)
    """From when on both ends find the connection reset."""
    _forgotten: bool = attrs.field(default=False, init=False)

    @classmethod
    def between(
        cls, label: str, up: Conditions, down: Conditions, *, rng: Rng, trace: Trace, closed: Callable[[Link], None]
    ) -> Link:
        """Return a connection that was just established; ``closed`` is called once both ends are closed."""
        link = cls(label, rng, trace, closed)
        link.up = Direction(f"{label}>", rng, up)
        link.down = Direction(f"{label}<", rng, down)
        link.client = SimStream(link, "client", incoming=link.down, outgoing=link.up, trace=trace)
        link.server = SimStream(link, "server", incoming=link.up, outgoing=link.down, trace=trace)
        return link

    def change(self, *, direction: Literal["up", "down", "both"] = "both", **changes: Any) -> None:
        """Change some of the :class:`Conditions`, by field name, of one direction or both.

        Raises:
            UsageError: there is no such condition, or its value makes no sense.
        """
        now = trio.current_time()
        for name, one in (("up", self.up), ("down", self.down)):
            if direction in (name, "both"):
                wanted = changed(one.conditions, changes)
                one.become(attrs.evolve(wanted, blackhole=wanted.blackhole or self._forgotten), now)
        self._trace("change", self.label, direction, *(f"{key}={value}" for key, value in changes.items()))
        self.replan()

    def reset(self, *, in_s: float = 0.0) -> None:
        """Reset the connection ``in_s`` from now: both ends fail, bytes still under way by then are gone."""
        self.reset_at = min(self.reset_at, trio.current_time() + in_s)
        self._trace("reset", self.label, in_s)
        self.replan()

    def forget(self) -> None:
        """Let a box in the middle forget this connection: nothing arrives any more, for ever, and nobody is told."""
        self._forgotten = True
        self.change(blackhole=True)

    def replan(self) -> None:
        """Wake at other times: something about the future of this link has changed."""
        self.client.replan()
        self.server.replan()

    def end_closed(self) -> None:
        """Note that one of the two streams was closed."""
        if self.client.closed and self.server.closed:
            self._closed(self)


class SimStream(trio.abc.HalfCloseableStream):
    """One end of a :class:`Link`."""

    def __init__(self, link: Link, side: Side, *, incoming: Direction, outgoing: Direction, trace: Trace) -> None:
        self.link: Final = link
        self.side: Final[Side] = side
        self.closed = False
        self._incoming = incoming
        self._outgoing = outgoing
        self._trace = trace
        self._sent_eof = False
        self._sending = False
        self._receiving = False
        self._writer: trio.CancelScope | None = None
        self._reader: trio.CancelScope | None = None

    def __repr__(self) -> str:
        return f"<SimStream {self.link.label} {self.side}{' closed' if self.closed else ''}>"

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``, waiting for the peer to read when its window is full."""
        with self._only_sender():
            await trio.lowlevel.checkpoint()
            rest = memoryview(bytes(data))
            while True:
                now = trio.current_time()
                self._check_may_send(now)
                taken, cut = self._outgoing.put(rest, now)
                if taken:
                    self._trace("tx", self._outgoing.label, taken)
                    if cut:
                        self.link.reset(in_s=max(0.0, self._outgoing.last_due() - now))
                    self._peer().replan()
                rest = rest[taken:]
                if not rest:
                    return
                await self._sleep_as_writer()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the window has room."""
        with self._only_sender():
            await trio.lowlevel.checkpoint()
            self._check_may_send(trio.current_time())
            while self._outgoing.held_bytes >= WINDOW_BYTES:
                await self._sleep_as_writer()
                self._check_may_send(trio.current_time())

    async def send_eof(self) -> None:
        """End our bytes; the peer may go on sending."""
        with self._only_sender():
            await trio.lowlevel.checkpoint()
            if self.closed:
                raise trio.ClosedResourceError
            if not self._sent_eof:
                self._sent_eof = True
                self._finish(gone=False)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has arrived by now, waiting for something if nothing has; ``b""`` at the end."""
        most = DEFAULT_READ_BYTES if max_bytes is None else operator.index(max_bytes)
        if most < 1:
            raise ValueError("max_bytes must be >= 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            if self._has_news():
                await trio.lowlevel.checkpoint()
            while not self._has_news():
                await self._sleep_as_reader()
            return self._take(most)
        finally:
            self._receiving = False

    async def aclose(self) -> None:
        """Close both ways; bytes already sent still arrive. Closed even if cancelled."""
        if not self.closed:
            self.closed = True
            self._finish(gone=True)
            for scope in (self._reader, self._writer):
                if scope is not None:
                    scope.cancel()
            self.link.end_closed()
        await trio.lowlevel.checkpoint()

    def replan(self) -> None:
        """Move the moments at which a reader and a writer of this end wake by themselves."""
        if self._reader is not None:
            self._reader.deadline = min(self._incoming.next_due(), self.link.reset_at)
        if self._writer is not None:
            self._writer.deadline = min(self._incoming.gone_at(), self.link.reset_at)

    def window_opened(self) -> None:
        """Wake a writer: the peer has read enough."""
        if self._writer is not None:
            self._writer.cancel()

    def _has_news(self) -> bool:
        return self.closed or min(self._incoming.next_due(), self.link.reset_at) <= trio.current_time()

    def _take(self, most: int) -> bytes:
        if self.closed:
            raise trio.ClosedResourceError
        now = trio.current_time()
        if data := self._incoming.take(most, min(now, self.link.reset_at), now):
            self._trace("rx", self._incoming.label, len(data))
            if self._incoming.held_bytes <= WINDOW_OPENS_BELOW:
                self._peer().window_opened()
        elif not self._incoming.ended(min(now, self.link.reset_at)):
            raise trio.BrokenResourceError(f"{self.link.label}: reset by peer")
        return data

    async def _sleep_as_reader(self) -> None:
        with trio.CancelScope() as scope:
            self._reader = scope
            self.replan()
            try:
                await trio.sleep_forever()
            finally:
                self._reader = None

    async def _sleep_as_writer(self) -> None:
        with trio.CancelScope() as scope:
            self._writer = scope
            self.replan()
            try:
                await trio.sleep_forever()
            finally:
                self._writer = None

    def _check_may_send(self, now: float) -> None:
        if self.closed or self._sent_eof:
            raise trio.ClosedResourceError
        if self.link.reset_at <= now or self._incoming.gone(now):
            raise trio.BrokenResourceError(f"{self.link.label}: the peer is gone")

    def _finish(self, *, gone: bool) -> None:
        self._trace("close" if gone else "eof", self.link.label, self.side)
        self._outgoing.end(trio.current_time(), gone=gone)
        self._peer().replan()

    def _peer(self) -> SimStream:
        return self.link.server if self.side == "client" else self.link.client

    @contextmanager
    def _only_sender(self) -> Generator[None]:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            yield
        finally:
            self._sending = False


def changed(conditions: Conditions, changes: dict[str, Any]) -> Conditions:
    """Return ``conditions`` with some fields changed.

    Raises:
        UsageError: there is no such field, or the value makes no sense.
    """
    known = [field.name for field in attrs.fields(Conditions)]
    for name in changes:
        if name not in known:
            raise UsageError(f"conditions: expected one of {', '.join(known)}, got {name!r}")
    return attrs.evolve(conditions, **changes)
