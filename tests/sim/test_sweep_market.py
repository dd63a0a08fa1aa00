"""Cancel the market as shipped before each step of its life: it leaves in a second, and leaves nothing behind (I-29).

The usual run tries a sample of the points; ``KRAKEN_SIM_FULL=1`` tries all of them, in five worlds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import attrs
import pytest
import trio

from kraken_engine import Book, Candles, Config, LineUp, Live, Subscription, Ticker, Trades
from kraken_engine.runtime import seeded_rng
from kraken_engine.sim.sweep import Scenario, Victim, cancel_at_every_step, count_steps
from kraken_engine.sim.world import World, WorldSettings, open_world

FULL = os.environ.get("KRAKEN_SIM_FULL") == "1"
SAMPLED = 40
"""Points of each scenario that the usual run tries."""

SEEDS = range(1, 6) if FULL else (1,)
SETTINGS = WorldSettings(symbols=2, rate=5.0)
Act = Callable[[World], Awaitable[None]]


async def start_up(world: World) -> None:
    """Resolve, dial, upgrade, the first instruments; out again, goodbye included."""
    async with world.open_market():
        pass


async def streaming(world: World) -> None:
    """Readers of everything, one of which comes later and leaves earlier, and asks for a deeper book."""
    symbol, other = world.exchange.symbols
    async with world.open_market() as market, trio.open_nursery() as nursery:
        nursery.start_soon(_read_for, 6.0, market.feed.subscribe(Book(symbol), Ticker(other), market.health))
        await trio.sleep(1.0)
        await _read_for(3.0, market.feed.subscribe(Book(symbol, 25), Trades(symbol), Candles(symbol)))


async def reconnect(world: World) -> None:
    """A line that is cut, refused twice, and comes back with every stream."""
    symbol, other = world.exchange.symbols
    async with (
        world.open_market() as market,
        market.feed.subscribe(Book(symbol), Trades(other), market.health) as events,
    ):
        await trio.sleep(1.0)
        world.exchange.faults.refuse_upgrade(now=trio.current_time(), status=503, times=2)
        world.network.reset("*")
        back = False
        async for event in events:
            back = back or isinstance(event, LineUp)
            if back and isinstance(event, Live) and event.channel == "book":
                return


async def shutdown(world: World) -> None:
    """Leaving while a peer keeps silent, so that the goodbye takes as long as it may, and then between two attempts."""
    symbol, other = world.exchange.symbols
    async with world.open_market() as market, market.feed.subscribe(Book(symbol), Candles(other)):
        await trio.sleep(1.0)
        world.network.change(world.venue_address, blackhole=True)
    world.network.heal()
    async with world.open_market() as market, market.feed.subscribe(Book(symbol), Candles(other)):
        await trio.sleep(1.0)
        world.network.take_down(world.venue_address)
        await trio.sleep(3.0)
    world.network.heal()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("act", [start_up, streaming, reconnect, shutdown], ids=lambda act: act.__name__)
def test_a_market_cancelled_at_any_step_leaves_in_a_second_and_leaves_nothing_behind(act: Act, seed: int) -> None:
    scenario = _scenario(act, seed)
    steps: list[int] | None = None
    if not FULL:
        total = count_steps(scenario, seed=seed, horizon_s=120)
        steps = sorted(seeded_rng(f"sweep {act.__name__}").sample(range(1, total + 1), SAMPLED))
    report = cancel_at_every_step(scenario, seed=seed, horizon_s=120, steps=steps)
    sys.stdout.write(f"{act.__name__}: {report.tried} of {report.steps} cancel points, {len(report.failures)} leaks\n")
    assert report.failures == ()
    assert report.tried >= SAMPLED


def _scenario(act: Act, seed: int) -> Scenario:
    config = attrs.evolve(WorldSettings().config, subscriptions=attrs.evolve(Config().subscriptions, grace_s=0.5))

    async def scenario(victim: Victim) -> None:
        async with open_world(seed, attrs.evolve(SETTINGS, config=config)) as world:
            await victim.run(lambda: act(world), leaks=lambda: world.network.open_streams("client"))

    return scenario


async def _read_for(seconds: float, subscribing: AbstractAsyncContextManager[Subscription]) -> None:
    async with subscribing as events:
        with trio.move_on_after(seconds):
            async for _ in events:
                pass
