"""Failover in a whole engine: over within the deadline, marked, never backwards, back after the hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio

from kraken_engine import (
    Book,
    BookUpdate,
    Bounded,
    Candle,
    Candles,
    Config,
    Event,
    Gap,
    MarketEvent,
    Source,
    SourceChanged,
    Stale,
    Ticker,
    TickerUpdate,
    Trade,
    Trades,
)
from kraken_engine.config import FailoverSettings, PoolSettings
from kraken_engine.control.failover import Feeder
from kraken_engine.feed.consistency import Agreement, Comparison
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.network import Dialing
from kraken_engine.sim.world import World, WorldSettings, open_world
from kraken_engine.tasks.failover import has_rest
from kraken_engine.tasks.market import Market

SETTINGS = WorldSettings(symbols=2, rate=20.0, backup=True)
REST = Source.REST
WS = Source.WEBSOCKET_V2


@attrs.define
class Scene:
    """A world with an open market, and everything its reader was told, with the time."""

    world: World
    market: Market
    topics: tuple[Any, ...]
    told: list[tuple[float, Event]] = attrs.field(factory=list)

    def now(self) -> float:
        return trio.current_time()

    def cut(self) -> None:
        """End every connection to the WebSocket and refuse new ones."""
        self.world.network.take_down(self.world.venue_address)

    def mend(self) -> None:
        self.world.network.set_dialing(self.world.venue_address, Dialing.ACCEPT)

    def values(self, kind: type[MarketEvent], since: float = 0.0) -> list[tuple[float, Any]]:
        return [(at, event) for at, event in self.told if isinstance(event, kind) and at >= since]

    def first(self, kind: type[MarketEvent], source: Source, since: float) -> float:
        return min(at for at, event in self.values(kind, since) if event.source is source)


def in_scene(play: Callable[[Scene], Awaitable[None]], settings: WorldSettings = SETTINGS, *, books: int = 1) -> None:
    """Play in the world of seed 1, with a reader of everything."""

    async def main() -> None:
        async with open_world(1, settings) as world, world.open_market() as market:
            symbols = world.exchange.symbols
            topics: list[Any] = [Ticker(symbols[0]), Trades(symbols[0]), Candles(symbols[0])]
            topics += [Book(symbol) for symbol in symbols[:books]]
            scene = Scene(world, market, tuple(topics))

            async def read() -> None:
                async with market.feed.subscribe(*topics, market.health, on_full=Bounded()) as events:
                    async for event in events:
                        scene.told.append((trio.current_time(), event))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.sleep(5)
                await play(scene)
                nursery.cancel_scope.cancel()

    run(1, main, horizon_s=1000)


KINDS: tuple[type[MarketEvent], ...] = (TickerUpdate, BookUpdate, Trade, Candle)


@pytest.mark.parametrize("lines", [1, 2])
def test_a_full_cycle_keeps_every_promise(lines: int) -> None:
    settings = attrs.evolve(SETTINGS, config=Config(pool=PoolSettings(max_connections=lines)))

    async def play(scene: Scene) -> None:
        scene.cut()
        cut = scene.now()
        await trio.sleep(20)
        for kind in KINDS:
            assert scene.first(kind, REST, cut) - cut <= 5.2, kind
        assert all(scene.market.failover.source(topic) is Feeder.BACKUP for topic in scene.topics)
        scene.mend()
        await trio.sleep(60)
        up = scene.now() - 60
        for kind in KINDS:
            assert scene.first(kind, WS, cut + 0.5) - up >= 30.0, kind
        assert all(scene.market.failover.source(topic) is Feeder.PRIMARY for topic in scene.topics)
        books = [event for _, event in scene.values(BookUpdate)]
        assert all(event.book.verified is (event.source is WS) for event in books)
        assert_honest(scene)
        assert {gap.healed_by for _, gap in scene.told if isinstance(gap, Gap)} == {"rest"}
        assert [switch.to for switch in scene.market.failover.switches(topic=scene.topics[0])] == [
            Feeder.BACKUP, Feeder.PRIMARY,
        ]  # fmt: skip
        assert scene.market.kpis()["failover_count"] == scene.market.failover.statistics().switches

    in_scene(play, settings)


def rest_requests(world: World) -> int:
    return int(str(world.exchange.counters()["rest_requests"]))


def assert_honest(scene: Scene) -> None:
    """No change of the source that was not told, nothing backwards, no trade twice or missing without a word."""
    sources: dict[Any, Source] = {}
    for _, event in scene.told:
        if isinstance(event, SourceChanged):
            sources[event.channel, event.symbol] = event.source
        elif isinstance(event, MarketEvent):
            channel = {TickerUpdate: "ticker", BookUpdate: "book", Trade: "trade", Candle: "ohlc"}[type(event)]
            assert sources.setdefault((channel, event.symbol), event.source) is event.source
    ids = [event.trade_id for _, event in scene.values(Trade)]
    assert ids == [*range(ids[0], ids[0] + len(ids))] if ids else True
    for kind in (TickerUpdate, BookUpdate):
        times = [(event.symbol, event.received_s) for _, event in scene.values(kind)]
        for symbol in scene.world.exchange.symbols:
            assert all(a <= b for a, b in pairwise(at for name, at in times if name == symbol))
    states = [(event.interval_begin[:19], event.trades) for _, event in scene.values(Candle)]
    assert states == sorted(states)


def test_twenty_cycles_with_short_holds() -> None:
    failover = FailoverSettings(hold_s=5.0, longest_hold_s=5.0, most_returns=1000)
    settings = attrs.evolve(SETTINGS, rate=4.0, config=Config(failover=failover, pool=PoolSettings(max_connections=1)))

    async def play(scene: Scene) -> None:
        over = []
        for _ in range(20):
            scene.cut()
            cut = scene.now()
            await trio.sleep(5.2)
            over.append(scene.first(TickerUpdate, REST, cut) - cut)
            scene.mend()
            await trio.sleep(16)
            assert scene.market.failover.source(scene.topics[0]) is Feeder.PRIMARY
        assert max(over) <= 5.2
        assert_honest(scene)
        assert len(scene.market.failover.switches(topic=scene.topics[0])) == 40

    in_scene(play, settings)


def test_when_both_are_gone_everything_is_stale_and_whoever_is_back_first_feeds() -> None:
    async def play(scene: Scene) -> None:
        scene.cut()
        scene.world.network.take_down(scene.world.rest_address)
        await trio.sleep(30)
        for topic in scene.topics:
            with pytest.raises(Stale):
                scene.market.feed.latest(topic)
        scene.mend()
        await trio.sleep(10)
        for topic in scene.topics:
            assert scene.market.feed.latest(topic).source is WS
        assert not [event for _, event in scene.told if isinstance(event, SourceChanged)]

    in_scene(play)


def test_a_backup_that_dies_during_the_hold_gives_way_to_the_lines() -> None:
    async def play(scene: Scene) -> None:
        scene.cut()
        await trio.sleep(10)
        scene.mend()
        await trio.sleep(5)
        assert scene.market.feed.latest(scene.topics[0]).source is REST
        scene.world.network.take_down(scene.world.rest_address)
        await trio.sleep(18)
        assert scene.market.feed.latest(scene.topics[0]).source is WS
        assert_honest(scene)

    in_scene(play)


@pytest.mark.parametrize("asleep_s", [8.0, 20.0])
def test_time_that_nobody_was_awake_is_no_health_of_the_lines(asleep_s: float) -> None:
    """The machine sleeps while the hold ends: what the lines had before is not shown as current for that."""

    async def play(scene: Scene) -> None:
        scene.cut()
        await trio.sleep(10)
        scene.mend()
        await trio.sleep(25)
        scene.world.suspend(asleep_s)
        woke = scene.now()
        await trio.sleep(60)
        for kind in (TickerUpdate, BookUpdate):
            assert all(event.received_s >= woke for _, event in scene.values(kind, woke))
        assert_honest(scene)

    in_scene(play)


def test_a_single_silent_book_moves_alone() -> None:
    async def play(scene: Scene) -> None:
        symbol = scene.world.exchange.symbols[1]
        faults, now = scene.world.exchange.faults, trio.current_time()
        faults.refuse_subscriptions(error="Exceeded msg rate", times=1000, now=now, symbol=symbol)
        faults.corrupt_checksum(symbol, now=now)
        await trio.sleep(20)
        assert [topic for topic in scene.topics if scene.market.failover.source(topic) is Feeder.BACKUP] == [
            Book(symbol)
        ]
        assert scene.market.feed.latest(Book(symbol)).source is REST
        assert scene.market.feed.latest(Ticker(scene.world.exchange.symbols[0])).source is WS

    in_scene(play, books=2)


@pytest.mark.parametrize("lines", [1, 2])
def test_a_subscription_that_never_sends_is_found_out_by_asking_rest(lines: int) -> None:
    settings = attrs.evolve(SETTINGS, rate=8.0, config=Config(pool=PoolSettings(max_connections=lines)))

    async def play(scene: Scene) -> None:
        symbol = scene.world.exchange.symbols[0]
        scene.world.exchange.faults.silence(seconds=40.0, symbol=symbol, now=trio.current_time())
        mute = scene.now()
        await trio.sleep(30)
        found = [(at - mute, event) for at, event in scene.told if isinstance(event, Stale) and at > mute]
        assert {event.channel for _, event in found} == {"ticker", "book", "trade", "ohlc"}
        assert max(at for at, _ in found) <= 10.0 + 2.0, "ten seconds from the first change that was kept back"
        assert all("REST has newer data" in event.why for _, event in found)
        assert scene.market.feed.latest(Ticker(symbol)).source is REST

    in_scene(play, settings)


def test_tickers_are_there_in_time_although_rest_does_not_know_one_of_the_symbols() -> None:
    async def play(scene: Scene) -> None:
        now = trio.current_time()
        scene.world.exchange.faults.rest_error("EQuery:Unknown asset pair", now=now, path="/0/public/Ticker")
        scene.cut()
        cut = scene.now()
        await trio.sleep(10)
        assert scene.first(TickerUpdate, REST, cut) - cut <= 5.2

    in_scene(play)


@pytest.mark.parametrize("words", ["EQuery:Unknown asset pair", "EGeneral:Invalid arguments"])
def test_what_rest_refused_in_one_outage_is_asked_for_in_the_next(words: str) -> None:
    async def play(scene: Scene) -> None:
        book = scene.topics[-1]
        now = trio.current_time()
        scene.world.exchange.faults.rest_error(words, now=now, path="/0/public/Depth")
        scene.cut()
        await trio.sleep(20)
        with pytest.raises(Stale, match=words):
            scene.market.feed.latest(book)
        scene.mend()
        await trio.sleep(10)
        assert scene.market.feed.latest(book).source is WS
        scene.cut()
        await trio.sleep(10)
        assert scene.market.feed.latest(book).source is REST

    in_scene(play)


def test_one_market_that_rest_does_not_know_does_not_spoil_the_comparison_of_the_others() -> None:
    async def play(scene: Scene) -> None:
        now = trio.current_time()
        scene.world.exchange.faults.rest_error("EQuery:Unknown asset pair", now=now, path="/0/public/Ticker")
        ticker, book = await scene.market.failover.verify_consistency()
        assert (ticker.channel, ticker.agreement) == ("ticker", Agreement.UNKNOWN)
        assert "Unknown asset pair" in ticker.what
        assert (book.channel, book.agreement.fine) == ("book", True)

    in_scene(play)


def test_a_stream_that_is_lost_while_it_is_compared_is_not_called_different() -> None:
    async def play(scene: Scene) -> None:
        found: list[Comparison] = []

        async def compare() -> None:
            found.extend(await scene.market.failover.verify_consistency(scene.topics[-1]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(compare)
            await trio.sleep(0.2)
            scene.cut()
        assert [one.agreement for one in found] == [Agreement.UNKNOWN]
        assert "lost it meanwhile" in found[0].what

    in_scene(play)


def test_a_quiet_market_is_not_called_stale_whatever_rest_is_asked() -> None:
    settings = attrs.evolve(SETTINGS, rate=0.2)

    async def play(scene: Scene) -> None:
        asked = rest_requests(scene.world)
        await trio.sleep(600)
        assert rest_requests(scene.world) > asked + 20
        assert not [event for _, event in scene.told if isinstance(event, Stale)]

    in_scene(play, settings)


def test_the_two_sources_agree_or_age_and_rounding_explain_it() -> None:
    async def play(scene: Scene) -> None:
        compared: list[Comparison] = []
        for _ in range(30):
            compared += await scene.market.failover.verify_consistency()
        assert len(compared) == 60
        assert {one.agreement for one in compared} <= {Agreement.EQUAL, Agreement.ROUNDED, Agreement.AGE}

    in_scene(play)


def test_every_book_the_budget_reaches_is_there_within_the_deadline_those_with_open_orders_first() -> None:
    """With the default settings: the tickers, and three books, each with a question of its own."""
    settings = attrs.evolve(SETTINGS, symbols=6)

    async def play(scene: Scene) -> None:
        symbols = scene.world.exchange.symbols
        scene.market.urgent.add(lambda: (symbols[4], symbols[5]))
        scene.cut()
        cut = scene.now()
        await trio.sleep(20)
        first: dict[str, float] = {}
        for at, event in scene.values(BookUpdate, cut + 0.01):
            first.setdefault(event.symbol, at)
        assert set(first) == {symbols[0], symbols[4], symbols[5]}
        assert max(first[symbols[4]], first[symbols[5]]) <= first[symbols[0]]
        assert scene.first(TickerUpdate, REST, cut) - cut <= 5.2
        assert max(first.values()) - cut <= 5.2
        for symbol in symbols[1:4]:
            with pytest.raises(Stale, match="not within the REST budget"):
                scene.market.feed.latest(Book(symbol))

    in_scene(play, settings, books=6)


@pytest.mark.parametrize("lines", [1, 2])
def test_a_trade_with_an_id_that_is_none_does_not_silence_the_stream(lines: int) -> None:
    settings = attrs.evolve(SETTINGS, config=Config(pool=PoolSettings(max_connections=lines)))

    async def play(scene: Scene) -> None:
        symbol = scene.world.exchange.symbols[0]
        last = scene.values(Trade)[-1][1]
        forged = (
            f'{{"channel":"trade","type":"update","data":[{{"symbol":"{symbol}","side":"buy","price":{last.price},'
            f'"qty":1.0,"ord_type":"limit","trade_id":900000000000,"timestamp":"{last.venue_time}"}}]}}'
        )
        begin = scene.now()
        scene.world.exchange.faults.send_text(forged.encode(), now=begin)
        await trio.sleep(30)
        told = [event for at, event in scene.told if at >= begin and getattr(event, "channel", "trade") == "trade"]
        told = [event for event in told if not isinstance(event, (TickerUpdate, BookUpdate, Candle))]
        names = [type(event).__name__ for event in told]
        forged_at = next(at for at, event in enumerate(told) if getattr(event, "trade_id", 0) == 900_000_000_000)
        assert names[forged_at - 1] == "TradeGap"
        assert names[forged_at + 1 : forged_at + 5] == ["Stale", "Gap", "Live", "Trade"]
        ids = [event.trade_id for event in told[forged_at + 1 :] if isinstance(event, Trade)]
        assert ids == [*range(ids[0], ids[0] + len(ids))]
        assert ids[0] <= last.trade_id + 20, "those of the first second after it are all that is missing"
        assert len(ids) > 20

    in_scene(play, settings)


def test_what_the_budget_does_not_reach_says_so() -> None:
    settings = attrs.evolve(SETTINGS, symbols=12)

    async def play(scene: Scene) -> None:
        scene.cut()
        await trio.sleep(20)
        sources: list[Source | str] = []
        for topic in scene.topics:
            if isinstance(topic, Book):
                try:
                    sources.append(scene.market.feed.latest(topic).source)
                except Stale as stale:
                    sources.append(stale.why)
        missing = "not within the REST budget of 4 such questions in 5 s"
        assert sources == [REST] * 3 + [missing] * 9
        assert scene.market.failover.statistics().uncovered == 9

    in_scene(play, settings, books=12)


def test_maintenance_is_waited_out_with_questions_about_the_state_alone() -> None:
    async def play(scene: Scene) -> None:
        away: list[str | None] = []
        scene.world.exchange.faults.set_status(mode="maintenance", now=trio.current_time())
        await trio.sleep(5)
        scene.cut()
        asked = rest_requests(scene.world)
        await trio.sleep(120)
        away.append(scene.market.failover.modes.away)
        assert rest_requests(scene.world) - asked <= 10
        assert not scene.values(TickerUpdate, scene.now() - 100)
        scene.world.exchange.faults.set_status(mode="online", now=trio.current_time())
        await trio.sleep(25)
        away.append(scene.market.failover.modes.away)
        assert away == ["the venue is in maintenance", None]
        assert scene.market.feed.latest(scene.topics[0]).source is REST
        scene.mend()
        await trio.sleep(60)
        assert scene.market.feed.latest(scene.topics[0]).source is WS

    in_scene(play)


@pytest.mark.parametrize(
    ("public", "rest", "fits"),
    [
        ("wss://ws.kraken.com/v2", "https://api.kraken.com", True),
        ("wss://beta-ws.kraken.com/v2", "https://api.kraken.com", True),
        ("ws://127.0.0.1:8000/v2", "https://api.kraken.com", False),
        ("wss://kraken.com.example/v2", "https://api.kraken.com", False),
        ("ws://127.0.0.1:8000/v2", "http://127.0.0.1:8001", True),
    ],
)
def test_prices_of_one_venue_never_stand_in_for_those_of_another(public: str, rest: str, fits: bool) -> None:
    config = Config(public_url=public)
    assert has_rest(attrs.evolve(config, rest=attrs.evolve(config.rest, base_url=rest))) is fits


@pytest.mark.parametrize("connections", [1, 3])
def test_a_quiet_market_comes_back_from_the_backup_without_waiting_for_news(connections: int) -> None:
    config = Config(pool=PoolSettings(max_connections=connections))

    async def play(scene: Scene) -> None:
        scene.cut()
        await trio.sleep(20)
        for kind in (BookUpdate, TickerUpdate):
            assert scene.values(kind)[-1][1].source is REST
        scene.mend()
        await trio.sleep(60)
        assert all(scene.market.failover.source(topic) is Feeder.PRIMARY for topic in scene.topics)
        for kind in (BookUpdate, TickerUpdate):
            assert scene.values(kind)[-1][1].source is WS, kind
        assert_honest(scene)

    in_scene(play, WorldSettings(symbols=1, rate=0.0005, backup=True, config=config))


def test_a_symbol_that_nobody_has_does_not_end_the_watch_over_the_others() -> None:
    async def play(scene: Scene) -> None:
        async with scene.market.feed.subscribe(Book("NO/SUCH")):
            await trio.sleep(30)
            silence = scene.world.exchange.faults.silence
            silence(now=scene.now(), seconds=300, symbol=scene.world.exchange.symbols[0], channel="book", kind="data")
            muted = scene.now()
            await trio.sleep(15)
            assert [event.channel for at, event in scene.told if isinstance(event, Stale) and at > muted] == ["book"]

    in_scene(play)


def test_a_reader_who_wants_a_deeper_book_takes_nothing_from_the_others_on_the_backup() -> None:
    async def play(scene: Scene) -> None:
        symbol = scene.world.exchange.symbols[0]
        scene.cut()
        await trio.sleep(20)
        before = scene.now()
        async with scene.market.feed.subscribe(Book(symbol, 25), on_full=Bounded()) as deeper:
            await trio.sleep(20)
            depths = [event.book.depth for event in await deeper.take_batch(1000, 0.0) if isinstance(event, BookUpdate)]
            assert depths[-1] == 25
            assert not [event for at, event in scene.told if at >= before and isinstance(event, (Stale, Gap))]
            times = [at for at, event in scene.values(BookUpdate, before) if event.symbol == symbol]
            assert all(late - early <= 5.5 for early, late in pairwise([before, *times, scene.now()]))
            scene.mend()
            await trio.sleep(40)
            assert scene.market.failover.source(Book(symbol, 25)) is Feeder.PRIMARY
            assert [e.book.depth for e in await deeper.take_batch(1000, 0.0) if isinstance(e, BookUpdate)][-1] == 25
        assert_honest(scene)

    in_scene(play)
