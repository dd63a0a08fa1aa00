"""What readers of a stream, of health, and of current values see of what is published."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from kraken_engine.codec.ws_v2 import Level
from kraken_engine.errors import Stale, UsageError
from kraken_engine.feed.demand import Demand
from kraken_engine.feed.feed import Feed
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.subscription import Bounded
from kraken_engine.feed.topics import Book, Candles, Health, Ticker, Trades
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.book_view import BookUpdate, BookView
from kraken_engine.normalise.events import Candle, Event, Gap, LineDown, Live, Refused, Trade
from kraken_engine.runtime import real_runtime
from kraken_engine.state.freshness import StreamKey
from kraken_engine.state.subscriptions import SubscriptionKey

TRADES = Trades("A/B")


class Wire:
    """Remembers what is subscribed."""

    def __init__(self) -> None:
        self.keys: dict[StreamKey, SubscriptionKey] = {}

    def want(self, key: StreamKey, subscription: SubscriptionKey) -> None:
        self.keys[key] = subscription

    def drop(self, key: StreamKey, _: SubscriptionKey) -> None:
        del self.keys[key]

    def change(self, key: StreamKey, _: SubscriptionKey, after: SubscriptionKey) -> None:
        self.keys[key] = after


def make() -> tuple[Publisher, Feed, Wire]:
    publisher, wire = Publisher(), Wire()
    demand = Demand(want=wire.want, drop=wire.drop, change=wire.change)
    return publisher, Feed(publisher, demand, real_runtime().clock), wire


def trade(n: int, at: float = 0.0) -> Trade:
    return Trade(
        symbol="A/B", source=Source.WEBSOCKET_V2, received_s=at, venue_time=None, integrity=Integrity.VERIFIED,
        side=Side.BUY, price=Decimal(1), qty=Decimal(1), order_type="limit", trade_id=n,
    )  # fmt: skip


def candle(interval_begin: str, trades: int) -> Candle:
    return Candle(
        symbol="A/B", source=Source.WEBSOCKET_V2, received_s=1.0, venue_time=None, integrity=Integrity.UNVERIFIED,
        interval_min=1, interval_begin=interval_begin, open=Decimal(1), high=Decimal(1), low=Decimal(1),
        close=Decimal(1), vwap=Decimal(1), volume=Decimal(1), trades=trades,
    )  # fmt: skip


async def drain(publisher: Publisher, subscription: object) -> list[Event]:
    publisher.flush()
    publisher.close()
    return [event async for event in subscription]  # type: ignore[attr-defined] # a Subscription


async def test_a_reader_of_a_stream_and_of_health_is_told_each_notice_once() -> None:
    publisher, feed, _ = make()
    async with feed.subscribe(TRADES, Health(), on_full=Bounded()) as both, feed.subscribe(Health()) as health:
        publisher.publish(TRADES.key, trade(1))
        assert [type(e) for e in await drain(publisher, both)] == [Live, Trade]
        assert [type(e) async for e in health] == [Live]


async def test_events_reach_the_readers_of_their_stream_and_nobody_else() -> None:
    publisher, feed, _ = make()
    async with feed.subscribe(TRADES, on_full=Bounded()) as mine, feed.subscribe(Trades("C/D")) as other:
        publisher.publish(TRADES.key, trade(1))
        assert [type(e) for e in await drain(publisher, mine)] == [Live, Trade]
        assert [e async for e in other] == []


async def test_health_sees_every_notice_and_a_stream_sees_its_own() -> None:
    publisher, feed, _ = make()
    async with feed.subscribe(Health()) as health, feed.subscribe(TRADES) as mine:
        publisher.publish(TRADES.key, trade(1))
        publisher.publish(TRADES.key, Stale("trade", "A/B", "why", since_s=0.0))
        publisher.announce(LineDown(at_s=0, line="A", reason="r", failures=1, retry_in_s=0))
        assert [type(e) for e in await drain(publisher, health)] == [Live, Stale, LineDown]
        assert [type(e) for e in [e async for e in mine]] == [Live, Trade, Stale]


async def test_a_notice_with_nothing_else_to_tell_wakes_whoever_waits(autojump_clock: trio.testing.MockClock) -> None:
    publisher, feed, _ = make()
    told: list[Event] = []
    async with feed.subscribe(Health()) as health, trio.open_nursery() as nursery:

        async def read() -> None:
            with trio.fail_after(1):
                told.append(await anext(aiter(health)))

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        publisher.announce_at_once(LineDown(at_s=0, line="A", reason="r", failures=1, retry_in_s=0))
    assert [type(event) for event in told] == [LineDown]


async def test_late_values_are_withheld_from_readers_and_the_newest_follows_live() -> None:
    publisher, feed, _ = make()
    async with feed.subscribe(TRADES, on_full=Bounded()) as events:
        publisher.publish(TRADES.key, trade(1, at=1))
        publisher.hold(TRADES.key, "late", now=2)
        for n in (2, 3):
            publisher.publish(TRADES.key, trade(n, at=n))
        with pytest.raises(Stale, match="late"):
            feed.latest(TRADES)
        assert feed.latest(TRADES, allow_stale=True).value.trade_id == 3
        assert publisher.published == 1
        publisher.release(TRADES.key, now=4)
        publisher.publish(TRADES.key, trade(4, at=5))
        told = await drain(publisher, events)
        assert [type(e) for e in told] == [Live, Trade, Stale, Live, Trade, Trade]
        assert [e.trade_id for e in told if isinstance(e, Trade)] == [1, 3, 4]


async def test_a_value_that_did_not_change_while_it_was_late_is_told_again() -> None:
    publisher, feed, _ = make()
    async with feed.subscribe(TRADES, on_full=Bounded()) as events:
        publisher.publish(TRADES.key, trade(1))
        publisher.hold(TRADES.key, "late", now=2)
        publisher.release(TRADES.key, now=3)
        assert [type(e) for e in await drain(publisher, events)] == [Live, Trade, Stale, Live, Trade]


async def test_of_each_candle_that_came_late_the_last_state_is_told() -> None:
    publisher, feed, _ = make()
    topic = Candles("A/B", 1)
    async with feed.subscribe(topic, on_full=Bounded()) as events:
        publisher.publish(topic.key, candle("08:00", 1))
        publisher.hold(topic.key, "late", now=2)
        for begin, trades in (("08:00", 2), ("08:00", 3), ("08:01", 1), ("08:02", 1), ("08:02", 2)):
            publisher.publish(topic.key, candle(begin, trades))
        publisher.release(topic.key, now=3)
        told = [(e.interval_begin, e.trades) for e in await drain(publisher, events) if isinstance(e, Candle)]
        assert told == [("08:00", 1), ("08:00", 3), ("08:01", 1), ("08:02", 2)]


async def test_a_stream_that_is_lost_while_it_is_late_is_not_made_live_by_its_end() -> None:
    publisher, feed, _ = make()
    async with feed.subscribe(TRADES, on_full=Bounded()) as events:
        publisher.publish(TRADES.key, trade(1))
        publisher.hold(TRADES.key, "late", now=2)
        publisher.publish(TRADES.key, trade(2, at=2))
        publisher.lose(TRADES.key, "line down", now=3)
        publisher.release(TRADES.key, now=3)
        publisher.publish(TRADES.key, trade(3, at=4))
        told = await drain(publisher, events)
        assert [type(e) for e in told] == [Live, Trade, Stale, Gap, Live, Trade]
        assert [e.trade_id for e in told if isinstance(e, Trade)] == [1, 3]


async def test_a_late_reader_starts_with_what_is_true_now() -> None:
    publisher, feed, _ = make()
    async with feed.subscribe(TRADES):
        publisher.publish(TRADES.key, trade(1))
        async with feed.subscribe(TRADES) as late:
            publisher.publish(TRADES.key, Stale("trade", "A/B", "why", since_s=0.0))
            async with feed.subscribe(TRADES) as later:
                publisher.close()
                assert [type(e) for e in [e async for e in later]] == [Stale]
        assert [type(e) for e in [e async for e in late]] == [Live, Stale], "the last trade is history to who comes now"


def restored_trade(publisher: Publisher) -> Trade:
    restored = attrs.evolve(trade(1, at=-50.0), integrity=Integrity.RESYNCING)
    publisher.restore(TRADES.key, restored, Stale("trade", "A/B", "restored", since_s=0.0))
    return restored


def test_a_restored_trade_is_not_the_current_one_of_a_stream_that_became_live_without_a_trade() -> None:
    publisher, feed, _ = make()
    restored = restored_trade(publisher)
    publisher.publish(TRADES.key, Live(at_s=1.0, channel="trade", symbol="A/B"))
    with pytest.raises(Stale, match="restored; the stream is current"):
        feed.latest(TRADES)
    old = feed.latest(TRADES, allow_stale=True)
    assert (old.value, old.integrity) == (restored, Integrity.RESYNCING)
    assert old.stale is not None
    publisher.publish(TRADES.key, trade(2, at=2.0))
    assert feed.latest(TRADES).value.trade_id == 2


@pytest.mark.parametrize("warm", [False, True])
async def test_who_comes_to_a_stream_that_is_live_without_a_trade_is_told_so_and_since_when(warm: bool) -> None:
    publisher, feed, _ = make()
    if warm:
        restored_trade(publisher)
    publisher.publish(TRADES.key, Live(at_s=1.0, channel="trade", symbol="A/B"))
    async with feed.subscribe(TRADES) as late:
        assert await drain(publisher, late) == [Live(at_s=1.0, channel="trade", symbol="A/B")]


@pytest.mark.parametrize("warm", [False, True])
async def test_a_late_stream_without_a_trade_of_this_life_is_live_again_without_one(warm: bool) -> None:
    publisher, feed, _ = make()
    if warm:
        restored_trade(publisher)
    publisher.publish(TRADES.key, Live(at_s=1.0, channel="trade", symbol="A/B"))
    async with feed.subscribe(TRADES, Health(), on_full=Bounded()) as events:
        publisher.hold(TRADES.key, "late", now=2.0)
        publisher.release(TRADES.key, now=3.0)
        told = [type(event) for event in await drain(publisher, events)]
        assert told[-2:] == [Stale, Live]
        assert Trade not in told


async def test_a_current_value_says_its_source_age_and_integrity_and_raises_stale_when_it_is() -> None:
    publisher, feed, _ = make()
    async with feed.subscribe(TRADES):
        with pytest.raises(Stale, match="no value yet"):
            feed.latest(TRADES)
        now = real_runtime().clock.now()
        publisher.publish(TRADES.key, trade(1, at=now - 5))
        reading = feed.latest(TRADES)
        assert reading.value.trade_id == 1
        assert reading.source is Source.WEBSOCKET_V2
        assert reading.integrity is Integrity.VERIFIED
        assert reading.age_s >= 5
        publisher.publish(TRADES.key, Stale("trade", "A/B", "the line is quiet", since_s=now))
        with pytest.raises(Stale, match="the line is quiet"):
            feed.latest(TRADES)
        old = feed.latest(TRADES, allow_stale=True)
        assert old.integrity is Integrity.RESYNCING
        assert old.stale is not None


async def test_topics_are_subscribed_while_somebody_reads_them() -> None:
    _, feed, wire = make()
    async with feed.subscribe(Book("A/B"), Ticker("A/B")):
        async with feed.subscribe(Book("A/B", 100)):
            assert wire.keys[("book", "A/B")].depth == 100
        assert wire.keys[("book", "A/B")].depth == 100, "narrowing would cost the reader that stays a gap"
        assert ("ticker", "A/B") in wire.keys
    assert wire.keys == {}


@pytest.mark.parametrize("symbol", ["", "BTC", "BTC/USD/EUR", "BTC\n/USD", "B" * 30 + "/USD", 5])
def test_a_symbol_that_cannot_be_one_is_refused_with_an_example(symbol: str) -> None:
    with pytest.raises(UsageError, match="expected BASE/QUOTE such as BTC/USD"):
        Ticker(symbol)


def test_depths_intervals_and_triggers_the_venue_does_not_have_are_refused() -> None:
    with pytest.raises(UsageError, match="depth: expected one of"):
        Book("A/B", 11)
    with pytest.raises(UsageError, match="interval_min: expected one of"):
        Candles("A/B", 2)
    with pytest.raises(UsageError, match="trigger: expected bbo or trades"):
        Ticker("A/B", "x")  # type: ignore[arg-type] # that is the point


async def test_nothing_of_a_closed_market_is_current() -> None:
    publisher, feed, wire = make()
    async with feed.subscribe(TRADES):
        publisher.publish(TRADES.key, trade(1))
        publisher.close()
        with pytest.raises(Stale, match="the market is closed"):
            feed.latest(TRADES)
        with pytest.raises(Stale, match="the market is closed"):
            feed.latest(Ticker("A/B"))
        with pytest.raises(Stale, match="the market is closed; REST: "):
            await feed.get_ticker("A/B")
        assert feed.latest(TRADES, allow_stale=True).integrity is Integrity.RESYNCING
    with pytest.raises(UsageError, match="subscribe: the market is closed"):
        async with feed.subscribe(TRADES):
            pass
    assert wire.keys == {}


@pytest.mark.parametrize("rule", ["Conflate", Bounded, 5])
async def test_what_is_no_rule_for_a_full_queue_is_refused(rule: Any) -> None:
    _, feed, wire = make()
    with pytest.raises(UsageError, match=r"on_full: expected a rule such as Conflate\(\), got"):
        async with feed.subscribe(TRADES, on_full=rule):
            pass
    assert wire.keys == {}


@pytest.mark.parametrize("max_age_s", [-1, float("nan"), "5", True])
async def test_an_age_that_is_no_time_is_refused(max_age_s: Any) -> None:
    _, feed, _ = make()
    with pytest.raises(UsageError, match="max_age_s: expected seconds, 0 or more, got"):
        await feed.get_ticker("A/B", max_age_s=max_age_s)


async def test_what_is_no_topic_is_refused() -> None:
    _, feed, _ = make()
    with pytest.raises(UsageError, match="at least one topic"):
        async with feed.subscribe():
            pass
    with pytest.raises(UsageError, match="expected topics"):
        async with feed.subscribe("BTC/USD"):  # type: ignore[arg-type] # that is the point
            pass


def book(depth: int, levels: int) -> BookUpdate:
    rows = tuple(Level(price=b"%d.0" % (100 + i), qty=b"1.0") for i in range(levels))
    view = BookView(symbol="A/B", depth=depth, checksum=1, raw_bids=(), raw_asks=rows)
    return BookUpdate(
        symbol="A/B", source=Source.WEBSOCKET_V2, received_s=0.0, venue_time=None, integrity=Integrity.VERIFIED,
        book=view, snapshot=True,
    )  # fmt: skip


async def test_one_reader_of_two_depths_of_a_book_gets_the_deeper_one() -> None:
    for topics in ([Book("A/B", 25), Book("A/B", 10)], [Book("A/B", 10), Book("A/B", 25)]):
        publisher, feed, _ = make()
        async with feed.subscribe(*topics) as both, feed.subscribe(Book("A/B", 10)) as shallow:
            publisher.publish(("book", "A/B"), book(25, 25))
            (_, update) = await drain(publisher, both)
            assert isinstance(update, BookUpdate)
            assert len(update.book.asks) == 25
            (_, update) = [event async for event in shallow]
            assert isinstance(update, BookUpdate)
            assert len(update.book.asks) == 10


async def test_a_book_shallower_than_asked_for_is_not_handed_out_as_if_it_were_whole() -> None:
    publisher, feed, _ = make()
    publisher.publish(("book", "A/B"), book(10, 10))
    assert len(feed.latest(Book("A/B", 10)).value.book.asks) == 10
    with pytest.raises(Stale, match="10 levels are subscribed, 1000 were asked for"):
        feed.latest(Book("A/B", 1000))
    assert len(feed.latest(Book("A/B", 1000), allow_stale=True).value.book.asks) == 10


async def test_a_late_reader_of_a_refused_stream_is_told_why_it_stays_silent() -> None:
    publisher, feed, _ = make()
    refusal = Refused(at_s=0.0, channel="trade", symbol="A/B", error="Currency pair not supported A/B", final=True)
    async with feed.subscribe(TRADES):
        publisher.publish(TRADES.key, refusal)
        with pytest.raises(Stale, match="refused: Currency pair not supported A/B"):
            feed.latest(TRADES)
        async with feed.subscribe(TRADES) as late:
            assert await late.__anext__() == refusal
        publisher.publish(TRADES.key, trade(1))
        async with feed.subscribe(TRADES) as later:
            assert isinstance(await later.__anext__(), Live)


async def test_asking_for_a_stale_value_a_thousand_times_keeps_nothing_of_it() -> None:
    publisher, feed, _ = make()
    publisher.publish(TRADES.key, Stale("trade", "A/B", "why", since_s=0.0))
    kept = publisher.freshness.stale(TRADES.key)
    assert kept is not None
    for _ in range(1000):
        with pytest.raises(Stale):
            feed.latest(TRADES)
    assert kept.__traceback__ is None
