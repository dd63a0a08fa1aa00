"""How two values of one stream stand to each other, by the venue's own words: times, candles, and what they tell.

Knows nothing of who brought them, nor of our own clock.
"""

from __future__ import annotations

import attrs

from kraken_engine.normalise.book_view import BookUpdate
from kraken_engine.normalise.events import Candle, MarketEvent, TickerUpdate
from kraken_engine.state.venue_time import is_before

__all__ = ["EQUAL", "NEWER", "OLDER", "UNKNOWN", "identical", "order_of", "same"]

OLDER, EQUAL, NEWER, UNKNOWN = -1, 0, 1, 2


def order_of(last: MarketEvent, event: MarketEvent) -> int:
    """Return how ``event`` stands to what was shown last, by the venue's own words."""
    if isinstance(event, Candle):
        assert isinstance(last, Candle)
        mine, shown = (event.interval_begin, event.trades), (last.interval_begin, last.trades)
        return EQUAL if mine == shown else NEWER if mine > shown else OLDER
    then, now = last.venue_time, event.venue_time
    if now == then:
        return UNKNOWN if now is None else EQUAL
    if now is None or then is None:
        return UNKNOWN
    return NEWER if is_before(then, now) else OLDER


def same(shown: MarketEvent, event: MarketEvent) -> bool:
    """Return whether two events of one venue time tell the same."""
    if isinstance(event, BookUpdate):
        return isinstance(shown, BookUpdate) and shown.book.checksum == event.book.checksum
    if isinstance(event, TickerUpdate):
        return isinstance(shown, TickerUpdate) and shown.data == event.data
    return attrs.evolve(event, received_s=shown.received_s, venue_time=shown.venue_time) == shown


def identical(shown: MarketEvent, event: MarketEvent) -> bool:
    """Return whether two events tell the same to the last digit, levels that no checksum covers included."""
    if isinstance(event, BookUpdate):
        return isinstance(shown, BookUpdate) and shown.book == event.book
    return same(shown, event)
