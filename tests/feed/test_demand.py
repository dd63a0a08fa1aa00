"""Many readers, one subscription per stream: as wide as the widest so far, for as long as anybody reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.feed.demand import Demand
from kraken_engine.feed.topics import Book, Candles, Health, Instruments, Ticker, Topic, Trades
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import SubscriptionKey

TOPICS: list[Topic] = [
    Book("BTC/USD", 10), Book("BTC/USD", 25), Book("BTC/USD", 1000), Book("ETH/USD", 10),
    Ticker("BTC/USD"), Ticker("BTC/USD", "trades"), Trades("BTC/USD"), Candles("BTC/USD", 1), Candles("BTC/USD", 5),
    Health(), Instruments(),
]  # fmt: skip


class Venue:
    """Keeps the set of subscriptions, and objects to a drop of what it does not have."""

    def __init__(self) -> None:
        self.has: dict[StreamKey, SubscriptionKey] = {}

    def want(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        assert key not in self.has
        self.has[key] = subscription

    def drop(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        assert self.has.pop(key) == subscription

    def change(self, key: StreamKey, before: SubscriptionKey, after: SubscriptionKey) -> None:
        assert before != after
        self.drop(key, before)
        self.want(key, after)


@given(st.lists(st.tuples(st.sampled_from(TOPICS), st.booleans()), max_size=60))
def test_a_subscription_is_as_wide_as_its_widest_reader_since_somebody_began_to_read(
    steps: list[tuple[Topic, bool]],
) -> None:
    venue = Venue()
    demand = Demand(want=venue.want, drop=venue.drop, change=venue.change)
    readers: list[Topic] = []
    deepest, finest = 0, ""
    for topic, joins in steps:
        if joins:
            demand.add(topic)
            readers.append(topic)
        elif topic in readers:
            demand.remove(topic)
            readers.remove(topic)
        depths = [t.depth for t in readers if isinstance(t, Book) and t.symbol == "BTC/USD"]
        book = venue.has.get(("book", "BTC/USD"))
        deepest = max([deepest, *depths]) if depths else 0
        assert (book.depth if book else 0) == deepest
        triggers = {t.trigger for t in readers if isinstance(t, Ticker)}
        ticker = venue.has.get(("ticker", "BTC/USD"))
        finest = "" if not triggers else "bbo" if "bbo" in {*triggers, finest} else "trades"
        assert (ticker.trigger if ticker else "") == finest
        streams = {t.key for t in readers if not isinstance(t, (Health, Instruments))}
        assert set(venue.has) == streams
        assert demand.wanted() == venue.has
