"""How soon a lost connection is made up for: apart where something is in the way, of which nothing was promised."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType

import attrs
import pytest
import trio

from kraken_engine import Book, Bounded
from kraken_engine.config import Config
from kraken_engine.feed.subscription import Subscription
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.figures import Figures
from kraken_engine.sim.hooks import FAULTS
from kraken_engine.sim.judges.healing import HEALED, HINDERED, HealingJudge
from kraken_engine.sim.judges.lines import LineJudge
from kraken_engine.sim.judges.readership import Readership
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.plan import Fault, Value
from kraken_engine.sim.world import World, WorldSettings, open_world
from kraken_engine.tasks.market import Market

SETTINGS = WorldSettings(symbols=2, rate=10.0, config=Config())
EMPTY: Mapping[str, Value] = MappingProxyType({})
HEALTHY_S = Config().backoff.healthy_s


@attrs.define(kw_only=True)
class Stage:
    """A world with an engine of two lines in it, whose healing is measured."""

    world: World
    market: Market
    nursery: trio.Nursery
    readership: Readership

    def read(self, symbol: str, *, for_s: float = float("inf")) -> None:
        self.nursery.start_soon(partial(self._read, symbol, for_s))

    async def fault(self, kind: str, params: Mapping[str, Value] = EMPTY, *, target: int = 0) -> None:
        await FAULTS.apply(self.world, Fault(at_s=0, kind=kind, target=target, params=params))

    def meanwhile(self, kind: str, params: Mapping[str, Value]) -> None:
        self.nursery.start_soon(self.fault, kind, params)

    async def _read(self, symbol: str, for_s: float) -> None:
        topic = Book(symbol)
        with trio.move_on_after(for_s), ExitStack() as stack:
            stack.enter_context(self.readership.reading([topic.key]))
            async with self.market.feed.subscribe(topic, on_full=Bounded()) as subscription:
                await _consume(subscription)


async def _sample(world: World, judge: HealingJudge) -> None:
    while True:
        await trio.sleep(0.25)
        world.wellness.sample()
        judge.sample()


async def _consume(subscription: Subscription) -> None:
    async for _ in subscription:
        pass


def measured(body: Callable[[Stage], Awaitable[None]], *, read: Sequence[str] = ("BTC/USD",)) -> dict[str, list[float]]:
    """Return the times taken while ``body`` breaks things, from when every line has been up for long."""
    figures, readership = Figures(), Readership()

    async def main() -> None:
        async with open_world(5, SETTINGS) as world:
            lines = LineJudge(world=world, verdict=Verdict())
            judge = HealingJudge(world=world, figures=figures, lines=lines, readership=readership)
            world.trace.observe(lines.trace)
            world.trace.observe(judge.trace)
            async with world.open_market() as market, trio.open_nursery() as nursery:
                market.publisher.observe(lambda _, event: judge.published(event))
                nursery.start_soon(_sample, world, judge)
                stage = Stage(world=world, market=market, nursery=nursery, readership=readership)
                for symbol in read:
                    stage.read(symbol)
                await trio.sleep(HEALTHY_S + 5.0)
                await body(stage)
                await trio.sleep(HEALTHY_S)
                nursery.cancel_scope.cancel()

    run(5, main, horizon_s=600)
    return figures.seconds


LOSSES: list[tuple[str, dict[str, Value]]] = [
    ("reset_peer", {}),
    ("venue_abort", {"mode": "abort"}),
    ("venue_close", {"mode": "close", "code": 1001}),
]


@pytest.mark.parametrize(("kind", "params"), LOSSES, ids=[kind for kind, _ in LOSSES])
def test_a_loss_while_all_else_is_well_is_measured_by_what_caused_it(kind: str, params: dict[str, Value]) -> None:
    async def body(stage: Stage) -> None:
        await stage.fault(kind, params)

    times = measured(body)
    assert list(times) == [f"{HEALED}: {kind}"]
    assert 0.0 < times[f"{HEALED}: {kind}"][0] <= 0.5


IN_THE_WAY: list[tuple[str, dict[str, Value]]] = [
    ("resolver_slow", {"delay_s": 3.0, "for_s": 10.0}),
    ("resolver_fail", {"for_s": 3.0}),
    ("refuse", {"for_s": 3.0}),
    ("hang_connect", {"for_s": 3.0}),
    ("status", {"mode": "maintenance", "for_s": 3.0}),
    ("maintenance", {"seconds": 8.0, "notice": "imminent_5m"}),
    ("refuse_upgrade", {"status": 503, "retry_after": 1, "times": 1}),
    ("refuse_subscriptions", {"error": "Exceeded msg rate", "times": 1}),
    ("ignore_subscriptions", {"times": 1}),
]


@pytest.mark.parametrize(("kind", "params"), IN_THE_WAY, ids=[kind for kind, _ in IN_THE_WAY])
def test_a_loss_with_something_in_the_way_is_measured_apart(kind: str, params: dict[str, Value]) -> None:
    async def body(stage: Stage) -> None:
        stage.meanwhile(kind, params)
        await trio.sleep(0.01)
        await stage.fault("reset_peer")

    assert list(measured(body)) == [f"{HINDERED}: reset_peer"]


def test_what_comes_in_the_way_while_the_line_waits_counts_as_well() -> None:
    async def body(stage: Stage) -> None:
        await stage.fault("venue_close", {"mode": "close", "code": 1012})  # which asks for a pause
        await trio.sleep(0.1)
        await stage.fault("refuse", {"for_s": 1.5})

    assert list(measured(body)) == [f"{HINDERED}: venue_close"]


def test_a_new_connection_that_is_not_as_it_should_be_is_in_the_way() -> None:
    async def body(stage: Stage) -> None:
        stage.world.network.change(stage.world.venue_address, latency_s=0.2)
        for link in stage.world.engine_links():
            link.change(latency_s=0.0005)
        await stage.fault("reset_peer")

    assert list(measured(body)) == [f"{HINDERED}: reset_peer"]


def test_a_line_that_was_not_well_for_long_has_to_wait_by_the_rules() -> None:
    async def body(stage: Stage) -> None:
        await stage.fault("reset_peer", target=0)
        await trio.sleep(HEALTHY_S / 2)
        await stage.fault(
            "reset_peer", target=1
        )  # connections are counted oldest first: it is the same line or the other
        await stage.fault("reset_peer", target=0)

    times = measured(body)
    assert list(times) == [f"{HEALED}: reset_peer", f"{HINDERED}: reset_peer"]
    assert [len(taken) for taken in times.values()] == [1, 1]


def test_a_book_that_nobody_reads_any_more_is_not_waited_for() -> None:
    async def body(stage: Stage) -> None:
        stage.read("ETH/USD", for_s=5.0)
        await trio.sleep(20.0)
        await stage.fault("reset_peer")
        await trio.sleep(5.0)
        stage.read("ETH/USD", for_s=5.0)

    times = measured(body)
    assert list(times) == [f"{HEALED}: reset_peer"]
    assert times[f"{HEALED}: reset_peer"][0] <= 0.5


def test_the_books_of_all_readers_are_waited_for() -> None:
    async def body(stage: Stage) -> None:
        await stage.fault("reset_peer")
        await trio.sleep(1.0)
        assert len(stage.world.exchange.sessions) == 2
        for session in stage.world.exchange.sessions.values():
            books = {place[1] for place in session.subscriptions if place[0] == "book"}
            assert books == {"BTC/USD", "ETH/USD"}

    times = measured(body, read=["BTC/USD", "ETH/USD"])
    assert list(times) == [f"{HEALED}: reset_peer"]
