"""One listed pair: its market, what is remembered of it, and who is subscribed to it.

This is where one step of the crowd becomes messages: trades first, then the book, then candles and tickers, as in
recordings, each built once and shared by its subscribers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

import attrs

from kraken_engine.runtime import seeded_rng
from kraken_engine.venue.core import frames
from kraken_engine.venue.core.book_channel import BookPublisher
from kraken_engine.venue.core.candles import INTERVALS, Candle, CandleSeries, RollingDay, Tape, TradePrint
from kraken_engine.venue.core.delivery import Delivery
from kraken_engine.venue.core.instruments import Pair
from kraken_engine.venue.core.market import MarketFlow
from kraken_engine.venue.core.matching import ASK, BID, Fill
from kraken_engine.venue.core.sessions import Session, Subscription
from kraken_engine.venue.core.timestamps import NS_PER_S, Stamps

__all__ = ["Listing", "SpreadRow"]

SPREADS_KEPT = 200
SNAPSHOT_TRADES = 50
SNAPSHOT_CANDLES = 60

_Subscribers = dict[int, Session]


@attrs.frozen
class SpreadRow:
    """Best bid and ask since ``time_s``."""

    time_s: int
    bid: int
    ask: int


class Listing:
    """One pair as the venue runs it."""

    def __init__(
        self,
        pair: Pair,
        *,
        seed: int,
        steps_per_s: float,
        levels: int,
        recent_books: int,
        wall_ns: int,
        delivery: Delivery,
        stamps: Stamps,
    ) -> None:
        """List a pair.

        Args:
            pair: what is traded.
            seed: of the whole venue; every generator here is derived from it and the pair's name.
            steps_per_s: mean number of steps of the crowd a second; their distances are exponential.
            levels: levels a side of the book.
            recent_books: books that are kept whole for judges.
            wall_ns: when the venue opens.
            delivery: where messages go.
            stamps: writes times.
        """
        self.pair = pair
        self.steps = 0
        self._rate = steps_per_s
        self._delivery = delivery
        self._stamps = stamps
        self._rng = seeded_rng(f"{seed}:{pair.symbol}:market")
        self._wall_ns = wall_ns
        self.flow = MarketFlow(pair, self._rng, levels)
        self.book = BookPublisher(pair, self.flow.book, stamps, wall_ns, recent=recent_books)
        past = seeded_rng(f"{seed}:{pair.symbol}:past")
        self.tape = Tape(pair, past, wall_ns)
        self.day = RollingDay(pair, past, wall_ns // NS_PER_S)
        self.candles = {
            minutes: CandleSeries(minutes, pair, seeded_rng(f"{seed}:{pair.symbol}:{minutes}"), wall_ns // NS_PER_S)
            for minutes in INTERVALS
        }
        self.spreads: deque[SpreadRow] = deque(maxlen=SPREADS_KEPT)
        self.resting: dict[int, Callable[[Fill, TradePrint], None]] = {}
        """Who is told of fills of orders that are not the crowd's, by the order's id in the book."""
        self._books: dict[int, _Subscribers] = {}
        self._trades: _Subscribers = {}
        self._tickers: dict[str, _Subscribers] = {"trades": {}, "bbo": {}}
        self._ohlc: dict[int, _Subscribers] = {}
        self._best = self._best_now()
        self._ticker_due = False
        self._note_spread()

    def pause_ns(self) -> int:
        """Draw the time until the next step."""
        return 1 + int(self._rng.expovariate(self._rate) * NS_PER_S)

    def step(self, wall_ns: int) -> None:
        """Let one participant act at ``wall_ns`` and deliver what follows from it."""
        self.steps += 1
        self.act_at(wall_ns)
        self.flow.step(self)

    def act_at(self, wall_ns: int) -> None:
        """Set the time of what is done to this market besides the crowd's steps."""
        self._wall_ns = self.book.wall_ns = wall_ns

    def traded(self, taker_side: int, order_type: str, fills: list[Fill]) -> list[TradePrint]:
        """Print the fills of one taker: one frame of trades, one update per subscribed candle.

        Whoever has an order in :attr:`resting` that gave something hears of it, after everybody else.
        """
        wall_ns = self._wall_ns
        time_s = wall_ns // NS_PER_S
        printed = [
            self.tape.add(
                wall_ns=wall_ns, price=fill.price, qty=fill.qty, taker_buys=taker_side == BID, order_type=order_type
            )
            for fill in fills
        ]
        if self._trades:
            self._publish("trade", self._trades, frames.trade_frame(b"update", self.pair, printed, self._stamps))
        for fill in fills:
            self.day.add(time_s, fill.price, fill.qty)
        for minutes, series in self.candles.items():
            for fill in fills:
                candle = series.add(time_s, fill.price, fill.qty)
                if self._ohlc.get(minutes):
                    self._publish("ohlc", self._ohlc[minutes], self._ohlc_frame(b"update", minutes, [candle]))
        self._ticker_due = True
        if self.resting:
            for fill, trade in zip(fills, printed, strict=True):
                heard = self.resting.get(fill.maker_id)
                if heard is not None:
                    heard(fill, trade)
        return printed

    def commit(self) -> None:
        """Deliver the book messages of what happened since the last commit, then the tickers that follow."""
        for message in self.book.commit():
            subscribers = self._books.get(message.depth)
            if subscribers:
                self._delivery.publish_book(self.pair.symbol, subscribers, message)
        best = self._best_now()
        moved = best != self._best
        if moved:
            self._note_spread()
            self._best = best
        after_trade, on_bbo = self._tickers["trades"], self._tickers["bbo"]
        if (after_trade and self._ticker_due) or (on_bbo and moved):
            frame = self._ticker_frame(b"update")
            if after_trade and self._ticker_due:
                self._publish("ticker", after_trade, frame)
            if on_bbo and moved:
                self._publish("ticker", on_bbo, frame)
        self._ticker_due = False

    def attach(self, session: Session, subscription: Subscription) -> None:
        """Send ``session`` what follows on this subscription."""
        if subscription.channel == "book" and subscription.depth is not None:
            self.book.open_window(subscription.depth)
            self._delivery.joined(self.pair.symbol, session, self.book, subscription.depth)
        self._subscribers(subscription)[session.id] = session

    def detach(self, session: Session, subscription: Subscription) -> None:
        """Send it no more."""
        subscribers = self._subscribers(subscription)
        subscribers.pop(session.id, None)
        if subscription.channel == "book" and subscription.depth is not None:
            self._delivery.forget(self.pair.symbol, session.id)
            if not subscribers:
                self.book.close_window(subscription.depth)

    def snapshot(self, subscription: Subscription, wall_ns: int) -> bytes:
        """Return the snapshot frame a new subscription starts with."""
        match subscription.channel:
            case "book":
                return self.book.snapshot(subscription.depth or 0)
            case "ticker":
                return self._ticker_frame(b"snapshot", wall_ns)
            case "trade":
                last = list(self.tape.trades)[-SNAPSHOT_TRADES:]
                return frames.trade_frame(b"snapshot", self.pair, last, self._stamps)
            case _:
                minutes = subscription.interval or 1
                rows = self.candles[minutes].rows(wall_ns // NS_PER_S)[-SNAPSHOT_CANDLES:]
                return self._ohlc_frame(b"snapshot", minutes, [row for row in rows if row.trades], wall_ns)

    def book_subscribers(self, *, deeper_than: int = 0) -> list[int]:
        """Return the ids of the sessions subscribed to this book, of any depth above ``deeper_than``."""
        return [
            session_id
            for depth, subscribers in self._books.items()
            if depth > deeper_than
            for session_id in subscribers
        ]

    def rejoin(self, sessions: Collection[int]) -> None:
        """Let delivery look again at how those of ``sessions`` that are subscribed to this book are told it."""
        for depth, subscribers in self._books.items():
            for session in subscribers.values():
                if session.id in sessions:
                    self._delivery.joined(self.pair.symbol, session, self.book, depth)

    def _subscribers(self, subscription: Subscription) -> _Subscribers:
        match subscription.channel:
            case "book":
                return self._books.setdefault(subscription.depth or 0, {})
            case "ticker":
                return self._tickers[subscription.event_trigger or "trades"]
            case "trade":
                return self._trades
            case _:
                return self._ohlc.setdefault(subscription.interval or 1, {})

    def _publish(self, channel: str, sessions: _Subscribers, payload: bytes) -> None:
        self._delivery.publish(channel, self.pair.symbol, sessions, payload)

    def _best_now(self) -> tuple[int, int, int, int]:
        """Return bid, its quantity, ask, its quantity."""
        bids, asks = self.flow.book.ladders[BID], self.flow.book.ladders[ASK]
        return -bids.keys[0], bids.total(0), asks.keys[0], asks.total(0)

    def _note_spread(self) -> None:
        bid, _, ask, _ = self._best_now()
        last = self.spreads[-1] if self.spreads else None
        if last is None or (last.bid, last.ask) != (bid, ask):
            self.spreads.append(SpreadRow(self._wall_ns // NS_PER_S, bid, ask))

    def _ticker_frame(self, kind: bytes, wall_ns: int | None = None) -> bytes:
        at_ns = self._wall_ns if wall_ns is None else wall_ns
        bid, bid_qty, ask, ask_qty = self._best_now()
        day = self.day.last_24_hours(at_ns // NS_PER_S)
        stamp = self._stamps.micros(at_ns)
        return frames.ticker_frame(kind, self.pair, bid=(bid, bid_qty), ask=(ask, ask_qty), day=day, stamp=stamp)

    def _ohlc_frame(self, kind: bytes, minutes: int, candles: list[Candle], wall_ns: int | None = None) -> bytes:
        at_ns = self._wall_ns if wall_ns is None else wall_ns
        return frames.ohlc_frame(kind, self.pair, minutes, candles, stamps=self._stamps, wall_ns=at_ns)
