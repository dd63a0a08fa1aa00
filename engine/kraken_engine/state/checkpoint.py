"""What the engine knew, as bytes, and back: for a warm start that shows yesterday's values as yesterday's.

Every digit survives: numbers are written as the venue's tokens or as exact decimals. Times are written with the two
clocks of the moment, so that an age can be told in another process, whose monotonic clock began elsewhere.

What is restored is never live (I-33): every value comes back as ``resyncing``, without the word of a checksum, as old
as it really is, together with the :class:`~kraken_engine.errors.Stale` that says so.

Knows nothing of files; what made the bytes trustworthy is :mod:`kraken_engine.store.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs
import msgspec

from kraken_engine.errors import DecodeError, Stale
from kraken_engine.model import Instrument, Integrity
from kraken_engine.normalise.account_events import BalanceUpdate, Order
from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Candle, MarketEvent, TickerUpdate, Trade
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.history import Change
from kraken_engine.state.history_values import ChangeRecord, plain, read_changes
from kraken_engine.state.positions import Position

__all__ = ["AccountState", "EngineState", "Restored", "decode_state", "encode_state"]

VERSION: Final = 1


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of one account. Fills are not here: they are in the store, each with its number."""

    orders: tuple[Order, ...] = ()
    """Open ones."""
    balances: tuple[BalanceUpdate, ...] = ()
    positions: tuple[Position, ...] = ()


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine knew at one moment."""

    saved_wall_ns: int
    """Nanoseconds since 1970 by the wall clock."""
    saved_s: float
    """Monotonic seconds by the clock of ``received_s`` in the events."""
    venue: str = ""
    """Which venue it was learnt of; empty in what was saved before that was kept."""
    instruments: tuple[Instrument, ...] = ()
    tickers: tuple[TickerUpdate, ...] = ()
    books: tuple[BookUpdate, ...] = ()
    """The newest of each symbol; verified ones only, or those of REST."""
    candles: tuple[Candle, ...] = ()
    """Of each series the oldest first, the forming one last."""
    trades: tuple[Trade, ...] = ()
    """The last one of each symbol: its id is what the next one is compared with."""
    accounts: dict[str, AccountState] = {}
    """By name."""
    history: tuple[ChangeRecord, ...] = ()
    """What changed, lane by lane, oldest first."""


class _Document(msgspec.Struct, frozen=True):
    version: int
    state: EngineState


class _Opening(msgspec.Struct):
    version: int


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=plain)
_OPENING: Final = msgspec.msgpack.Decoder(_Opening)
_DOCUMENT: Final = msgspec.msgpack.Decoder(_Document)


def encode_state(state: EngineState) -> bytes:
    """Return ``state`` as bytes (MessagePack)."""
    return _ENCODER.encode(_Document(VERSION, state))


def decode_state(data: bytes) -> EngineState:
    """Return the state in ``data``.

    Raises:
        DecodeError: it is none, or of a version that is not known here.
    """
    try:
        version = _OPENING.decode(data).version
        if version != VERSION:
            raise DecodeError("$.version", f"version {VERSION}", version)
        return _DOCUMENT.decode(data).state
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError("$", "a state of the engine", str(error)) from None


@attrs.frozen(kw_only=True)
class Restored:
    """The state of an earlier process, as this one may show it: none of it is current."""

    state: EngineState
    now: float
    """Monotonic seconds, by this process's clock."""
    wall_ns: int
    generation: int = 0
    """Which checkpoint it comes from, as they are counted on the disk; 0: from none."""

    @property
    def age_s(self) -> float:
        """Seconds since the state was saved; 0 where the wall clock went back since."""
        return max(0.0, (self.wall_ns - self.state.saved_wall_ns) / 1e9)

    def events(self) -> Iterator[tuple[StreamKey, MarketEvent]]:
        """Return the values of every stream, none of them live, oldest first within a stream."""
        state = self.state
        yield from ((("ticker", update.symbol), self._aged(update)) for update in state.tickers)
        for book in state.books:
            aged = attrs.evolve(book, book=attrs.evolve(book.book, verified=False))
            yield ("book", book.symbol), self._aged(aged)
        yield from ((("ohlc", candle.symbol, candle.interval_min), self._aged(candle)) for candle in state.candles)
        yield from ((("trade", trade.symbol), self._aged(trade)) for trade in state.trades)

    def changes(self) -> list[Change]:
        """Return the history of that process, with times of this process's clock; each change says it is restored."""
        return read_changes(self.state.history, older_s=self.state.saved_s + self.age_s - self.now)

    def stale(self, key: StreamKey) -> Stale:
        """Return what a reader of the stream ``key`` is told: why its value may not be trusted."""
        channel, symbol = str(key[0]), None if len(key) < 2 else str(key[1])
        return Stale(channel, symbol, f"restored, {self.age_s:.0f} s after it was saved; not current", since_s=self.now)

    def _aged(self, event: MarketEvent) -> MarketEvent:
        """Return ``event`` with its age by this process's clock."""
        age_s = self.state.saved_s - event.received_s + self.age_s
        return attrs.evolve(event, received_s=self.now - age_s, integrity=Integrity.RESYNCING)
