"""What has open orders comes first: on a new connection, and on the backup."""

from __future__ import annotations

import attrs
import trio
from tests.tasks.account_world import MAIN, in_world, place

from kraken_engine import Book, Ticker, Trades
from kraken_engine.control.failover import Feeder
from kraken_engine.model import Source
from kraken_engine.sim.world import World
from kraken_engine.tasks.account import open_account
from kraken_engine.tasks.urgent import UrgentSymbols


def test_symbols_are_those_of_every_account_each_once_until_it_closes() -> None:
    urgent = UrgentSymbols()
    assert urgent() == ()
    leave = urgent.add(lambda: ["ETH/USD", "BTC/USD", "ETH/USD"])
    urgent.add(lambda: ["BTC/USD", "SOL/USD"])
    assert urgent() == ("ETH/USD", "BTC/USD", "SOL/USD")
    leave()
    assert urgent() == ("BTC/USD", "SOL/USD")


def test_a_new_connection_asks_for_books_of_symbols_with_open_orders_before_anything_else_of_the_market() -> None:
    async def scenario(world: World) -> None:
        symbols = world.exchange.symbols
        late = symbols[-1]
        topics = [topic for symbol in symbols for topic in (Ticker(symbol), Book(symbol), Trades(symbol))]
        async with (
            world.open_market() as market,
            open_account(MAIN, market) as account,
            market.feed.subscribe(*topics),
        ):
            await account.wait_live()
            place(world, 2, symbol=late)
            await trio.sleep(2)
            assert market.urgent() == (late,)
            before = world.exchange.journal.next
            world.network.reset(world.venue_address)
            await trio.sleep(10)
            asked = [
                (entry.channel, entry.symbols)
                for entry in world.exchange.journal.since(before)
                if entry.what == "subscribe" and entry.channel in ("ticker", "book", "trade")
            ]
            assert asked[0] == ("book", (late,))
            assert {channel for channel, _ in asked} == {"ticker", "book", "trade"}

    in_world(scenario)


def test_the_backup_covers_books_of_symbols_with_open_orders_first() -> None:
    async def scenario(world: World) -> None:
        config = world.config
        failover = attrs.evolve(config.failover, enabled=True, calls_per_s=0.4)
        world.config = attrs.evolve(config, failover=failover)
        late = world.exchange.symbols[-1]
        async with (
            world.open_market() as market,
            open_account(MAIN, market) as account,
            market.feed.subscribe(*(Book(symbol) for symbol in world.exchange.symbols)),
        ):
            await account.wait_live()
            place(world, 1, symbol=late)
            await trio.sleep(2)
            world.network.change(world.venue_address, blackhole=True)
            await trio.sleep(20)
            assert market.failover.source(Book(late)) is Feeder.BACKUP
            covered = [
                symbol
                for symbol in world.exchange.symbols
                if market.feed.latest(Book(symbol), allow_stale=True).source is Source.REST
            ]
            assert covered
            assert late in covered
            assert len(covered) < len(world.exchange.symbols)

    in_world(scenario)
