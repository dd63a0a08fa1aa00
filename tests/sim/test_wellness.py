"""Which line is well is known from outside; what a well line shows must reach readers whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio

from kraken_engine import Book, BookUpdate, Bounded, Event, Trades
from kraken_engine.config import Config
from kraken_engine.errors import Stale
from kraken_engine.normalise.events import TradeGap
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.figures import Figures
from kraken_engine.sim.hooks import FAULTS
from kraken_engine.sim.judges.continuity import ContinuityJudge
from kraken_engine.sim.judges.verdict import Verdict
from kraken_engine.sim.plan import Fault, Value
from kraken_engine.sim.world import World, WorldSettings, open_world
from kraken_engine.state.freshness import StreamKey

SETTINGS = WorldSettings(symbols=2, rate=20.0)
TWO_LINES = attrs.evolve(SETTINGS, config=Config())
BOOK = ("book", "BTC/USD")


async def read(world: World, body: Callable[[list[tuple[StreamKey, Event]]], Awaitable[None]]) -> None:
    """Read books and trades of everything, and run ``body`` on what is published."""
    seen: list[tuple[StreamKey, Event]] = []
    async with world.open_market() as market, trio.open_nursery() as nursery:
        stop = market.publisher.observe(lambda key, event: seen.append((key, event)))
        nursery.start_soon(_consume, world, market)
        nursery.start_soon(_sample, world)
        await body(seen)
        stop()
        nursery.cancel_scope.cancel()


async def _consume(world: World, market: object) -> None:
    topics = [topic(symbol) for symbol in world.exchange.symbols for topic in (Book, Trades)]
    async with market.feed.subscribe(*topics, on_full=Bounded()) as events:  # type: ignore[attr-defined]
        async for _ in events:
            pass


async def _sample(world: World) -> None:
    while True:
        world.wellness.sample()
        await trio.sleep(0.25)


def in_world(body: Callable[[World], Awaitable[None]], settings: WorldSettings = SETTINGS) -> None:
    async def main() -> None:
        async with open_world(3, settings) as world:
            await body(world)

    run(3, main, horizon_s=600)


def fault(name: str, target: int = 0, **params: Value) -> Fault:
    return Fault(at_s=0, kind=name, target=target, params=params)


def test_a_line_is_well_some_time_after_it_subscribed() -> None:
    async def body(world: World) -> None:
        async def watch(_: list[tuple[StreamKey, Event]]) -> None:
            assert not world.wellness.is_well(BOOK)
            await trio.sleep(1.0)
            assert not world.wellness.is_well(BOOK)
            await trio.sleep(2.0)
            assert world.wellness.is_well(BOOK)
            assert not world.wellness.is_well(("book", "GHOST/USD"))
            assert not world.wellness.is_well(("health",))
            assert world.wellness.sessions() == list(world.exchange.sessions)

        await read(world, watch)

    in_world(body)


ILLS = [
    fault("silence", kind="data", seconds=1.0),
    fault("silence_subscription", channel="book", seconds=1.0),
    fault("drop_update"),
    fault("reorder_updates", 1),
    fault("change_precision", price=1, qty=0),
    fault("latency", latency_s=0.5, jitter_s=0.0, for_s=1.0),
    fault("suspend", by_s=1.0),
]


@pytest.mark.parametrize("ill", ILLS, ids=lambda ill: ill.kind)
def test_what_happens_to_every_line_makes_none_well_for_some_time(ill: Fault) -> None:
    async def body(world: World) -> None:
        async def watch(_: list[tuple[StreamKey, Event]]) -> None:
            await trio.sleep(5.0)
            for number in range(len(world.wellness.sessions())):
                one = attrs.evolve(ill, target=ill.target + number * (2 if ill.kind in TWO_LEVELS else 1))
                await FAULTS.apply(world, one)
            assert not world.wellness.is_well(BOOK)
            await trio.sleep(1.5)
            assert not world.wellness.is_well(BOOK), "what it led to may still be going on"
            await trio.sleep(80.0)
            assert world.wellness.is_well(BOOK)

        await read(world, watch)

    in_world(body)


TWO_LEVELS = ("silence_subscription", "drop_update", "reorder_updates")


@pytest.mark.parametrize("kind", ["word_differently", "refuse_subscriptions", "maintenance"])
def test_what_a_line_must_not_even_feel_leaves_it_well(kind: str) -> None:
    params: dict[str, dict[str, Value]] = {
        "word_differently": {"style": "spaced", "seconds": 5.0},
        "refuse_subscriptions": {"error": "Exceeded msg rate", "times": 1},
        "maintenance": {"seconds": 5.0, "notice": "imminent_5m"},
    }

    async def body(world: World) -> None:
        async def watch(_: list[tuple[StreamKey, Event]]) -> None:
            await trio.sleep(5.0)
            await FAULTS.apply(world, Fault(at_s=0, kind=kind, params=params[kind]))
            assert world.wellness.is_well(BOOK)

        await read(world, watch)

    in_world(body)


def test_a_connection_is_clean_since_its_last_fault_alone() -> None:
    async def body(world: World) -> None:
        async def watch(_: list[tuple[StreamKey, Event]]) -> None:
            await trio.sleep(5.0)
            (session,) = world.wellness.sessions()
            assert world.wellness.connection_is_clean(session, since_s=4.0)
            await FAULTS.apply(world, fault("latency", latency_s=0.2, jitter_s=0.0, for_s=1.0))
            await trio.sleep(1.0)
            assert not world.wellness.connection_is_clean(session, since_s=5.5)
            assert world.wellness.connection_is_clean(session, since_s=6.5)
            assert not world.wellness.connection_is_clean(session + 1, since_s=6.5)

        await read(world, watch)

    in_world(body)


def test_a_lie_with_an_old_time_may_make_every_stream_of_its_line_look_late() -> None:
    async def body(world: World) -> None:
        async def watch(_: list[tuple[StreamKey, Event]]) -> None:
            await trio.sleep(5.0)
            await FAULTS.apply(world, fault("falsify_level", world.exchange.symbols.index("ETH/USD")))
            assert world.wellness.felt("ETH/USD", "falsify_level")
            assert not world.wellness.felt("BTC/USD", "falsify_level")
            assert not world.wellness.is_well(BOOK)

        await read(world, watch)

    in_world(body)


def judged(change: Callable[[list[tuple[StreamKey, Event]]], list[tuple[StreamKey, Event]]]) -> str:
    """Return what is wrong with what was published while all was well, changed a little."""
    found: list[str] = []

    async def body(world: World) -> None:
        async def watch(seen: list[tuple[StreamKey, Event]]) -> None:
            await trio.sleep(5.0)
            seen.clear()
            await trio.sleep(5.0)
            verdict = Verdict()
            judge = ContinuityJudge(world=world, verdict=verdict, figures=Figures())
            for key, event in change([one for one in seen if one[0] in (BOOK, ("trade", "BTC/USD"))]):
                judge.see(key, event)
            found.append(str(verdict.violation))

        await read(world, watch)

    in_world(body, TWO_LINES)  # which is where nothing may be shown twice
    return found[0]


Events = list[tuple[StreamKey, Event]]


def _books(seen: Events) -> Events:
    return [one for one in seen if isinstance(one[1], BookUpdate)]


def test_what_is_published_while_a_line_is_well_is_complete_and_in_order() -> None:
    assert judged(lambda seen: seen) == "None"


HOLE = TradeGap(at_s=0, symbol="BTC/USD", first=1, last=2)
WRONGS: list[tuple[str, str, Callable[[Events], Events]]] = [
    ("twice", "C-1", lambda seen: [*_books(seen)[:3], _books(seen)[2], *_books(seen)[3:]]),
    ("stale", "I-6", lambda seen: [*seen, (BOOK, Stale("book", "BTC/USD", "no frame for 2.5 s"))]),
    ("trades", "I-5", lambda seen: [*seen, (("trade", "BTC/USD"), HOLE)]),
    ("hole", "C-1", lambda seen: [*_books(seen)[:3], *_books(seen)[4:]]),
    ("invented", "C-1", lambda seen: [*_books(seen)[:3], *_aged(_books(seen)[3:])]),
]


def _aged(seen: Events) -> Events:
    return [
        (key, attrs.evolve(event, venue_time="2026-09-21T14:13:20.000000Z", snapshot=False))
        for key, event in seen
        if isinstance(event, BookUpdate)
    ]


@pytest.mark.parametrize(("name", "invariant", "change"), WRONGS, ids=[name for name, *_ in WRONGS])
def test_what_is_not_is_a_violation(name: str, invariant: str, change: Callable[[Events], Events]) -> None:
    assert judged(change).startswith(invariant), name


def test_a_hole_is_a_violation_unless_readers_were_told_of_a_loss() -> None:
    stale = (BOOK, Stale("book", "BTC/USD", "the subscription changes"))
    assert judged(lambda seen: [*_books(seen)[:3], stale, *_books(seen)[4:]]) == "None"
