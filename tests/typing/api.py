"""The public API as an application sees it: checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import assert_type

from kraken_engine import (
    Account,
    BalanceUpdate,
    Book,
    BookUpdate,
    Bounded,
    Candle,
    CandleRun,
    Candles,
    Config,
    Conflate,
    ConsistencyReport,
    DeliveredFill,
    Engine,
    Gap,
    Live,
    OnFull,
    Order,
    Stale,
    Ticker,
    TickerUpdate,
    Topic,
    Trade,
    TradeGap,
    Trades,
    open_engine,
    open_market,
)
from kraken_engine.errors import ConfigError, EngineError
from kraken_engine.feed.feed import Reading
from kraken_engine.model import Instrument, Integrity, Source
from kraken_engine.normalise.book_view import BookView
from kraken_engine.normalise.events import Event, PriceLevel


async def a_market_is_a_scope(config: Config) -> None:
    async with open_market(config) as market:
        assert_type(market.instruments, Mapping[str, Instrument])
        async with market.feed.subscribe(Ticker("BTC/USD"), market.health, on_full=Conflate()) as events:
            async for event in events:
                assert_type(event, Event)
        async with market.feed.subscribe(Book("BTC/USD", depth=25), Trades("BTC/USD"), on_full=Bounded(100)) as events:
            async for batch in events.batches(max_events=10):
                assert_type(batch, list[Event])


async def an_engine_has_a_market(config: Config) -> None:
    async with open_engine(config) as engine, engine.feed.subscribe(engine.health) as events:
        async for _ in events:
            pass


async def readings_know_what_they_hold(config: Config) -> None:
    async with open_market(config) as market:
        book = market.feed.latest(Book("BTC/USD"))
        assert_type(book, Reading[BookUpdate])
        assert_type(book.value.book, BookView)
        assert_type(book.source, Source)
        assert_type(book.integrity, Integrity)
        assert_type(book.age_s, float)
        assert_type(market.feed.latest(Ticker("BTC/USD")), Reading[TickerUpdate])
        assert_type(market.feed.latest(Trades("BTC/USD")), Reading[Trade])
        assert_type(market.feed.latest(Candles("BTC/USD", interval_min=5), allow_stale=True), Reading[Candle])


def events_are_told_apart_by_their_type(event: Event) -> None:
    match event:
        case BookUpdate(book=book):
            assert_type(book.bid, Decimal | None)
            assert_type(book.bids, tuple[PriceLevel, ...])
        case TickerUpdate():
            assert_type(event.bid, Decimal)
        case Stale(symbol=symbol):
            assert_type(symbol, str | None)
        case Gap(start_s=start, end_s=end):
            assert_type(end - start, float)
        case TradeGap(first=first):
            assert_type(first, int)
        case Live(symbol=name):
            assert_type(name, str)
        case _:
            pass


async def topics_and_rules_have_a_type_of_their_own(config: Config, on_full: OnFull) -> None:
    topics: list[Topic] = [Ticker("BTC/USD"), Book("BTC/USD"), Trades("BTC/USD")]
    async with open_market(config) as market, market.feed.subscribe(*topics, on_full=on_full) as events:
        assert_type(await anext(events), Event)
        assert_type(await market.feed.get_candles("BTC/USD"), Reading[CandleRun])


def errors_have_one_base(error: ConfigError) -> EngineError:
    assert_type(error.mistakes, tuple[str, ...])
    return error


async def an_account_says_what_it_has(engine: Engine) -> None:
    account = engine.accounts["main"]
    assert_type(account, Account)
    assert_type(account.balance("USD"), BalanceUpdate | None)
    assert_type(account.order("O1"), Order | None)
    assert_type(account.may_trade, bool)
    assert_type(await account.check_balances(), ConsistencyReport)
    async for delivered in account.fills(since=0):
        assert_type(delivered, DeliveredFill)
        assert_type(delivered.fill.qty, Decimal)
        assert_type(await delivered.acknowledge(), None)
