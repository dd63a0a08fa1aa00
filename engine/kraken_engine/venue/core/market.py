"""The synthetic order flow of one market: who adds, cancels and takes, drawn from one generator.

The mix is set so that the messages of a depth 10 subscriber look like a recording of the venue: about a third inserts a
level, a third deletes one, the rest changes a quantity, and now and then one price appears twice in a message. Nearly
every step touches the ten best levels, so steps per second are book messages per second. A pull towards the opening
price keeps a long run within some per cent of it.

It knows nothing of text, channels or times; it tells a :class:`MarketSink` what was traded and where one message of
the venue ends.
"""

from __future__ import annotations

from enum import Enum
from math import exp
from typing import Protocol

from kraken_engine.runtime import Rng, seeded_rng
from kraken_engine.venue.core.instruments import Pair
from kraken_engine.venue.core.matching import ASK, BID, Fill, Ladder, MatchingBook, Order

__all__ = ["TOP", "MarketFlow", "MarketSink", "TradingMode"]

TOP = 10
"""The flow acts on so many levels a side."""

TAKE = 0.10
RESIZE = 0.26
REQUOTE = 0.262
"""Upper bounds of one draw: a taker, a changed quantity, a cancel and re-add at one price; the rest adds or deletes."""

CROSSING = 0.05
"""Share of takers that are limit orders whose remainder rests."""
BOTH_SIDES = 0.02
"""Share of those whose two halves end up in one message."""

PULL_WITHIN = 0.05
"""Distance from the opening price, as a share of it, at which the pull back is strongest."""

_SIZES = 4096


class TradingMode(Enum):
    """What the engine of the venue does (docs "Status")."""

    ONLINE = "online"
    CANCEL_ONLY = "cancel_only"
    POST_ONLY = "post_only"
    LIMIT_ONLY = "limit_only"
    MAINTENANCE = "maintenance"


class MarketSink(Protocol):
    """Hears what the flow did."""

    def traded(self, taker_side: int, order_type: str, fills: list[Fill]) -> object:
        """Hear of the fills of one incoming order, ``limit`` or ``market``."""
        ...

    def commit(self) -> None:
        """Hear that everything since the last commit is one message of the book channel."""
        ...


