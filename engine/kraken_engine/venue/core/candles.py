"""What is remembered of a market's trades: the tape, candles of every interval, and the rolling 24 hours.

All three start with a made-up past, so that a venue that just opened answers like one that has been open for long.
Integers throughout: prices in ticks, volumes in lots, turnover in ticks times lots, times in whole seconds unless named
otherwise.
"""

from __future__ import annotations

from collections import deque

import attrs

from kraken_engine.runtime import Rng
from kraken_engine.venue.core.instruments import Pair
from kraken_engine.venue.core.timestamps import NS_PER_S

__all__ = ["CANDLES_KEPT", "INTERVALS", "Candle", "CandleSeries", "RollingDay", "Tape", "TradePrint"]

INTERVALS = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
"""Minutes a candle may span (docs "Candles")."""

CANDLES_KEPT = 720
"""Finished candles that are kept and served (docs "Get OHLC Data")."""

TRADES_KEPT = 1000

DAY_S = 86_400
_BUCKET_S = 1_800
_PAST_TRADES = 50


@attrs.frozen(kw_only=True)
class TradePrint:
    """One trade as the tape has it."""

    id: int
    wall_ns: int
    price: int
    qty: int
    taker_buys: bool
    order_type: str
    """``limit`` or ``market``, of the taker."""


@attrs.define(kw_only=True)
class Candle:
    """Trades of one stretch of time that starts at ``begin_s`` (seconds since 1970)."""

    begin_s: int
    open: int
    high: int
    low: int
    close: int
    turnover: int = 0
    volume: int = 0
    trades: int = 0

    @property
    def vwap(self) -> int:
        """Volume-weighted average price in ticks; 0 without trades."""
        return self.turnover // self.volume if self.volume else 0

    def add(self, price: int, qty: int) -> None:
        """Count one trade."""
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price
        self.turnover += price * qty
        self.volume += qty
        self.trades += 1


class Tape:
    """The last trades, oldest first."""

    def __init__(self, pair: Pair, rng: Rng, wall_ns: int) -> None:
        self.trades: deque[TradePrint] = deque(maxlen=TRADES_KEPT)
        self.next_id = rng.randrange(1_000_000, 99_000_000)
        for past in range(_PAST_TRADES, 0, -1):
            self.add(
                wall_ns=wall_ns - past * NS_PER_S - rng.randrange(NS_PER_S),
                price=pair.open_price,
                qty=max(2, int(pair.typical_lots * rng.random())),
                taker_buys=rng.random() < 0.5,
                order_type="limit",
            )

    def add(self, *, wall_ns: int, price: int, qty: int, taker_buys: bool, order_type: str) -> TradePrint:
        """Give a trade its id and print it."""
        printed = TradePrint(
            id=self.next_id, wall_ns=wall_ns, price=price, qty=qty, taker_buys=taker_buys, order_type=order_type
        )
        self.next_id += 1
        self.trades.append(printed)
        return printed


