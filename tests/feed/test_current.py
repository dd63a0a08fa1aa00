"""Current values: the stream if it is live, else REST, else the truth about why there is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_engine.codec.ws_v2 import Level, TickerData
from kraken_engine.errors import EngineError, RestFailed, Stale
from kraken_engine.feed.current import CandleRun, CurrentValues
from kraken_engine.feed.demand import Demand
from kraken_engine.feed.feed import Feed
from kraken_engine.feed.publisher import Publisher
from kraken_engine.feed.topics import Ticker
from kraken_engine.model import Integrity, Source
from kraken_engine.normalise.book_view import BookUpdate, BookView
from kraken_engine.normalise.events import Candle, Live, TickerUpdate
from kraken_engine.normalise.rest_market import CandleHistory
from kraken_engine.runtime import real_runtime

BTC = "BTC/USD"


def ticker(price: int, at: float, source: Source = Source.WEBSOCKET_V2) -> TickerUpdate:
    names = ("bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct")
    numbers: dict[str, Any] = dict.fromkeys(names, price)
    data = TickerData(symbol=BTC, **numbers)
    return TickerUpdate(
        symbol=BTC, source=source, received_s=at, venue_time=None, integrity=Integrity.UNVERIFIED, data=data
    )


def book(levels: int, depth: int, at: float, source: Source = Source.WEBSOCKET_V2) -> BookUpdate:
    raw = tuple(Level(100 - n, 1) for n in range(levels))
    view = BookView(symbol=BTC, depth=depth, checksum=0, raw_bids=raw, raw_asks=())
    return BookUpdate(
        symbol=BTC, source=source, received_s=at, venue_time=None, integrity=Integrity.VERIFIED, book=view,
        snapshot=True,
    )  # fmt: skip


def candle(minute: int, trades: int, at: float, source: Source = Source.WEBSOCKET_V2) -> Candle:
    one, end = Decimal(1), "Z" if source is Source.REST else ".000000000Z"
    return Candle(
        symbol=BTC, source=source, received_s=at, venue_time=None, integrity=Integrity.UNVERIFIED, interval_min=1,
        interval_begin=f"2026-01-01T00:{minute:02}:00{end}", open=one, high=one, low=one, close=one, vwap=one,
        volume=one, trades=trades,
    )  # fmt: skip


@attrs.define
class Rest:
    """A REST API that answers with what it is given, and counts."""

    price: int = 1
    fails: EngineError | None = None
    minute: int = 10
    trades_now: int = 3
    took_s: float = 0.125
    decoding_s: float = 0.0
    asked: list[str] = attrs.field(factory=list)

    async def answer(self, what: str) -> float:
        self.asked.append(what)
        await trio.sleep(self.took_s)
        if self.fails is not None:
            raise self.fails
        read_s = trio.current_time()
        await trio.sleep(self.decoding_s)
        return read_s

    async def ticker(
        self, symbols: Sequence[str] = (), *, timeout_s: float | None = None
    ) -> Mapping[str, TickerUpdate]:
        return {BTC: ticker(self.price, await self.answer(f"ticker {','.join(symbols)}"), Source.REST)}

    async def depth(self, symbol: str, depth: int = 100, *, timeout_s: float | None = None) -> BookUpdate:
        return book(depth, depth, await self.answer(f"depth {symbol} {depth}"), Source.REST)

    async def ohlc(
        self, symbol: str, interval_min: int = 1, *, since: int | None = None, timeout_s: float | None = None
    ) -> CandleHistory:
        at = await self.answer(f"ohlc {symbol} {interval_min}")
        closed = tuple(candle(minute, 5, at, Source.REST) for minute in range(self.minute))
        return CandleHistory(candles=closed, current=candle(self.minute, self.trades_now, at, Source.REST), last=0)


Made = tuple[Feed, Publisher, Rest]


@pytest.fixture
def make() -> Callable[..., Made]:
    """Make a feed with a REST API beside it."""

    def made(*, cache_ttl_s: float = 300.0, rest: bool = True) -> Made:
        publisher, api, clock = Publisher(), Rest(), real_runtime().clock
        current = CurrentValues(publisher, api if rest else None, clock, cache_ttl_s=cache_ttl_s, fresh_s=5.0)
        nothing: Any = lambda *_: None  # noqa: E731
        return Feed(publisher, Demand(want=nothing, drop=nothing, change=nothing), clock, current), publisher, api

    return made


async def test_a_live_stream_answers_without_asking_anybody(make: Callable[..., Made], autojump_clock: object) -> None:
    feed, publisher, rest = make()
    publisher.publish(("ticker", BTC), ticker(7, trio.current_time()))
    await trio.sleep(60.0)
    reading = await feed.get_ticker(BTC)
    assert (reading.value.bid, reading.source, reading.stale, reading.age_s) == (
        Decimal(7),
        Source.WEBSOCKET_V2,
        None,
        60.0,
    )
    assert rest.asked == []


async def test_where_nobody_subscribes_rest_answers_and_says_so(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, _, rest = make()
    reading = await feed.get_ticker(BTC)
    assert (reading.source, reading.integrity, reading.age_s) == (Source.REST, Integrity.UNVERIFIED, 0.0)
    assert rest.asked == [f"ticker {BTC}"]


async def test_a_stale_stream_is_not_believed(make: Callable[..., Made], autojump_clock: object) -> None:
    feed, publisher, _ = make()
    publisher.publish(("ticker", BTC), ticker(7, trio.current_time()))
    publisher.lose(("ticker", BTC), "the line went down", now=trio.current_time())
    reading = await feed.get_ticker(BTC)
    assert (reading.value.bid, reading.source) == (Decimal(1), Source.REST)


async def test_what_a_closed_market_showed_last_is_not_current(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, publisher, _ = make()
    publisher.publish(("ticker", BTC), ticker(7, trio.current_time()))
    publisher.close()
    assert (await feed.get_ticker(BTC)).source is Source.REST
    with pytest.raises(Stale, match="the market is closed"):
        feed.latest(Ticker(BTC))


async def test_an_answer_is_used_again_while_it_is_young_enough_for_the_caller(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, _, rest = make()
    await feed.get_ticker(BTC)
    await trio.sleep(4.0)
    assert (await feed.get_ticker(BTC)).age_s == 4.0
    assert len(rest.asked) == 1
    await feed.get_ticker(BTC, max_age_s=3.0)
    assert len(rest.asked) == 2
    await trio.sleep(100.0)
    assert (await feed.get_ticker(BTC, max_age_s=200.0)).age_s == 100.0
    assert len(rest.asked) == 2
    assert (await feed.get_ticker(BTC)).age_s == 0.0


async def test_no_answer_is_used_longer_than_cache_ttl_whatever_the_caller_allows(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, _, rest = make(cache_ttl_s=10.0)
    await feed.get_ticker(BTC)
    await trio.sleep(11.0)
    await feed.get_ticker(BTC, max_age_s=1e6)
    assert len(rest.asked) == 2
    await trio.sleep(11.0)
    rest.fails = _failure()
    with pytest.raises(Stale):
        await feed.get_ticker(BTC, allow_stale=True)


async def test_many_who_ask_at_once_share_one_question(make: Callable[..., Made], autojump_clock: object) -> None:
    feed, _, rest = make()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(feed.get_ticker, BTC)
    assert len(rest.asked) == 1


async def test_whoever_gives_up_leaves_the_question_to_the_next(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, _, rest = make()
    with trio.move_on_after(0.05):
        await feed.get_ticker(BTC)
    assert (await feed.get_ticker(BTC)).source is Source.REST
    assert len(rest.asked) == 2


async def test_when_both_fail_stale_says_why_for_both(make: Callable[..., Made], autojump_clock: object) -> None:
    feed, publisher, rest = make()
    publisher.publish(("ticker", BTC), ticker(7, trio.current_time()))
    publisher.lose(("ticker", BTC), "the line went down", now=trio.current_time())
    rest.fails = _failure()
    with pytest.raises(Stale, match=r"the line went down; REST: .*503"):
        await feed.get_ticker(BTC)
    reading = await feed.get_ticker(BTC, allow_stale=True)
    assert (reading.value.bid, reading.integrity) == (Decimal(7), Integrity.RESYNCING)
    assert reading.stale is not None
    assert reading.stale.since_s is not None


async def test_an_old_answer_of_rest_is_better_than_an_older_value_of_the_stream_to_who_asks_for_it(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, publisher, rest = make()
    publisher.publish(("ticker", BTC), ticker(7, trio.current_time()))
    publisher.lose(("ticker", BTC), "the line went down", now=trio.current_time())
    await feed.get_ticker(BTC)
    await trio.sleep(60.0)
    rest.fails = _failure()
    reading = await feed.get_ticker(BTC, allow_stale=True)
    assert (reading.value.bid, reading.age_s) == (Decimal(1), 60.125)


async def test_without_rest_only_the_stream_counts(make: Callable[..., Made], autojump_clock: object) -> None:
    feed, _, _ = make(rest=False)
    with pytest.raises(Stale, match="nobody subscribes to it; REST: there is none"):
        await feed.get_ticker(BTC)


async def test_a_book_has_the_depth_that_was_asked_for(make: Callable[..., Made], autojump_clock: object) -> None:
    feed, publisher, rest = make()
    publisher.publish(("book", BTC), book(25, 25, trio.current_time()))
    assert len((await feed.get_book(BTC)).value.book.bids) == 10
    assert len((await feed.get_book(BTC, 25)).value.book.bids) == 25
    assert rest.asked == []
    reading = await feed.get_book(BTC, 100)
    assert (len(reading.value.book.bids), reading.source) == (100, Source.REST)
    with pytest.raises(Stale, match="REST: it gives 500 levels at most"):
        await feed.get_book(BTC, 1000)


async def test_candles_are_those_of_rest_and_the_one_the_stream_shows(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, publisher, rest = make()
    publisher.publish(("ohlc", BTC, 1), candle(10, 8, trio.current_time()))
    reading = await feed.get_candles(BTC)
    assert [one.trades for one in reading.value.candles] == [5] * 10 + [8]
    assert reading.source is Source.WEBSOCKET_V2
    publisher.publish(("ohlc", BTC, 1), candle(10, 9, trio.current_time()))
    assert (await feed.get_candles(BTC)).value.candles[-1].trades == 9
    assert len(rest.asked) == 1


async def test_candles_are_asked_anew_when_the_stream_has_begun_the_next_one(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, publisher, rest = make()
    publisher.publish(("ohlc", BTC, 1), candle(10, 8, trio.current_time()))
    await feed.get_candles(BTC)
    await trio.sleep(60.0)
    publisher.publish(("ohlc", BTC, 1), candle(11, 1, trio.current_time()))
    rest.minute, rest.trades_now = 11, 1
    run = (await feed.get_candles(BTC)).value
    assert isinstance(run, CandleRun)
    assert (len(run.closed), run.candles[-1].interval_begin) == (11, "2026-01-01T00:11:00.000000000Z")
    assert len(rest.asked) == 2


async def test_a_candle_of_rest_that_is_ahead_of_the_stream_stands(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, publisher, rest = make()
    publisher.publish(("ohlc", BTC, 1), candle(10, 2, trio.current_time()))
    rest.trades_now = 4
    reading = await feed.get_candles(BTC)
    assert (reading.value.candles[-1].trades, reading.source) == (4, Source.REST)


async def test_many_who_ask_at_once_share_a_failure_too(make: Callable[..., Made], autojump_clock: object) -> None:
    feed, _, rest = make()
    rest.fails, rest.took_s = _failure(), 15.0
    begin = trio.current_time()

    async def ask() -> None:
        with pytest.raises(Stale, match="HTTP 503"):
            await feed.get_ticker(BTC)

    async with trio.open_nursery() as nursery:
        for late_s in (0.0, 0.0, 0.0, 5.0, 5.0):
            nursery.start_soon(_after, late_s, ask)
    assert len(rest.asked) == 2, "one for those who came before it was sent, one for those who came while it was asked"
    assert trio.current_time() - begin == 30.0


async def test_who_wants_no_older_answer_shares_one_that_was_asked_for_since(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, _, rest = make()
    rest.decoding_s = 0.001
    values: list[Decimal] = []

    async def ask() -> None:
        values.append((await feed.get_ticker(BTC, max_age_s=0.0)).value.bid)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
        await trio.sleep(0.1)
        rest.price = 2
        for _ in range(20):
            nursery.start_soon(ask)
    assert values == [*[Decimal(1)] * 20, *[Decimal(2)] * 20], "who came later has what was asked for since"
    assert len(rest.asked) == 2
    await feed.get_ticker(BTC, max_age_s=0.0)
    assert len(rest.asked) == 3


async def test_an_answer_is_given_to_who_asked_although_nothing_is_kept(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, _, rest = make(cache_ttl_s=0.0)
    for count in (1, 2):
        assert (await feed.get_ticker(BTC)).value.bid == 1
        await trio.sleep(0.1)
        assert len(rest.asked) == count


@pytest.mark.parametrize("fails", [False, True])
async def test_a_stream_that_becomes_live_while_rest_is_asked_has_the_word(
    make: Callable[..., Made], autojump_clock: object, fails: bool
) -> None:
    feed, publisher, rest = make()
    rest.fails = _failure() if fails else None

    async def become_live() -> None:
        await trio.sleep(0.1)
        publisher.publish(("ticker", BTC), ticker(7, trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(become_live)
        assert (await feed.get_ticker(BTC)).value.bid == 7


async def test_a_value_that_the_backup_shows_is_as_old_as_any_answer_of_rest(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, publisher, rest = make()
    publisher.publish(("ticker", BTC), ticker(7, trio.current_time(), Source.REST))
    await trio.sleep(4.0)
    assert (await feed.get_ticker(BTC)).value.bid == 7
    assert (await feed.get_ticker(BTC, max_age_s=3.0)).value.bid == 1
    rest.fails = _failure()
    await trio.sleep(6.0)
    with pytest.raises(Stale, match="too old; REST"):
        await feed.get_ticker(BTC)
    old = await feed.get_ticker(BTC, allow_stale=True)
    assert (old.value.bid, old.integrity) == (Decimal(1), Integrity.RESYNCING)


async def test_an_old_book_that_is_deeper_than_asked_for_is_cut_down_all_the_same(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, publisher, rest = make()
    rest.fails = _failure()
    publisher.publish(("book", BTC), book(100, 100, trio.current_time()))
    publisher.lose(("book", BTC), "lost", now=trio.current_time())
    assert len((await feed.get_book(BTC, 10, allow_stale=True)).value.book.bids) == 10


async def test_candles_of_rest_that_are_too_old_to_be_kept_are_not_gone_on_from(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, publisher, rest = make()
    day = attrs.evolve(candle(0, 8, trio.current_time()), interval_min=1440)
    for count in (1, 2):
        publisher.publish(("ohlc", BTC, 1440), day)
        rest.minute = 0
        await feed.get_candles(BTC, 1440)
        assert len(rest.asked) == count
        await trio.sleep(301.0)


async def test_a_candle_of_an_earlier_process_is_not_gone_on_to(
    make: Callable[..., Made], autojump_clock: object
) -> None:
    feed, publisher, _ = make()
    old = attrs.evolve(candle(10, 8, trio.current_time()), integrity=Integrity.RESYNCING)
    publisher.restore(("ohlc", BTC, 1), old, Stale("ohlc", BTC, "restored", since_s=0.0))
    publisher.publish(("ohlc", BTC, 1), Live(at_s=trio.current_time(), channel="ohlc", symbol=BTC))
    assert (await feed.get_candles(BTC)).source is Source.REST


@attrs.define
class Moves:
    """A ticker that a stream and REST tell of, and callers, each of whom checks what becomes of him."""

    feed: Feed
    publisher: Publisher
    rest: Rest
    live_s: float | None = None
    """Since when the stream is live."""
    in_flight: int = 0

    async def ticker(
        self, symbols: Sequence[str] = (), *, timeout_s: float | None = None
    ) -> Mapping[str, TickerUpdate]:
        assert self.in_flight == 0, "one question about the same at a time"
        self.in_flight += 1
        try:
            read_s = await self.rest.answer("ticker")
            return {BTC: ticker(1, read_s, Source.REST)}
        finally:
            self.in_flight -= 1

    async def call(self, max_age_s: float | None, patience_s: float) -> None:
        came_s, was_live = trio.current_time(), self.live_s is not None
        with trio.move_on_after(patience_s):
            try:
                reading = await self.feed.get_ticker(BTC, max_age_s=max_age_s)
            except Stale:
                assert not was_live
                assert self.live_s is None, "a stream that is live has the word"
                assert self.rest.fails is not None or self.failed_s >= came_s
                return
            now, value = trio.current_time(), reading.value
            if value.source is Source.REST:
                assert not was_live
                assert value.received_s >= min(came_s, now - (5.0 if max_age_s is None else max_age_s))
            else:
                assert self.live_s is not None
                assert self.live_s <= value.received_s <= now

    failed_s: float = -1.0
    """When REST was down for the last time."""


Move = tuple[float, str, float | None, float]
MOVES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.05, 0.3, 4.0]),
        st.sampled_from(["call", "call", "call", "publish", "lose", "fail", "work"]),
        st.sampled_from([None, 0.0, 1.0, 600.0]),
        st.sampled_from([0.1, 1000.0]),
    ),
    max_size=25,
)


@settings(max_examples=100)
@given(moves=MOVES)
def test_whatever_callers_stream_and_rest_do_nobody_gets_an_older_value_than_he_puts_up_with(moves: list[Move]) -> None:
    async def main() -> None:
        publisher, clock = Publisher(), real_runtime().clock
        rest = Rest(took_s=0.25)
        nothing: Any = lambda *_: None  # noqa: E731
        played = Moves(feed=None, publisher=publisher, rest=rest)  # type: ignore[arg-type] # it is made of the next
        current = CurrentValues(publisher, played, clock, cache_ttl_s=300.0, fresh_s=5.0)  # type: ignore[arg-type]
        played.feed = Feed(publisher, Demand(want=nothing, drop=nothing, change=nothing), clock, current)
        async with trio.open_nursery() as nursery:
            for delay_s, move, max_age_s, patience_s in moves:
                await trio.sleep(delay_s)
                now = trio.current_time()
                if move == "call":
                    nursery.start_soon(played.call, max_age_s, patience_s)
                elif move == "publish":
                    played.live_s = now if played.live_s is None else played.live_s
                    publisher.publish(("ticker", BTC), ticker(1, now))
                elif move == "lose":
                    played.live_s = None
                    publisher.lose(("ticker", BTC), "lost", now=now)
                elif move == "fail":
                    rest.fails = _failure()
                else:
                    played.failed_s = now if rest.fails is not None else played.failed_s
                    rest.fails = None

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def _after(seconds: float, what: Callable[[], Awaitable[None]]) -> None:
    await trio.sleep(seconds)
    await what()


def _failure() -> EngineError:
    return RestFailed("Ticker", "HTTP 503", maybe_executed=False)