class MarketFlow:
    """One market and the crowd in it."""

    def __init__(self, pair: Pair, rng: Rng, levels: int) -> None:
        """Fill a fresh book.

        Args:
            pair: whose market.
            rng: of this market alone.
            levels: levels a side the book is kept at, where the price leaves room for them.
        """
        self.book = MatchingBook()
        self.mode = TradingMode.ONLINE
        self._rng = rng
        self._draw = rng.random
        self._open = pair.open_price
        self._lowest = max(1, pair.open_price // 4)
        self._gap = max(1.5, pair.open_price * 1e-5)
        self._lots = pair.typical_lots
        self._levels = levels
        self._momentum = 0.0
        self._fill_up()

    def step(self, sink: MarketSink) -> None:
        """Let one participant act."""
        draw = self._draw()
        side = BID if self._draw() < 0.5 else ASK
        mode = self.mode
        if mode is not TradingMode.ONLINE and mode is not TradingMode.LIMIT_ONLY:
            self._restricted(side)
        elif draw < TAKE:
            self._take(sink)
        elif draw < RESIZE:
            self._resize(side)
        elif draw < REQUOTE:
            self._requote(side)
        elif self._draw() < self._emptiness(side):
            self._quote(side)
        else:
            self._withdraw(side)
        if mode is not TradingMode.CANCEL_ONLY and mode is not TradingMode.MAINTENANCE:
            self._keep_depth(side)
        sink.commit()

    def _restricted(self, side: int) -> None:
        keys = self.book.ladders[side].keys
        if self.mode is TradingMode.POST_ONLY:
            self._quote(side)
        elif self.mode is TradingMode.CANCEL_ONLY and len(keys) > 2 * TOP:
            self._withdraw(side)

    def _take(self, sink: MarketSink) -> None:
        book = self.book
        side = BID if self._draw() < self._appetite() else ASK
        ladder = book.ladders[1 - side]
        if len(ladder.keys) <= TOP:
            return
        draw = self._draw()
        best = ladder.total(0)
        if draw < CROSSING:
            price = abs(ladder.keys[0])
            rest = self._size()
            fills, _ = book.take(side, best, limit=price)
            sink.traded(side, "limit", fills)
            if self._draw() >= BOTH_SIDES:
                sink.commit()
            book.rest(side, price, rest)
            return
        if draw < 0.60:
            qty = max(1, int(best * self._draw()))
        elif draw < 0.92:
            qty = best
        else:
            qty = best + sum(ladder.total(i) for i in range(1, 1 + int(self._draw() * 4))) + 1
        limit_order = self.mode is TradingMode.LIMIT_ONLY or self._draw() < 0.6
        fills, _ = book.take(side, qty)
        sink.traded(side, "limit" if limit_order else "market", fills)

    def _appetite(self) -> float:
        """Return the chance that the next taker buys: some persistence, and the pull towards the opening price."""
        self._momentum = 0.97 * self._momentum + 0.1 * (self._draw() - 0.5)
        away = (abs(self.book.asks.keys[0]) - self._open) / (PULL_WITHIN * self._open)
        return 0.5 + self._momentum - 0.35 * max(-1.0, min(1.0, away))

    def _resize(self, side: int) -> None:
        ladder = self.book.ladders[side]
        index = min(int(TOP * self._draw() * self._draw()), len(ladder.keys) - 1)
        key = ladder.keys[index]
        level = ladder.levels[key]
        order = level.newest_of_crowd()
        if order is None:
            self.book.rest(side, abs(key), self._size())
        elif len(level.orders) > 1:
            self.book.cancel(order.id)
        elif self._draw() < 0.5 or level.total < 4:
            self.book.rest(side, abs(key), self._size())
        else:
            self.book.reduce(order.id, max(1, int(order.qty * self._draw())))

    def _requote(self, side: int) -> None:
        ladder = self.book.ladders[side]
        key = ladder.keys[min(int(TOP * self._draw()), len(ladder.keys) - 1)]
        order = ladder.levels[key].oldest_of_crowd()
        if order is not None:
            self.book.cancel(order.id)
        self.book.rest(side, abs(key), self._size())

    def _emptiness(self, side: int) -> float:
        """Return the chance of an insert rather than a delete: even when ten levels span what they should."""
        keys = self.book.ladders[side].keys
        if len(keys) <= TOP:
            return 1.0
        span = keys[TOP - 1] - keys[0]
        return span / (span + TOP * self._gap)

    def _quote(self, side: int) -> None:
        """Add a level among the best ten: inside the spread, or in a hole between two levels."""
        book = self.book
        keys = book.ladders[side].keys
        room = book.asks.keys[0] + book.bids.keys[0] - 1
        if self._draw() < room / (room + 5 * self._gap):
            self._rest(side, keys[0] - 1 - int(self._draw() * min(room, 3 * self._gap)))
            return
        index = 1 + int(self._draw() * (TOP - 1))
        for place in range(index, min(TOP, len(keys))):
            hole = keys[place] - keys[place - 1] - 1
            if hole > 0:
                self._rest(side, keys[place - 1] + 1 + int(self._draw() * hole))
                return
        self._rest(side, keys[index - 1])

    def _withdraw(self, side: int) -> None:
        """Cancel the newest order of one of the best ten levels."""
        ladder = self.book.ladders[side]
        if len(ladder.keys) <= TOP:
            return
        order = ladder.levels[ladder.keys[int(TOP * self._draw())]].newest_of_crowd()
        if order is not None:
            self.book.cancel(order.id)

    def _keep_depth(self, side: int) -> None:
        """Grow or cut the far end of a ladder that drifted from its number of levels, one level at a time."""
        ladder = self.book.ladders[side]
        surplus = len(ladder.keys) - ladder.owned - self._levels
        if surplus < 0:
            self._extend(side, ladder)
        elif surplus > self._levels // 4 + TOP and (order := _farthest_of_crowd(ladder)) is not None:
            self.book.cancel(order.id)

    def _extend(self, side: int, ladder: Ladder) -> None:
        farthest = _farthest_of_crowd(ladder)
        key = ladder.keys[-1] if farthest is None else farthest.key
        key += 1 + int(self._draw() * 2 * (self._gap - 1) + 0.5)
        if abs(key) > self._lowest:
            self._rest(side, key)

    def _fill_up(self) -> None:
        spread = max(1, round(self._gap * (0.5 + self._draw())))
        self._rest(BID, -self._open)
        self._rest(ASK, self._open + spread)
        for side in (BID, ASK):
            ladder = self.book.ladders[side]
            for _ in range(self._levels - 1):
                self._extend(side, ladder)

    def _rest(self, side: int, key: int) -> None:
        self.book.rest(side, abs(key), self._size())

    def _size(self) -> int:
        return max(2, int(self._lots * _MULTIPLES[int(self._draw() * _SIZES)] * (0.98 + 0.04 * self._draw())))


def _farthest_of_crowd(ladder: Ladder) -> Order | None:
    for key in reversed(ladder.keys):
        order = ladder.levels[key].newest_of_crowd()
        if order is not None:
            return order
    return None


def _sizes_of_orders() -> list[float]:
    rng = seeded_rng("sizes of orders")
    return [exp(rng.gauss(-1.0, 1.4)) for _ in range(_SIZES)]


_MULTIPLES = _sizes_of_orders()
"""Order sizes as multiples of the typical one: many small, few large, the same for every seed."""