class CandleSeries:
    """Candles of one interval."""

    def __init__(self, minutes: int, pair: Pair, rng: Rng, start_s: int) -> None:
        self.minutes = minutes
        self.current: Candle | None = None
        self._span_s = minutes * 60
        self._pair = pair
        self._rng = rng
        self._start_s = start_s // self._span_s * self._span_s
        self._finished: deque[Candle] = deque(maxlen=CANDLES_KEPT)
        self._past: list[Candle] | None = None

    def add(self, time_s: int, price: int, qty: int) -> Candle:
        """Count a trade and return the candle it fell into."""
        current = self.current
        if current is None or time_s >= current.begin_s + self._span_s:
            if current is not None:
                self._finished.append(current)
            begin_s = time_s // self._span_s * self._span_s
            current = self.current = Candle(begin_s=begin_s, open=price, high=price, low=price, close=price)
        current.add(price, qty)
        return current

    def rows(self, now_s: int) -> list[Candle]:
        """Return the last 720 finished candles and the running one; stretches without trades repeat the last close."""
        known = [*self._backfill(), *self._finished, *([] if self.current is None else [self.current])]
        running_s = now_s // self._span_s * self._span_s
        rows: list[Candle] = []
        for candle, following in zip(known, [*known[1:], None], strict=True):
            rows.append(candle)
            until_s = running_s + self._span_s if following is None else following.begin_s
            first_s = max(candle.begin_s, until_s - (CANDLES_KEPT + 2) * self._span_s) + self._span_s
            for begin_s in range(first_s, until_s, self._span_s):
                close = candle.close
                rows.append(Candle(begin_s=begin_s, open=close, high=close, low=close, close=close))
        return rows[-CANDLES_KEPT - 1 :]

    def _backfill(self) -> list[Candle]:
        """Make up the candles before the start, on first demand: they depend on the seed alone."""
        if self._past is None:
            draw = self._rng.random
            close = self._pair.open_price
            step = max(1, close // 2000)
            past: list[Candle] = []
            for back in range(1, CANDLES_KEPT + 1):
                opened = max(close // 2, close + int((draw() - 0.5) * 2 * step))
                high, low = max(opened, close) + int(draw() * step), max(1, min(opened, close) - int(draw() * step))
                volume = max(1, int(self._pair.typical_lots * self.minutes * draw()))
                past.append(
                    Candle(
                        begin_s=self._start_s - back * self._span_s,
                        open=opened,
                        high=high,
                        low=low,
                        close=close,
                        turnover=(high + low) // 2 * volume,
                        volume=volume,
                        trades=1 + int(draw() * 10 * self.minutes),
                    )
                )
                close = opened
            self._past = past[::-1]
        return self._past


class RollingDay:
    """Sums over the last 24 hours, kept in half-hour buckets, so that they roll by half an hour at a time."""

    def __init__(self, pair: Pair, rng: Rng, start_s: int) -> None:
        first_s = start_s // _BUCKET_S * _BUCKET_S - DAY_S + _BUCKET_S
        price, step = pair.open_price, max(1, pair.open_price // 400)
        self._buckets: deque[Candle] = deque()
        for begin_s in range(first_s, start_s + 1, _BUCKET_S):
            high, low = price + int(rng.random() * step), price - int(rng.random() * step)
            bucket = Candle(begin_s=begin_s, open=price, high=high, low=low, close=price)
            bucket.trades = rng.randrange(20, 400)
            bucket.volume = pair.typical_lots * bucket.trades // 4
            bucket.turnover = (high + low) // 2 * bucket.volume
            self._buckets.append(bucket)
        self._older = _sum_of(list(self._buckets)[:-1])

    def add(self, time_s: int, price: int, qty: int) -> None:
        """Count one trade."""
        self._roll(time_s)
        self._buckets[-1].add(price, qty)

    def last_24_hours(self, now_s: int) -> Candle:
        """Return the sums of the last 24 hours as one candle."""
        self._roll(now_s)
        older, running = self._older, self._buckets[-1]
        return Candle(
            begin_s=older.begin_s,
            open=older.open,
            high=max(older.high, running.high),
            low=min(older.low, running.low),
            close=running.close,
            turnover=older.turnover + running.turnover,
            volume=older.volume + running.volume,
            trades=older.trades + running.trades,
        )

    def today(self, now_s: int) -> Candle:
        """Return the sums since midnight UTC."""
        self._roll(now_s)
        midnight_s = now_s // DAY_S * DAY_S
        return _sum_of([bucket for bucket in self._buckets if bucket.begin_s >= midnight_s])

    def _roll(self, now_s: int) -> None:
        buckets = self._buckets
        running = buckets[-1]
        if now_s < running.begin_s + _BUCKET_S:
            return
        newest_s = now_s // _BUCKET_S * _BUCKET_S
        close = running.close
        first_s = max(running.begin_s + _BUCKET_S, newest_s - DAY_S)
        for begin_s in range(first_s, newest_s + 1, _BUCKET_S):
            buckets.append(Candle(begin_s=begin_s, open=close, high=close, low=close, close=close))
        while buckets[0].begin_s <= newest_s - DAY_S:
            buckets.popleft()
        self._older = _sum_of(list(buckets)[:-1])


def _sum_of(candles: list[Candle]) -> Candle:
    return Candle(
        begin_s=candles[0].begin_s,
        open=candles[0].open,
        high=max(candle.high for candle in candles),
        low=min(candle.low for candle in candles),
        close=candles[-1].close,
        turnover=sum(candle.turnover for candle in candles),
        volume=sum(candle.volume for candle in candles),
        trades=sum(candle.trades for candle in candles),
    )
