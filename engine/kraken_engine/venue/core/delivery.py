"""The way from the venue's truth to the sessions, and everything on command that may go wrong on it.

Channels hand over finished payloads with the sessions they are for. Normally that is one append per session. Only while
a mute or a broken update is armed is each frame looked at. Faults change what is delivered, never what is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from kraken_engine.venue.core.book_channel import BookMessage
from kraken_engine.venue.core.sessions import Session

__all__ = ["DATA_CHANNELS", "BookFault", "Delivery", "FaultRecord", "Mute"]

DATA_CHANNELS = ("book", "instrument", "ohlc", "ticker", "trade")


@attrs.define(kw_only=True)
class FaultRecord:
    """One command of the fault log, and what came of it."""

    id: int
    name: str
    params: dict[str, object]
    at_s: float
    """When it was given, on the clock of ``now``."""
    until_s: float | None = None
    """When it ends by itself."""
    hits: int = 0
    """How often it took effect: frames lost or broken, sessions ended, requests refused."""
    last_hit_s: float | None = None

    def hit(self, now_s: float, times: int = 1) -> None:
        """Count an effect."""
        self.hits += times
        self.last_hit_s = now_s

    def as_json(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return attrs.asdict(self)


@attrs.define(kw_only=True)
class Mute:
    """Frames that match are not delivered. None matches everything."""

    record: FaultRecord
    session_id: int | None
    channel: str | None
    symbol: str | None
    data_only: bool

    def matches(self, session: Session, channel: str, symbol: str | None) -> bool:
        """Return whether this frame is to be lost."""
        return (
            (self.session_id is None or self.session_id == session.id)
            and (self.channel is None or self.channel == channel)
            and (self.symbol is None or self.symbol == symbol)
            and (not self.data_only or channel in DATA_CHANNELS)
        )


@attrs.define(kw_only=True)
class BookFault:
    """The next book update that each target gets is broken: ``corrupt``, ``drop``, ``duplicate``, ``reorder``.

    Or not broken at all, but sent in one message with the one that follows it: ``merge``.
    """

    kind: str
    record: FaultRecord
    targets: dict[int, None] | None
    """Sessions not hit yet, by id; None: whoever gets the next update at all."""
    held: dict[int, bytes] = attrs.field(factory=dict[int, bytes])
    """Updates that are sent after their successor, or with it."""

    @property
    def spent(self) -> bool:
        """Whether nothing is left to do."""
        return not self.held and self.targets is not None and not self.targets

    def alter(self, session_id: int, payloads: list[bytes], checksum: int, now_s: float) -> list[bytes]:
        """Return what this session gets instead of ``payloads``."""
        if session_id in self.held:
            held = self.held.pop(session_id)
            if self.kind == "merge" and payloads:
                return [_merged(held, payloads[0]), *payloads[1:]]
            return [*payloads, held]
        if not payloads or self.targets is None or session_id not in self.targets:
            return payloads  # an update that another fault has lost already leaves this one for the next
        del self.targets[session_id]
        self.record.hit(now_s)
        if self.kind == "drop":
            return []
        if self.kind == "duplicate":
            return [*payloads, *payloads]
        if self.kind in ("reorder", "merge"):
            self.held[session_id] = payloads[-1]
            return payloads[:-1]
        right, wrong = b'"checksum":%d,' % checksum, b'"checksum":%d,' % (checksum ^ 1)
        return [payload.replace(right, wrong) for payload in payloads]

    def forget(self, session_id: int) -> None:
        """Leave a session alone that is no longer subscribed."""
        self.held.pop(session_id, None)
        if self.targets is not None:
            self.targets.pop(session_id, None)


def _merged(first: bytes, second: bytes) -> bytes:
    """Return one book update with the elements of two."""
    data = b'"data":['
    return first.removesuffix(b"]}") + b"," + second[second.index(data) + len(data) :]


class Delivery:
    """Hands frames to sessions."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """Hand nothing over yet; ``now_s`` tells the time of what is happening, for the fault log."""
        self.frames: dict[str, int] = {}
        """Frames delivered, by channel; answers count as ``reply``."""
        self.mutes: list[Mute] = []
        self._book_faults: dict[str, list[BookFault]] = {}
        self._now_s = now_s

    def publish(self, channel: str, symbol: str | None, sessions: Mapping[int, Session], payload: bytes) -> None:
        """Deliver one payload to every session of ``sessions``."""
        if self.mutes:
            for session in sessions.values():
                self.tell(session, channel, payload, symbol)
            return
        self.frames[channel] = self.frames.get(channel, 0) + len(sessions)
        for session in sessions.values():
            session.send(payload)

    def publish_book(self, symbol: str, sessions: Mapping[int, Session], message: BookMessage) -> None:
        """Deliver one book update, unless it is to be broken on the way."""
        faults = self._book_faults.get(symbol)
        if not faults:
            self.publish("book", symbol, sessions, message.payload)
            return
        for fault in faults:
            if fault.targets is None and sessions:
                fault.targets = dict.fromkeys(sessions)
        for session in sessions.values():
            payloads = [message.payload]
            for fault in faults:
                payloads = fault.alter(session.id, payloads, message.checksum, self._now_s())
            for payload in payloads:
                self.tell(session, "book", payload, symbol)
        self._tidy(symbol)

    def tell(self, session: Session, channel: str, payload: bytes, symbol: str | None = None) -> None:
        """Deliver one payload to one session."""
        for mute in self.mutes:
            if mute.matches(session, channel, symbol):
                mute.record.hit(self._now_s())
                return
        self.frames[channel] = self.frames.get(channel, 0) + 1
        session.send(payload)

    def arm(self, symbol: str, fault: BookFault) -> None:
        """Break a coming book update of ``symbol``."""
        self._book_faults.setdefault(symbol, []).append(fault)

    def unmute(self, mute: Mute) -> None:
        """Deliver again what ``mute`` kept back; it may be gone already."""
        if mute in self.mutes:
            self.mutes.remove(mute)

    def heal(self) -> None:
        """End every mute and break no update that is still to come; one that was held back is lost."""
        self.mutes.clear()
        self._book_faults.clear()

    def waiting_book_faults(self) -> int:
        """Return how many broken updates are still to come."""
        return sum(len(faults) for faults in self._book_faults.values())

    def forget(self, symbol: str, session_id: int) -> None:
        """Break nothing any more for a session that left the book of ``symbol``."""
        for fault in self._book_faults.get(symbol, ()):
            fault.forget(session_id)
        self._tidy(symbol)

    def _tidy(self, symbol: str) -> None:
        faults = self._book_faults.get(symbol)
        if faults is not None:
            faults[:] = [fault for fault in faults if not fault.spent]
            if not faults:
                del self._book_faults[symbol]
