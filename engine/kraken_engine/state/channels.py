"""One line's views of tickers, candles and instruments, and what the lines of a market share.

A message that cannot be trusted is skipped on a stateless channel (ticker, ohlc) and counted; on a stateful one
(:mod:`~kraken_engine.state.book_channel`) it is a loss.
"""

from __future__ import annotations

from typing import Any

import attrs

from kraken_engine.codec.ws_v2 import InstrumentMessage, OhlcMessage, TickerData, TickerMessage
from kraken_engine.normalise.events import Candle
from kraken_engine.normalise.instruments import instrument_update
from kraken_engine.normalise.market_data import candles, ticker_updates
from kraken_engine.state.book_log import SharedBooks
from kraken_engine.state.candles import CandleSeries
from kraken_engine.state.channel_view import Outcome, SimpleChannel
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import SubscriptionKey
from kraken_engine.state.tickers import LatestTicker
from kraken_engine.state.trades import SharedTrades

__all__ = ["CandleChannel", "InstrumentChannel", "Shared", "TickerChannel"]


MOST_SHARED = 4096
"""Updates one line may be ahead of the others before these have to decode them again."""

LONGEST_SHARED_BYTES = 4096
"""Longer frames are snapshots, or rare: not worth their memory."""


@attrs.define(eq=False)
class Shared:
    """What the lines of one market know together."""

    books: SharedBooks = attrs.field(factory=SharedBooks)
    trades: SharedTrades = attrs.field(factory=SharedTrades)
    tickers: dict[StreamKey, TickerData] = attrs.field(factory=dict[StreamKey, TickerData])
    """The newest ticker of each symbol that any line brought."""
    frames: dict[bytes, Any] = attrs.field(factory=dict[bytes, Any])
    """Updates by the bytes that one line brought them in, so that another one need not decode them; oldest first."""
    lines_up: int = 0
    """Lines that have a connection."""

    def remember(self, frame: bytes, message: Any) -> None:
        """Keep what ``frame`` was decoded to, while there is another line that may bring it."""
        if self.lines_up > 1 and len(frame) <= LONGEST_SHARED_BYTES:
            frames = self.frames
            if len(frames) >= MOST_SHARED:
                del frames[next(iter(frames))]
            frames[frame] = message


@attrs.define
class TickerChannel(SimpleChannel[LatestTicker]):
    """Tickers: every message is a full ticker."""

    shared: dict[StreamKey, TickerData] = attrs.field(factory=dict[StreamKey, TickerData])
    """The newest ticker of each symbol, of all lines."""
    channel: str = attrs.field(default="ticker", init=False)

    def _begin(self, subscription: SubscriptionKey) -> LatestTicker:
        return LatestTicker(subscription.symbol or "")

    def receive(self, message: TickerMessage, *, received_s: float) -> list[Outcome]:
        """Return the tickers of one message that are news."""
        outcomes: list[Outcome] = []
        for update in ticker_updates(message, received_s=received_s, reject=self._reject):
            key: StreamKey = ("ticker", update.symbol)
            latest = self._streams.get(key)
            if latest is None:
                self.unsubscribed += 1
            else:
                if update.venue_time is not None:
                    self._brought[key] = update.venue_time.rstrip("Z")
                    if message.type == "snapshot":
                        self._undated[key] = None
                    else:
                        self._undated.pop(key, None)
                for event in latest.receive(update, now=received_s):
                    outcomes.append((key, event))
                    self.shared[key] = update.data
        return outcomes

    def drop(self, key: StreamKey) -> None:
        """Ignore this ticker from now on."""
        SimpleChannel.drop(self, key)
        self.shared.pop(key, None)

    def passes(self, message: TickerMessage, *, now: float) -> bool:  # noqa: ARG002 - books need it
        """Pass over the ticker that is shown already: it would change nothing."""
        if len(message.data) != 1:
            return False
        (data,) = message.data
        key: StreamKey = ("ticker", data.symbol)
        if self.shared.get(key) is not data or key in self._loud or key not in self._streams:
            return False
        if data.timestamp is not None:
            self._brought[key] = data.timestamp.rstrip("Z")
            self._undated.pop(key, None)
        return True


@attrs.define
class CandleChannel(SimpleChannel[CandleSeries]):
    """Candles: every message is the full state of its candles."""

    channel: str = attrs.field(default="ohlc", init=False)

    def _begin(self, subscription: SubscriptionKey) -> CandleSeries:
        return CandleSeries(subscription.symbol or "", subscription.interval or 1)

    def closed(self, key: StreamKey) -> tuple[Candle, ...]:
        """Return the closed candles of a series, oldest first."""
        series = self._streams.get(key)
        return () if series is None else series.closed

    def _forget_forming(self, state: CandleSeries) -> None:
        state.lose()

    def receive(self, message: OhlcMessage, *, received_s: float) -> list[Outcome]:
        """Return the candles of one message that are news."""
        outcomes: list[Outcome] = []
        for candle in candles(message, received_s=received_s, reject=self._reject):
            key: StreamKey = ("ohlc", candle.symbol, candle.interval_min)
            series = self._streams.get(key)
            if series is None:
                self.unsubscribed += 1
            else:
                self._brought[key] = (candle.interval_begin, candle.trades)
                outcomes.extend((key, event) for event in series.receive(candle))
        return outcomes


@attrs.define
class InstrumentChannel(SimpleChannel[None]):
    """Instruments: the list of tradable pairs, and what changes in it."""

    channel: str = attrs.field(default="instrument", init=False)

    def _begin(self, subscription: SubscriptionKey) -> None:
        del subscription

    def receive(self, message: InstrumentMessage, *, received_s: float) -> list[Outcome]:
        """Return the new and changed instruments of one message."""
        return [(("instrument",), instrument_update(message, received_s=received_s, reject=self._reject))]
