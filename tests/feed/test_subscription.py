"""The rules of one consumer's queue: order, conflation, bounds, and what a slow reader is told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kraken_engine.errors import SlowConsumer, Stale, UsageError
from kraken_engine.feed.subscription import Bounded, Conflate, DropOldest, OnFull, Subscription
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.events import Candle, Event, Lagged, Live, Trade
from kraken_engine.state.freshness import StreamKey

NUMBER = Decimal(1)


def candle(symbol: str, n: int) -> Candle:
    """Return a conflatable value numbered ``n``."""
    return Candle(
        symbol=symbol, source=Source.WEBSOCKET_V2, received_s=float(n), venue_time=None, integrity=Integrity.UNVERIFIED,
        interval_min=1, interval_begin="", open=NUMBER, high=NUMBER, low=NUMBER, close=NUMBER, vwap=NUMBER,
        volume=NUMBER, trades=n,
    )  # fmt: skip


def trade(symbol: str, n: int) -> Trade:
    """Return a value that never conflates."""
    return Trade(
        symbol=symbol, source=Source.WEBSOCKET_V2, received_s=float(n), venue_time=None, integrity=Integrity.VERIFIED,
        side=Side.BUY, price=NUMBER, qty=NUMBER, order_type="limit", trade_id=n,
    )  # fmt: skip


def key(symbol: str) -> StreamKey:
    return ("ohlc", symbol, 1)


def live(n: int) -> Live:
    return Live(at_s=float(n), channel="ohlc", symbol="A/B")


async def read_all(subscription: Subscription) -> list[Event]:
    subscription.end()
    return [event async for event in subscription]


async def test_conflation_keeps_the_newest_value_of_each_stream_in_the_place_of_the_first() -> None:
    subscription = Subscription("s", Conflate())
    for n, symbol in enumerate(["A/B", "C/D", "A/B", "A/B"]):
        subscription.offer(key(symbol), candle(symbol, n))
    events = await read_all(subscription)
    assert [(e.symbol, e.trades) for e in events if isinstance(e, Candle)] == [("A/B", 3), ("C/D", 1)]
    assert subscription.statistics().conflated == 2


async def test_a_value_never_overtakes_a_notice() -> None:
    subscription = Subscription("s", Conflate())
    subscription.offer(key("A/B"), candle("A/B", 0))
    subscription.offer(("health",), live(1))
    subscription.offer(key("A/B"), candle("A/B", 2))
    events = await read_all(subscription)
    assert [type(e) for e in events] == [Live, Candle]
    assert isinstance(events[1], Candle)
    assert events[1].trades == 2


async def test_a_price_known_to_be_stale_is_withdrawn_before_it_is_read() -> None:
    subscription = Subscription("s", Conflate())
    subscription.offer(key("A/B"), candle("A/B", 0))
    subscription.offer(key("C/D"), candle("C/D", 1))
    subscription.offer(key("A/B"), Stale("ohlc", "A/B", "line down"))
    events = await read_all(subscription)
    assert [type(e) for e in events] == [Candle, Stale]
    assert isinstance(events[0], Candle)
    assert events[0].symbol == "C/D"


async def test_trades_are_never_conflated() -> None:
    subscription = Subscription("s", Conflate())
    for n in range(5):
        subscription.offer(("trade", "A/B"), trade("A/B", n))
    assert [e.trade_id for e in await read_all(subscription) if isinstance(e, Trade)] == [0, 1, 2, 3, 4]


async def test_the_loss_of_a_slow_reader_is_counted_and_announced_before_the_next_event() -> None:
    subscription = Subscription("s", DropOldest(3))
    for n in range(5):
        subscription.offer(key("A/B"), candle("A/B", n))
    events = await read_all(subscription)
    assert isinstance(events[0], Lagged)
    assert events[0].lost == 2
    assert [e.trades for e in events[1:] if isinstance(e, Candle)] == [2, 3, 4]
    assert subscription.statistics().lost == 2


async def test_a_bounded_stream_ends_with_slow_consumer() -> None:
    subscription = Subscription("quotes", Bounded(2))
    for n in range(3):
        subscription.offer(key("A/B"), candle("A/B", n))
    with pytest.raises(SlowConsumer, match="quotes: queue of 2 events full, 3 not delivered"):
        await subscription.__anext__()


@pytest.mark.parametrize("rule", [Conflate(4), DropOldest(4), Bounded(4)])
async def test_notices_are_never_dropped_so_too_many_of_them_end_the_stream(rule: OnFull) -> None:
    subscription = Subscription("s", rule)
    for n in range(5):
        subscription.offer(("health",), live(n))
    with pytest.raises(SlowConsumer):
        await subscription.__anext__()


async def test_a_waiting_reader_is_woken_by_the_next_batch(autojump_clock: trio.testing.MockClock) -> None:
    subscription = Subscription("s", Conflate())
    got: list[Event] = []

    async def reader() -> None:
        got.append(await subscription.__anext__())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.sleep(1)
        assert not got
        subscription.offer(key("A/B"), candle("A/B", 7))
        subscription.wake()
    assert [e.trades for e in got if isinstance(e, Candle)] == [7]


async def test_cancelling_a_wait_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    subscription = Subscription("s", Conflate())
    for n in range(200):
        with trio.move_on_after(0.5):
            await subscription.__anext__()
        with trio.CancelScope() as scope:
            scope.cancel()
            subscription.offer(("trade", "A/B"), trade("A/B", n))
            await subscription.__anext__()
            continue
        event = await subscription.__anext__()
        assert isinstance(event, Trade)
        assert event.trade_id == n


async def test_a_second_reader_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    subscription = Subscription("s", Conflate())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscription.__anext__)
        await trio.sleep(1)
        with pytest.raises(trio.BusyResourceError):
            await subscription.__anext__()
        nursery.cancel_scope.cancel()


async def test_batches_hand_over_everything_queued_and_end_with_the_stream() -> None:
    subscription = Subscription("s", Bounded(100))
    for n in range(7):
        subscription.offer(("trade", "A/B"), trade("A/B", n))
    subscription.end()
    sizes = [len(batch) async for batch in subscription.batches(max_events=5)]
    assert sizes == [5, 2]


async def test_a_lingering_batch_waits_for_company(autojump_clock: trio.testing.MockClock) -> None:
    subscription = Subscription("s", Bounded(100))
    subscription.offer(("trade", "A/B"), trade("A/B", 0))

    async def later() -> None:
        await trio.sleep(0.05)
        subscription.offer(("trade", "A/B"), trade("A/B", 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        batch = await subscription.batches(linger_s=0.1).__anext__()
    assert len(batch) == 2


async def test_a_reader_that_always_finds_something_lets_others_run() -> None:
    subscription = Subscription("s", Bounded(1000))
    for n in range(500):
        subscription.offer(("trade", "A/B"), trade("A/B", n))
    others = 0

    async def other() -> None:
        nonlocal others
        for _ in range(5):
            await trio.lowlevel.checkpoint()
            others += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(500):
            await subscription.__anext__()
        assert others >= 4


async def test_a_queue_that_overruns_during_the_linger_is_told_as_such(autojump_clock: trio.testing.MockClock) -> None:
    subscription = Subscription("s", Bounded(3))
    subscription.offer(("trade", "A/B"), trade("A/B", 0))

    async def later() -> None:
        await trio.sleep(0.05)
        for n in range(1, 6):
            subscription.offer(("trade", "A/B"), trade("A/B", n))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        with pytest.raises(SlowConsumer):
            await subscription.batches(linger_s=0.1).__anext__()


async def test_a_lingering_reader_keeps_others_out(autojump_clock: trio.testing.MockClock) -> None:
    subscription = Subscription("s", Bounded(3))
    subscription.offer(("trade", "A/B"), trade("A/B", 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscription.batches(linger_s=1.0).__anext__)
        await trio.sleep(0.5)
        with pytest.raises(trio.BusyResourceError):
            await subscription.__anext__()


async def test_big_batches_let_others_run_as_well() -> None:
    subscription = Subscription("s", Bounded(10_000))
    for n in range(5000):
        subscription.offer(("trade", "A/B"), trade("A/B", n))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while turns < 5:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(5):
            await subscription.take_batch(1000, 0.0)
        assert turns >= 2, "four turns at least, of which two may go to starting"


async def test_a_cancelled_reader_takes_nothing() -> None:
    subscription = Subscription("s", Bounded(3))
    subscription.offer(("trade", "A/B"), trade("A/B", 0))
    with trio.CancelScope() as scope:
        scope.cancel()
        await subscription.__anext__()
        pytest.fail("not cancelled")
    assert len(subscription) == 1


@pytest.mark.parametrize("rule", [Conflate, DropOldest, Bounded])
@pytest.mark.parametrize("capacity", [0, -1, 1.5, "10", None, True])
def test_a_capacity_is_a_whole_number_of_1_or_more(rule: Any, capacity: Any) -> None:
    with pytest.raises(UsageError, match="capacity: expected a whole number of 1 or more, got"):
        rule(capacity)


async def test_more_streams_than_the_capacity_are_no_reason_to_end_a_conflating_reader() -> None:
    subscription = Subscription("s", Conflate(2))
    for n in range(50):
        subscription.offer(key(f"S{n}/B"), candle(f"S{n}/B", n))
    assert len(await read_all(subscription)) == 50


def test_an_overflowing_queue_costs_the_same_for_every_further_event() -> None:
    """Counted in entries looked at, not in time: withdrawn ones must not be looked at again and again."""
    subscription = Subscription("s", DropOldest(1000))
    for n in range(20_000):
        subscription.offer(("trade", "A/B"), trade("A/B", n))
    assert len(subscription) == 1000
    assert len(subscription._queue) <= 2 * 1000 + 128
    assert len(subscription._droppable) == 1000
    assert subscription.statistics().lost == 19_000


async def test_batches_are_as_large_as_the_settings_say_unless_the_reader_says_otherwise() -> None:
    subscription = Subscription("s", Bounded(100), batch_size=3)
    for n in range(10):
        subscription.offer(("trade", "A/B"), trade("A/B", n))
    assert len(await anext(subscription.batches())) == 3
    assert len(await anext(subscription.batches(max_events=5))) == 5


@pytest.mark.parametrize("arguments", [{"max_events": 0}, {"linger_s": -1.0}])
def test_impossible_batches_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(arguments))):
        Subscription("s", Conflate()).batches(**arguments)  # type: ignore[arg-type] # one wrong value per case


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("value"), st.sampled_from(["A/B", "C/D", "E/F"])),
        st.tuples(st.just("trade"), st.sampled_from(["A/B", "C/D"])),
        st.tuples(st.just("stale"), st.sampled_from(["A/B", "C/D", "E/F"])),
        st.tuples(st.just("notice"), st.just("")),
        st.tuples(st.just("read"), st.just("")),
    ),
    max_size=200,
)


@given(steps=STEPS)
async def test_conflation_against_the_rules_it_promises(steps: list[tuple[str, str]]) -> None:
    """Every notice and trade arrives once, in order; of the values at least the newest, never one after its Stale."""
    subscription = Subscription("s", Conflate())
    sent: list[tuple[int, str, str]] = []
    got: list[tuple[int, str, str]] = []
    number = {"n": 0}

    def record(event: Event) -> None:
        match event:
            case Candle(symbol=symbol, trades=n):
                got.append((n, "value", symbol))
            case Trade(symbol=symbol, trade_id=n):
                got.append((n, "trade", symbol))
            case Stale(symbol=symbol, since_s=at):
                got.append((int(at or 0), "stale", symbol or ""))
            case Live(at_s=at):
                got.append((int(at), "notice", ""))
            case _:
                pytest.fail(f"unexpected {event!r}")

    for kind, symbol in steps:
        number["n"] += 1
        n = number["n"]
        if kind == "read":
            if len(subscription):
                record(await subscription.__anext__())
            continue
        sent.append((n, kind, symbol))
        if kind == "value":
            subscription.offer(key(symbol), candle(symbol, n))
        elif kind == "trade":
            subscription.offer(("trade", symbol), trade(symbol, n))
        elif kind == "stale":
            subscription.offer(key(symbol), Stale("ohlc", symbol, "why", since_s=float(n)))
        else:
            subscription.offer(("health",), live(n))
    for event in await read_all(subscription):
        record(event)

    for kind in ("trade", "notice", "stale"):
        assert [x for x in got if x[1] == kind] == [x for x in sent if x[1] == kind]
    for symbol in ("A/B", "C/D", "E/F"):
        mine = [x for x in got if x[1] in ("value", "stale") and x[2] == symbol]
        assert mine == sorted(mine), "a stream goes backwards"
        told = [x for x in sent if x[1] in ("value", "stale") and x[2] == symbol]
        if told:
            assert mine[-1] == told[-1], "the newest of a stream did not arrive"
    notices = [x[0] for x in got if x[1] in ("notice", "stale")]
    for n, kind, _ in got:
        if kind == "value":
            position = got.index((n, kind, _))
            later = [x[0] for x in got[position + 1 :] if x[1] in ("notice", "stale")]
            assert all(x > n for x in later), "a value overtook a notice"
    assert notices == sorted(notices)
