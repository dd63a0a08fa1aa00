"""The way from the venue's truth to the sessions, and everything on command that may go wrong on it.

Channels hand over finished payloads with the sessions they are for. Normally that is one append per session. Only while
a mute, a broken update or another way of telling is armed is each frame looked at. Faults change what is delivered,
never what is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from kraken_engine.venue.core.book_channel import BookMessage, BookPublisher
from kraken_engine.venue.core.records import FaultRecord
from kraken_engine.venue.core.sessions import Session
from kraken_engine.venue.core.variants import STYLES, BatchedBook, Batching, Wording

__all__ = ["DATA_CHANNELS", "BookFault", "Delivery", "Mute"]

DATA_CHANNELS = ("book", "instrument", "ohlc", "ticker", "trade")
_WORDED = ("book", "ohlc", "ticker", "trade")


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
        self.wordings: list[Wording] = []
        self._batchings: list[Batching] = []
        self._batched: dict[str, dict[int, BatchedBook]] = {}
        """Books told several updates at a time, by symbol and session."""
        self._book_faults: dict[str, list[BookFault]] = {}
        self._now_s = now_s

    def publish(self, channel: str, symbol: str | None, sessions: Mapping[int, Session], payload: bytes) -> None:
        """Deliver one payload to every session of ``sessions``."""
        if self.mutes or self.wordings:
            for session in sessions.values():
                self.tell(session, channel, payload, symbol)
            return
        self.frames[channel] = self.frames.get(channel, 0) + len(sessions)
        for session in sessions.values():
            session.send(payload)

    def publish_book(self, symbol: str, sessions: Mapping[int, Session], message: BookMessage) -> None:
        """Deliver one book update, unless it is to be broken on the way."""
        faults, batched = self._book_faults.get(symbol, ()), self._batched.get(symbol)
        if not (faults or batched):
            self.publish("book", symbol, sessions, message.payload)
            return
        for fault in faults:
            if fault.targets is None and sessions:
                fault.targets = dict.fromkeys(sessions)
        for session in sessions.values():
            book = None if batched is None else batched.get(session.id)
            if book is None:
                self._tell_book(session, symbol, message.payload, message.checksum)
            else:
                self._tell_batch(book, book.add())
        self._tidy(symbol)

    def _tell_book(self, session: Session, symbol: str, payload: bytes, checksum: int) -> None:
        if self._is_lost(session, "book", symbol):
            return  # whatever else is to be broken waits for an update that arrives
        payloads = [payload]
        for fault in self._book_faults.get(symbol, ()):
            payloads = fault.alter(session.id, payloads, checksum, self._now_s())
        for altered in payloads:
            self.tell(session, "book", altered, symbol)

    def _tell_batch(self, book: BatchedBook, payload: bytes | None) -> None:
        if payload is not None:
            book.batching.record.hit(self._now_s())
            self._tell_book(book.session, book.symbol, payload, book.book.checksum)

    def tell(self, session: Session, channel: str, payload: bytes, symbol: str | None = None) -> None:
        """Deliver one payload to one session."""
        if self._is_lost(session, channel, symbol):
            return
        if channel in _WORDED:
            for wording in self.wordings:
                if wording.matches(session, symbol):
                    payload = STYLES[wording.style](payload)
                    wording.record.hit(self._now_s())
        self.frames[channel] = self.frames.get(channel, 0) + 1
        session.send(payload)

    def _is_lost(self, session: Session, channel: str, symbol: str | None) -> bool:
        """Return whether what is to be delivered now is kept back, and note that it was."""
        for mute in self.mutes:
            if mute.matches(session, channel, symbol):
                mute.record.hit(self._now_s())
                return True
        return False

    def joined(self, symbol: str, session: Session, book: BookPublisher, depth: int) -> None:
        """Take note that ``session`` is told the book of ``symbol`` from now on, beginning with what it is now."""
        for batching in self._batchings:
            if batching.matches(session, symbol):
                self._batch(
                    BatchedBook(
                        batching=batching, session=session, symbol=symbol, book=book, depth=depth, flush=self._flush
                    )
                )

    def batch(self, batching: Batching) -> None:
        """Tell books several updates at a time from now on; :meth:`joined` says whose."""
        self._batchings.append(batching)

    def unbatch(self, batching: Batching) -> None:
        """Tell each update by itself again; what waits goes out now. It may have ended already."""
        if batching not in self._batchings:
            return
        self._batchings.remove(batching)
        for symbol, books in list(self._batched.items()):
            for session_id, book in list(books.items()):
                if book.batching is batching:
                    self._flush(book)
                    self._unbatch(symbol, session_id)

    def _batch(self, book: BatchedBook) -> None:
        others = self._batched.setdefault(book.symbol, {})
        before = others.get(book.session.id)
        if before is not None:
            self._flush(before)
        others[book.session.id] = book

    def _unbatch(self, symbol: str, session_id: int) -> None:
        books = self._batched.get(symbol, {})
        books.pop(session_id, None)
        if not books:
            self._batched.pop(symbol, None)

    def _flush(self, book: BatchedBook) -> None:
        self._tell_batch(book, book.take())
        self._tidy(book.symbol)

    def arm(self, symbol: str, fault: BookFault) -> None:
        """Break a coming book update of ``symbol``."""
        self._book_faults.setdefault(symbol, []).append(fault)

    def unmute(self, mute: Mute) -> None:
        """Deliver again what ``mute`` kept back; it may be gone already."""
        if mute in self.mutes:
            self.mutes.remove(mute)

    def heal(self) -> None:
        """End every mute and break no update that is still to come; one that was held back is lost.

        What was told several at a time is told by itself again, from where it was.
        """
        self.mutes.clear()
        self.wordings.clear()
        self._book_faults.clear()
        for batching in list(self._batchings):
            self.unbatch(batching)

    def waiting_book_faults(self) -> int:
        """Return how many broken updates are still to come."""
        return sum(len(faults) for faults in self._book_faults.values())

    def forget(self, symbol: str, session_id: int) -> None:
        """Break and hold back nothing any more for a session that left the book of ``symbol``."""
        self._unbatch(symbol, session_id)
        for fault in self._book_faults.get(symbol, ()):
            fault.forget(session_id)
        self._tidy(symbol)

    def _tidy(self, symbol: str) -> None:
        faults = self._book_faults.get(symbol)
        if faults is not None:
            faults[:] = [fault for fault in faults if not fault.spent]
            if not faults:
                del self._book_faults[symbol]
