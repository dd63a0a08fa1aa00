"""Recordings of raw frames, and playing them back through the code that live data takes.

A recording is a file with one text frame of WebSocket v2 a line (JSON Lines), or one JSON document: a frame, or an
array of frames. Each frame goes through the same decoder, checks, books and trade sequences as on a line, with the
frame's number for a clock. A replay cannot ask the venue for anything: after a mismatch a book stays out of sight
until the recording holds a snapshot, and both are counted.

Knows nothing of sockets, tasks or the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import msgspec

from kraken_engine.codec.sniff import sniff
from kraken_engine.codec.ws_v2 import (
    Ack,
    BookData,
    BookMessage,
    InstrumentMessage,
    MarketMessage,
    OhlcMessage,
    StatusMessage,
    TickerMessage,
    TradeMessage,
)
from kraken_engine.codec.ws_v2_frames import FrameDecoder
from kraken_engine.codec.ws_v2_private import BalancesMessage, ExecutionsMessage
from kraken_engine.config import SubscriptionSettings
from kraken_engine.errors import ConfigError, DecodeError, Stale
from kraken_engine.model import BOOK_DEPTHS, Instrument, Source
from kraken_engine.normalise.account import balance_reports, execution_reports
from kraken_engine.normalise.instruments import instrument_update, venue_status
from kraken_engine.normalise.market_data import candles, ticker_updates, trades
from kraken_engine.runtime import Readable
from kraken_engine.state.balances import Balances
from kraken_engine.state.book_sync import BookSync, Publish
from kraken_engine.state.orders import Inconsistency, Orders
from kraken_engine.state.trades import TradeSequence

__all__ = ["BookTally", "Frame", "Rejection", "Replay", "ReplaySummary", "is_legacy", "read_frames", "replay_frames"]

MAX_REJECTIONS = 1_000
"""Rejections that are kept with their reason; later ones are only counted."""

_TICK_S = 1e-6
"""A replay's time passes by this much a frame: it orders events, and no deadline ever comes due."""


@attrs.frozen
class Frame:
    """One recorded text frame."""

    line: int
    """Its line in the file, or its place in the array, counted from 1."""
    payload: bytes


@attrs.frozen
class Rejection:
    """A frame, or an element of one, that was left out, or that cost a book."""

    line: int
    reason: str


@attrs.frozen(kw_only=True)
class BookTally:
    """What became of one symbol's book messages."""

    verified: int
    """The checksum matched."""
    mismatched: int
    """It did not."""
    malformed: int
    """Could not be applied at all."""
    without_snapshot: int
    """Updates before the first snapshot, or between a loss and the next one: nothing to check them against."""


@attrs.frozen(kw_only=True)
class ReplaySummary:
    """What a replay saw."""

    frames: int
    decoded: int
    rejected_count: int
    rejected: tuple[Rejection, ...]
    """The first of them, with reasons."""
    losses: tuple[Rejection, ...]
    """Where a book that was shown had to be withdrawn, or a report fits no order known so far, and why (the first)."""
    events: dict[str, int]
    """What consumers would have received, by type."""
    books: dict[str, BookTally]
    unknown_channels: dict[str, int]
    unknown_fields: dict[str, int]

    def as_json(self) -> dict[str, object]:
        """Return the summary as plain JSON values."""
        return {
            "frames": self.frames,
            "decoded": self.decoded,
            "rejected_count": self.rejected_count,
            "rejected": [attrs.asdict(rejection) for rejection in self.rejected],
            "losses": [attrs.asdict(loss) for loss in self.losses],
            "events": self.events,
            "books": {symbol: attrs.asdict(tally) for symbol, tally in self.books.items()},
            "unknown_channels": self.unknown_channels,
            "unknown_fields": self.unknown_fields,
        }


def read_frames(files: Readable, path: str) -> list[Frame]:
    """Return the frames of a recording, their bytes untouched.

    Raises:
        ConfigError: the file cannot be read, or there is no frame in it.
    """
    try:
        content = files.read_bytes(path)
    except OSError as error:
        raise ConfigError(f"{path}: expected a recording, got {error.strerror or error}") from None
    frames = _document_frames(content)
    if frames is None:
        frames = _line_frames(content)
    if not frames:
        raise ConfigError(f"{path}: expected a recording, got no frame")
    return frames


def is_legacy(frames: Iterable[Frame]) -> bool:
    """Tell whether these are frames of WebSocket v1: arrays, and objects with an ``event``."""
    for frame in frames:
        if frame.payload.startswith(b"["):
            return True
        try:
            opening = _OPENING.decode(frame.payload)
        except _UNREADABLE:
            continue
        if opening.event is not None:
            return True
        if opening.channel is not None or opening.method is not None:
            return False
    return False


