"""Two lines bring one market: what happens to one of them is no event for readers, and nothing is missing or twice."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from kraken_engine import (
    Book,
    BookUpdate,
    Bounded,
    Candles,
    Config,
    Event,
    Gap,
    Health,
    LineDown,
    Live,
    Market,
    MarketEvent,
    Resync,
    Rotated,
    Silent,
    Stale,
    Ticker,
    TickerUpdate,
    Trade,
    TradeGap,
    Trades,
    UsageError,
)
from kraken_engine.config import PoolSettings
from kraken_engine.errors import LineError
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.network import Dialing
from kraken_engine.sim.world import World, WorldSettings, open_world

TWO_LINES = WorldSettings(symbols=3, rate=15.0, config=Config())

Scenario = Callable[[World, Market, "Reader"], Awaitable[None]]


@attrs.define
class Reader:
    """Reads every stream of every symbol, and remembers all of it."""

    world: World
    market: Market
    got: list[Event] = attrs.field(factory=list)

    async def read(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        topics = [topic for s in self.world.exchange.symbols for topic in (Book(s), Trades(s), Ticker(s), Candles(s))]
        async with self.market.feed.subscribe(*topics, Health(), on_full=Bounded(1_000_000)) as events:
            task_status.started()
            async for event in events:
                self.got.append(event)

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.got if isinstance(event, kinds)]

    def interruptions(self) -> list[Any]:
        """What readers of a stream would rather not see."""
        return self.of(Stale, Gap, TradeGap)

    def check_complete(self) -> None:
        """Every stream is what the venue had: in order, nothing twice, trades without a hole."""
        for symbol in self.world.exchange.symbols:
            mine = [event for event in self.of(MarketEvent) if event.symbol == symbol]
            ids = [event.trade_id for event in mine if isinstance(event, Trade)]
            assert ids == list(range(ids[0], ids[0] + len(ids))) if ids else True
            books = [(event.venue_time, event.book.checksum) for event in mine if isinstance(event, BookUpdate)]
            times = [str(time) for time, _ in books]
            assert times == sorted(times)
            assert all(self.world.exchange.ever_had(symbol, checksum, time) for time, checksum in books)
            assert len(set(books)) == len(books)
            tickers = [(event.venue_time, event.data) for event in mine if isinstance(event, TickerUpdate)]
            assert all(a != b for a, b in itertools.pairwise(tickers))


def in_world(scenario: Scenario, settings: WorldSettings = TWO_LINES, seed: int = 1) -> None:
    async def main() -> None:
        async with open_world(seed, settings) as world:
            async with world.open_market() as market, trio.open_nursery() as nursery:
                reader = Reader(world, market)
                await nursery.start(reader.read)
                await trio.sleep(10)
                assert reader.interruptions() == []
                await scenario(world, market, reader)
                nursery.cancel_scope.cancel()
            await trio.sleep(5)
            assert world.network.open_streams("client") == []

    run(seed, main, horizon_s=3000)


@pytest.mark.parametrize("seed", range(4))
def test_either_line_may_die_again_and_again_and_readers_notice_nothing(seed: int) -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        for n in range(10):
            link = world.engine_links()[(n + seed) % 2]
            link.reset()
            await trio.sleep(6 + n * 0.37)
        await trio.sleep(10)
        assert reader.interruptions() == []
        assert len(reader.of(Live)) == 4 * 3
        assert len(reader.of(LineDown)) == 10
        reader.check_complete()
        assert sum(line.connections for line in market.statistics().lines) == 12

    in_world(scenario, seed=seed)


def test_what_one_line_has_brought_is_not_decoded_again_for_the_other() -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        await trio.sleep(60)
        passed = sum(line.passed for line in market.statistics().lines)
        applied = sum(line.frames for line in market.statistics().lines)
        assert passed > 0.3 * applied, "nearly half of what comes is known"
        reader.check_complete()

    in_world(scenario)


def test_both_lines_at_once_are_a_gap_that_is_told_once_and_healed() -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        world.network.take_down("*")
        await trio.sleep(3)
        world.network.heal()
        await trio.sleep(20)
        for symbol in world.exchange.symbols:
            told = [type(e) for e in reader.of(Stale, Gap, Live) if e.channel == "book" and e.symbol == symbol]
            assert told == [Live, Stale, Gap, Live]
        reader.check_complete()

    in_world(scenario)


def test_a_line_that_goes_silent_is_replaced_while_the_other_feeds_everything() -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        world.engine_links()[0].change(blackhole=True)
        await trio.sleep(20)
        assert reader.interruptions() == []
        assert len(reader.of(LineDown)) == 1
        assert "no frame for 4.0 s" in reader.of(LineDown)[0].reason
        reader.check_complete()

    in_world(scenario)


@pytest.mark.parametrize("kind", ["corrupt_checksum", "drop_update", "reorder_updates"])
def test_what_spoils_a_book_on_one_line_is_healed_there_and_told_to_health_alone(kind: str) -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        symbol = world.exchange.symbols[0]
        for session in list(world.exchange.sessions):
            world.exchange.faults.apply(kind, {"symbol": symbol, "session": session}, trio.current_time())
            await trio.sleep(10)
        assert reader.interruptions() == []
        assert [notice.symbol for notice in reader.of(Resync)] == [symbol] * 2
        reader.check_complete()

    in_world(scenario)


def test_lines_that_batch_differently_show_no_state_twice_and_none_too_late() -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        first, second = list(world.exchange.sessions)
        for n in range(40):
            for symbol in world.exchange.symbols:
                where = {"symbol": symbol, "session": (first, second)[n % 2]}
                world.exchange.faults.apply("merge_updates", where, trio.current_time())
            await trio.sleep(0.5)
        await trio.sleep(5)
        assert reader.interruptions() == []
        assert market.statistics().books_mismatched == 0
        reader.check_complete()

    in_world(scenario)


def test_a_line_is_rotated_without_any_event_but_the_word_that_it_was() -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        for name in ("market A", "market B", "market A"):
            await market.rotate(name)
            await trio.sleep(5)
        assert reader.interruptions() == []
        assert [(notice.line, notice.generation) for notice in reader.of(Rotated)] == [
            ("market A", 2), ("market B", 2), ("market A", 3),
        ]  # fmt: skip
        assert reader.of(LineDown) == []
        reader.check_complete()
        assert len(world.engine_links()) == 2
        assert [line.connections for line in market.statistics().lines] == [3, 2]

    in_world(scenario)


def test_a_rotation_that_cannot_succeed_leaves_the_line_as_it_was() -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        world.exchange.faults.apply("refuse_upgrade", {"status": 503, "times": 100}, trio.current_time())
        with pytest.raises(LineError, match="did not bring everything within 20 s"):
            await market.rotate("market A")
        assert reader.interruptions() == []
        assert len(world.engine_links()) == 2
        with pytest.raises(UsageError, match="expected one of market A, market B, got 'market C'"):
            await market.rotate("market C")
        reader.check_complete()

    in_world(scenario)


def test_a_pool_of_one_line_has_nothing_to_rotate_onto() -> None:
    async def main() -> None:
        one = WorldSettings(symbols=1, config=Config(pool=PoolSettings(max_connections=1)))
        async with open_world(1, one) as world, world.open_market() as market:
            with pytest.raises(UsageError, match="two market lines or more"):
                await market.rotate("market A")

    run(1, main, horizon_s=100)


def test_with_a_redundancy_of_one_the_streams_are_spread_over_the_lines() -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        carried = market.pool.places()
        assert sorted(len(keys) for keys in carried.values()) == [7, 7], "six streams each, and the instruments"
        await trio.sleep(20)
        assert reader.interruptions() == []
        reader.check_complete()

    in_world(scenario, attrs.evolve(TWO_LINES, config=Config(pool=PoolSettings(redundancy=1))))


@pytest.mark.parametrize("channel", ["book", "trade", "ticker"])
def test_a_subscription_that_falls_mute_on_one_line_is_asked_for_anew_there_and_readers_notice_nothing(
    channel: str,
) -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        symbol, session = world.exchange.symbols[0], next(iter(world.exchange.sessions))
        mute = {"symbol": symbol, "channel": channel, "session": session, "seconds": 500.0}
        began = trio.current_time()
        world.exchange.faults.apply("silence", mute, began)
        await trio.sleep(30)
        silent = reader.of(Silent)
        assert {(one.channel, one.symbol) for one in silent} == {(channel, symbol)}
        assert [one.remedy for one in silent[:2]] == ["resubscribe"] * 2, "all lines carry it: there is none to move to"
        assert reader.interruptions() == []
        reader.check_complete()

    in_world(scenario)


def test_a_line_that_only_sends_heartbeats_is_replaced_within_the_promised_time() -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        session = next(iter(world.exchange.sessions))
        mute = {"session": session, "kind": "data", "seconds": 500.0}
        world.exchange.faults.apply("silence", mute, trio.current_time())
        began = trio.current_time()
        await trio.sleep(15)
        (replaced,) = reader.of(Silent)
        assert replaced.remedy == "replace"
        assert replaced.at_s - began < 3.5
        assert reader.interruptions() == []
        assert len(reader.of(LineDown)) == 1
        reader.check_complete()

    in_world(scenario)


def test_a_mute_subscription_moves_to_a_line_that_does_not_carry_it() -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        symbol = world.exchange.symbols[0]
        carrying = [name for name, keys in market.pool.places().items() if ("book", symbol) in keys]
        assert len(carrying) == 2
        session = next(
            one.id for one in world.exchange.sessions.values() if ("book", symbol, None) in one.subscriptions
        )
        mute = {"symbol": symbol, "channel": "book", "session": session, "seconds": 500.0}
        world.exchange.faults.apply("silence", mute, trio.current_time())
        await trio.sleep(20)
        assert [one.remedy for one in reader.of(Silent)] == ["resubscribe", "move"]
        moved = [name for name, keys in market.pool.places().items() if ("book", symbol) in keys]
        assert len(moved) == 2
        assert moved != carrying
        assert reader.interruptions() == []
        reader.check_complete()

    in_world(scenario, attrs.evolve(TWO_LINES, config=Config(pool=PoolSettings(max_connections=4))))


def test_lines_are_replaced_before_a_maintenance_that_would_end_them() -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        window = '{"stage":"imminent_5m","services":["spot_ws"],"action":"continue"}'
        text = (
            '{"channel":"status","type":"update","data":[{"system":"online","api_version":"v2","version":"2.0.10",'
            f'"connection_id":1,"upcoming_maintenance":[{window}],"emergency":[]}}]}}'
        )
        for _ in range(2):
            world.exchange.faults.apply("send_text", {"text": text}, trio.current_time())
            await trio.sleep(10)
        assert [(one.line, one.reason) for one in reader.of(Rotated)] == [
            ("market A", "maintenance of the venue: imminent_5m"),
            ("market B", "maintenance of the venue: imminent_5m"),
        ]
        assert reader.interruptions() == []
        reader.check_complete()

    in_world(scenario)


@pytest.mark.parametrize(("connections", "redundancy"), [(3, 1), (4, 2)])
def test_a_deeper_book_on_other_lines_is_not_mixed_with_the_one_before(connections: int, redundancy: int) -> None:
    pool = PoolSettings(max_connections=connections, redundancy=redundancy)
    settings = WorldSettings(symbols=2, rate=20.0, config=Config(pool=pool))

    async def main() -> None:
        async with open_world(1, settings) as world, world.open_market() as market:
            symbol = world.exchange.symbols[0]
            async with market.feed.subscribe(Book(symbol), on_full=Bounded()) as shallow:
                await trio.sleep(5)
                await shallow.take_batch(1000, 0.0)
                async with market.feed.subscribe(Book(symbol, 25), on_full=Bounded()) as deep:
                    await trio.sleep(10)
                    got = await deep.take_batch(1000, 0.0)
                    books = [event.book.depth for event in got if isinstance(event, BookUpdate)]
                    assert set(books[1:]) == {25}, "the first is what was shown at that moment"
                told = await shallow.take_batch(1000, 0.0)
                assert [type(event) for event in told if isinstance(event, (Stale, Live))] == [Stale, Live]

    run(1, main, horizon_s=100)


@pytest.mark.parametrize("channel", ["book", "ticker", "trade"])
def test_a_mute_subscription_is_not_what_readers_are_left_with_when_the_other_line_ends(channel: str) -> None:
    async def scenario(world: World, market: Market, reader: Reader) -> None:
        symbol, (mute, _) = world.exchange.symbols[0], world.exchange.sessions
        _, other = world.engine_links()
        world.exchange.faults.silence(
            now=trio.current_time(), seconds=300, symbol=symbol, channel=channel, session_id=mute
        )
        await trio.sleep(10)
        assert reader.interruptions() == []
        world.network.set_dialing(world.venue_address, Dialing.REFUSE)
        other.reset()
        await trio.sleep(1)
        assert list(world.exchange.sessions) == [mute]
        (stale,) = reader.interruptions()
        assert (stale.channel, stale.symbol) == (channel, symbol)

    in_world(scenario)
