"""Lines and REST are compared in the background: what agrees costs nothing, what does not is renewed and told."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
import trio
from tests.tasks.test_venue_modes import SETTINGS, Scene, in_scene

from kraken_engine import Config, Inconsistent, Stale, Ticker, Trades
from kraken_engine.config import FailoverSettings, PoolSettings
from kraken_engine.model import Integrity, Side, Source
from kraken_engine.normalise.events import Trade
from kraken_engine.rest.operations import Group

EVERY_S = 5.0
OFTEN = attrs.evolve(SETTINGS, config=attrs.evolve(SETTINGS.config, failover=FailoverSettings(verify_every_s=EVERY_S)))


def test_two_sources_that_agree_are_compared_in_turns_and_nobody_notices() -> None:
    async def play(scene: Scene) -> None:
        await trio.sleep(120)
        found = scene.market.failover.statistics()
        assert 18 <= found.compared <= 24
        assert (found.differences, found.resyncs) == (0, 0)
        assert scene.all(Stale) == []
        assert scene.all(Inconsistent) == []

    in_scene(play, OFTEN)


def test_a_value_that_rest_does_not_know_is_told_and_asked_for_anew_and_all_is_well_again() -> None:
    """In a quiet market, with the probe for quiet streams switched off: nothing else would find it."""
    failover = FailoverSettings(verify_every_s=EVERY_S, probe_every_s=10_000.0)
    settings = attrs.evolve(OFTEN, rate=0.001, config=attrs.evolve(OFTEN.config, failover=failover))
    numbers = ",".join(f'"{name}":{value}' for name, value in {
        "bid": 1.0, "bid_qty": 1.0, "ask": 2.0, "ask_qty": 1.0, "last": 1.5, "volume": 1.0, "vwap": 1.5, "low": 1.0,
        "high": 2.0, "change": 0.0, "change_pct": 0.0,
    }.items())  # fmt: skip

    async def play(scene: Scene) -> None:
        true_bid = scene.market.feed.latest(Ticker(scene.symbol)).value.bid
        forged = f'{{"channel":"ticker","type":"update","data":[{{"symbol":"{scene.symbol}",{numbers}}}]}}'
        start = trio.current_time()
        scene.world.exchange.faults.send_text(forged.encode(), now=start)
        await trio.sleep(0.5)
        assert scene.market.feed.latest(Ticker(scene.symbol)).value.bid == 1
        await trio.sleep(6 * EVERY_S)
        told = scene.all(Inconsistent, start)
        assert [(event.channel, event.symbol, event.resync) for event in told] == [("ticker", scene.symbol, True)]
        assert "bid: REST" in told[0].what
        assert [event.channel for event in scene.all(Stale, start)] == ["ticker"]
        assert scene.market.feed.latest(Ticker(scene.symbol)).value.bid == true_bid
        found = scene.market.failover.statistics()
        assert (found.differences, found.resyncs) == (2, 1)

    in_scene(play, settings)


@pytest.mark.parametrize("every_s", [0.0])
def test_it_can_be_switched_off(every_s: float) -> None:
    settings = attrs.evolve(
        SETTINGS, config=attrs.evolve(SETTINGS.config, failover=FailoverSettings(verify_every_s=every_s))
    )

    async def play(scene: Scene) -> None:
        await trio.sleep(120)
        assert scene.market.failover.statistics().compared == 0

    in_scene(play, settings)


def test_it_asks_after_everybody_else_and_not_at_all_while_something_is_lost() -> None:
    async def play(scene: Scene) -> None:
        rest = scene.market.rest
        assert rest is not None
        groups: list[Group] = []
        stop = rest.observe(lambda attempt: groups.append(attempt.what.group))
        await trio.sleep(30)
        assert Group.CONSISTENCY in groups
        scene.cut()
        await trio.sleep(10)
        groups.clear()
        await trio.sleep(60)
        stop()
        assert set(groups) == {Group.BACKUP}

    in_scene(play, OFTEN)


QUIET = attrs.evolve(SETTINGS, rate=0.001, config=Config(pool=PoolSettings(max_connections=1)))


def test_the_last_trade_of_an_earlier_process_does_not_make_a_quiet_stream_look_forgotten() -> None:
    async def play(scene: Scene) -> None:
        key = Trades(scene.symbol).key
        old = Trade(
            symbol=scene.symbol, source=Source.WEBSOCKET_V2, received_s=-50.0, venue_time="2026-01-01T00:00:00Z",
            integrity=Integrity.RESYNCING, side=Side.BUY, price=Decimal(1), qty=Decimal(1), order_type="limit",
            trade_id=1,
        )  # fmt: skip
        scene.market.publisher.restore(key, old, Stale("trade", scene.symbol, "restored", since_s=0.0))
        assert scene.market.publisher.latest(key) is old
        await trio.sleep(60)
        assert scene.all(Stale) == []

    in_scene(play, QUIET)


def test_a_trade_subscription_that_was_forgotten_before_its_first_trade_is_found_out() -> None:
    """Only another price at REST than a while ago can tell."""

    async def play(scene: Scene) -> None:
        market, symbol = scene.market, scene.world.exchange.symbols[1]
        key = Trades(symbol).key
        with scene.watched() as seen:
            async with market.feed.subscribe(Trades(symbol)):
                while not market.publisher.freshness.is_live(key):  # noqa: ASYNC110 - in steps of virtual time
                    await trio.sleep(0.01)
                now = trio.current_time()
                scene.world.exchange.faults.silence(seconds=500.0, symbol=symbol, channel="trade", now=now)
                assert market.publisher.latest(key) is None
                await trio.sleep(60)
        told = [event for event in seen if isinstance(event, Stale) and event.symbol == symbol]
        assert {event.channel for event in told} == {"trade"}
        assert "REST has newer data" in told[0].why

    in_scene(play, attrs.evolve(QUIET, rate=4.0))