def replay_frames(frames: Iterable[Frame], *, instruments: Sequence[Instrument] = ()) -> ReplaySummary:
    """Play ``frames`` back and say what came of them.

    Args:
        frames: in the order in which they arrived.
        instruments: precisions of symbols, for recordings that lost trailing zeros; an instrument frame in the
            recording says the same.
    """
    replay = Replay(instruments=instruments)
    for frame in frames:
        replay.feed(frame)
    return replay.summary()


class Replay:
    """Takes the place of a line and everything behind it, one frame at a time.

    Args:
        instruments: see :func:`replay_frames`.
        publish: told of every event a consumer would have received, in order.
    """

    def __init__(
        self, *, instruments: Sequence[Instrument] = (), publish: Callable[[object], None] | None = None
    ) -> None:
        self._decoder: FrameDecoder[Any] = FrameDecoder(_RECORDED, sample_every=1)
        self._publish = publish
        self._instruments = {instrument.symbol: instrument for instrument in instruments}
        self._books: dict[str, _Book] = {}
        self._depths: dict[str, int] = {}
        self._sequences: dict[str, TradeSequence] = {}
        self._orders = Orders("recorded")
        self._balances = Balances("recorded")
        self._line = 0
        self._now = 0.0
        self._frames = 0
        self._decoded = 0
        self._rejected = 0
        self._rejections: list[Rejection] = []
        self._losses: list[Rejection] = []
        self._events: dict[str, int] = {}

    def feed(self, frame: Frame) -> None:
        """Play one frame; nothing in it raises."""
        self._line = frame.line
        self._frames += 1
        self._now = self._frames * _TICK_S
        try:
            message = self._decoder.decode(frame.payload)
        except DecodeError as error:
            self._reject(error)
            self._suspect(frame.payload, str(error))
            return
        self._decoded += 1
        self._receive(message)

    def summary(self) -> ReplaySummary:
        """Return what was seen so far."""
        return ReplaySummary(
            frames=self._frames,
            decoded=self._decoded,
            rejected_count=self._rejected,
            rejected=tuple(self._rejections),
            losses=tuple(self._losses),
            events=dict(sorted(self._events.items())),
            books={symbol: book.tally() for symbol, book in sorted(self._books.items())},
            unknown_channels=dict(self._decoder.unknown_channels),
            unknown_fields=dict(self._decoder.unknown_fields),
        )

    def _receive(self, message: object) -> None:
        now, reject = self._now, self._reject
        match message:
            case BookMessage():
                for data in message.data:
                    self._book(data, snapshot=message.type == "snapshot")
            case TickerMessage():
                self._publish_all(ticker_updates(message, received_s=now, reject=reject))
            case TradeMessage():
                for trade in trades(message, received_s=now, reject=reject):
                    sequence = self._sequences.setdefault(trade.symbol, TradeSequence(trade.symbol))
                    self._publish_all(sequence.receive(trade, now=now))
            case OhlcMessage():
                self._publish_all(candles(message, received_s=now, reject=reject))
            case InstrumentMessage():
                self._instruments_changed(message)
            case StatusMessage():
                status = venue_status(message, at_s=now, reject=reject)
                self._publish_all([] if status is None else [status])
            case ExecutionsMessage() | BalancesMessage():
                self._account(message)
            case Ack(channel="book", symbol=str(symbol), depth=int(depth), success=True):
                self._depths[symbol] = depth
            case _:  # heartbeats, pongs, other replies and unknown channels say nothing about the market
                pass

    def _account(self, message: ExecutionsMessage | BalancesMessage) -> None:
        """Merge what an account was told; a recording may begin in the middle of an order's life."""
        try:
            if isinstance(message, BalancesMessage):
                balances = balance_reports(message)
                if message.type == "snapshot":
                    source = Source.WEBSOCKET_V2
                    self._publish_all(self._balances.snapshot(balances, source=source, received_s=self._now))
                else:
                    self._publish_all([self._balances.apply(each, received_s=self._now) for each in balances])
                return
            reports = execution_reports(message, account="recorded", received_s=self._now)
        except DecodeError as error:
            self._reject(error)
            return
        for report in reports:
            if message.type == "snapshot" and report.exec_id is not None:
                self._orders.note_fill(report.exec_id)  # a repetition of what happened before
                self._publish_all([report])
                continue
            try:
                self._publish_all(self._orders.apply(report))
            except Inconsistency as error:
                self._publish_all([report])
                self._lose(str(error))

    def _book(self, data: BookData, *, snapshot: bool) -> None:
        book = self._books.get(data.symbol)
        if book is None:
            book = self._books[data.symbol] = _Book(data.symbol)
        if snapshot:
            book.open(self._depths.get(data.symbol) or _depth_of(data), self._instruments.get(data.symbol), self._now)
        self._publish_actions(book.sync.receive(data, snapshot=snapshot, now=self._now))

    def _instruments_changed(self, message: InstrumentMessage) -> None:
        update = instrument_update(message, received_s=self._now, reject=self._reject)
        for instrument in update.instruments:
            self._instruments[instrument.symbol] = instrument
            if instrument.symbol in self._books:
                self._publish_actions(self._books[instrument.symbol].sync.instrument(instrument, now=self._now))
        self._publish_all([update])

    def _suspect(self, payload: bytes, why: str) -> None:
        """Stop believing the books that a frame which cannot be read may have changed."""
        suspect = sniff(payload)
        if suspect is None or suspect[0] not in {None, "book"}:
            return
        symbol = suspect[1]
        for name, book in self._books.items():
            if symbol is None or symbol == name:
                self._publish_actions(book.sync.lose(f"undecodable frame: {why}", now=self._now))

    def _publish_actions(self, actions: Iterable[object]) -> None:
        self._publish_all([action.event for action in actions if isinstance(action, Publish)])

    def _publish_all(self, events: Iterable[object]) -> None:
        for event in events:
            name = type(event).__name__
            self._events[name] = self._events.get(name, 0) + 1
            if isinstance(event, Stale):
                self._lose(str(event))
            if self._publish is not None:
                self._publish(event)

    def _lose(self, why: str) -> None:
        if len(self._losses) < MAX_REJECTIONS:
            self._losses.append(Rejection(self._line, why))

    def _reject(self, error: DecodeError) -> None:
        self._rejected += 1
        if len(self._rejections) < MAX_REJECTIONS:
            self._rejections.append(Rejection(self._line, str(error)))


class _Book:
    """One symbol's book, and the tallies of its earlier subscriptions at other depths."""

    def __init__(self, symbol: str) -> None:
        self.sync = BookSync(symbol, BOOK_DEPTHS[0], _SETTINGS)
        self._earlier = BookTally(verified=0, mismatched=0, malformed=0, without_snapshot=0)

    def open(self, depth: int, instrument: Instrument | None, now: float) -> None:
        """Expect a snapshot of ``depth`` levels a side."""
        if depth != self.sync.depth:
            self._earlier = self.tally()
            self.sync = BookSync(self.sync.symbol, depth, _SETTINGS)
        if instrument is not None:
            self.sync.instrument(instrument, now=now)

    def tally(self) -> BookTally:
        counted = self.sync.statistics()
        return BookTally(
            verified=self._earlier.verified + counted.verified,
            mismatched=self._earlier.mismatched + counted.mismatched,
            malformed=self._earlier.malformed + counted.malformed,
            without_snapshot=self._earlier.without_snapshot + counted.dropped_before_snapshot,
        )


class _Opening(msgspec.Struct):
    channel: Any = None
    method: Any = None
    event: Any = None


_RECORDED = MarketMessage | ExecutionsMessage | BalancesMessage
_SETTINGS = SubscriptionSettings()
_OPENING = msgspec.json.Decoder(_Opening, float_hook=str)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNREADABLE = (msgspec.MsgspecError, RecursionError, ValueError)


def _document_frames(content: bytes) -> list[Frame] | None:
    """Return the frames of one JSON document, or None if ``content`` is not one."""
    try:
        if content.lstrip().startswith(b"{"):
            _OBJECT.decode(content)
            return [Frame(1, content)]
        frames = [Frame(number, bytes(raw)) for number, raw in enumerate(_ARRAY.decode(content), start=1)]
    except _UNREADABLE:
        return None
    if any(not frame.payload.startswith(b"{") for frame in frames):
        return None  # one frame of v1, which is an array itself
    return frames


def _line_frames(content: bytes) -> list[Frame]:
    lines = enumerate(content.split(b"\n"), start=1)
    return [Frame(number, payload) for number, line in lines if (payload := line.strip())]


def _depth_of(snapshot: BookData) -> int:
    """Return the depth that was probably subscribed, where the recording holds no ack."""
    levels = max(len(snapshot.bids), len(snapshot.asks))
    return next((depth for depth in BOOK_DEPTHS if depth >= levels), BOOK_DEPTHS[-1])
