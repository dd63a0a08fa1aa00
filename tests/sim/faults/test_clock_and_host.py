"""Rows 61 to 65 of the fault matrix: clocks that step, machines that sleep, loops that block, and what users do."""

from __future__ import annotations

import pytest
import trio
from tests.sim.faults.harness import HEALED, Recorder, Scene, age_s, run_in_world

from kraken_engine import (
    Book,
    BookUpdate,
    Bounded,
    ClockNotice,
    DropOldest,
    Gap,
    Lagged,
    LineDown,
    Live,
    MarketEvent,
    SlowConsumer,
    Stale,
    Ticker,
    Trade,
    Trades,
)
from kraken_engine.sim.deterministic import run
from kraken_engine.sim.world import WorldSettings, open_world


def _with_wall_clock_faults(*, step_s: float, drift: float) -> Recorder:
    async def scenario(scene: Scene) -> None:
        scene.world.clock.drift(drift)
        scene.world.clock.step(step_s)
        await trio.sleep(20)
        scene.world.network.reset("*")
        scene.world.clock.step(-2 * step_s)
        await trio.sleep(20)

    return run_in_world(scenario)


@pytest.mark.parametrize(
    ("step_s", "drift"), [(-3600.0, 0.0), (3600.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, 0.01)], ids=str
)
def test_fault_61_a_wall_clock_that_steps_or_drifts_changes_nothing(step_s: float, drift: float) -> None:
    """Timers unaffected: bytes, deadlines and events are the same to the microsecond, reconnect included (I-28).

    But for the word about it: one for each step of more than a second, and none for what a time server does.
    """
    faulty, well = _with_wall_clock_faults(step_s=step_s, drift=drift), _with_wall_clock_faults(step_s=0, drift=0)
    assert len(well.events) > 1000
    assert well.all(Gap)
    assert faulty.network == well.network
    told = [(at, type(event)) for at, event in faulty.events if not isinstance(event, ClockNotice)]
    assert told == [(at, type(event)) for at, event in well.events]
    steps = [event.step_s for _, event in faulty.all(ClockNotice)]
    assert steps == pytest.approx([by_s for by_s in (step_s, -2 * step_s) if abs(by_s) > 1.0])


def test_fault_62_a_machine_that_slept_20_minutes_resyncs_once_without_a_storm() -> None:
    """All timers fire once, no storm; full resync: one attempt, each book stale once, nothing of before shown."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.world.clock.suspend(1200)
        woke = scene.now
        assert woke >= start + 1200
        await scene.until(lambda: scene.told(Live, start), 2.0)
        await trio.sleep(30)
        assert len(scene.recorder.dials(start)) == 1
        assert scene.line_ends(start) == ["market A: nobody looked for 1199.5 s, what came meanwhile is too old"]
        assert max(age_s(at, event) for at, event in scene.recorder.all(BookUpdate, start)) <= 5.0
        for symbol in scene.symbols:
            told = [type(event) for _, event in scene.book_events(symbol, start)]
            assert (told.count(Stale), told.count(Live)) == (1, 1)

    run_in_world(scenario)


def test_fault_62_a_connection_that_died_while_the_machine_slept_is_replaced_on_waking() -> None:
    """Nobody tells us that a box in the middle has forgotten the connection: stale on waking, one attempt, no wait."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.link.forget()
        scene.world.clock.suspend(1200)
        woke = scene.now
        await scene.until(lambda: scene.told(Live, start), 2.0)
        assert [at - woke < 0.5 for at in scene.recorder.dials(start)] == [True]
        assert scene.story(scene.symbols[0], start)[:4] == HEALED

    run_in_world(scenario)


def test_fault_63_a_loop_blocked_for_3_s_by_user_code_is_no_dead_line() -> None:
    """No false death (grace = measured lag), not even stale: nobody looked, so nothing was silent. The lag is shown."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        assert scene.market.statistics().lines[0].longest_lag_s < 0.1
        for _ in range(20):
            scene.world.clock.suspend(3.0)  # in virtual time, code that computes for 3 s without a checkpoint
            await trio.sleep(1.7)
        assert scene.recorder.all(LineDown, start) == []
        assert scene.recorder.all(Stale, start) == []
        assert 2.4 <= scene.market.statistics().lines[0].longest_lag_s <= 3.0

    run_in_world(scenario)


def test_fault_63_a_line_that_dies_while_the_loop_is_blocked_is_still_found() -> None:
    async def scenario(scene: Scene) -> None:
        start = scene.now
        scene.link.forget()
        scene.world.clock.suspend(3.0)
        down_at, _ = await scene.next_line_down(start, within_s=8.0)
        assert 4.0 <= down_at - start <= 3.0 + 4.25

    run_in_world(scenario)


def test_fault_64_a_consumer_that_stops_reading_costs_only_itself() -> None:
    """I-30: others are not delayed, the socket is read, queues stay bounded, and the loss is counted and announced."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        topics = [topic(symbol) for symbol in scene.symbols for topic in (Book, Ticker, Trades)]
        feed = scene.market.feed
        async with (
            feed.subscribe(*topics) as conflating,
            feed.subscribe(*topics, on_full=DropOldest(100)) as dropping,
            feed.subscribe(*topics, on_full=Bounded(100)) as strict,
        ):
            await trio.sleep(300)
            assert len(dropping) == 100
            assert len(strict) == 0, "it was ended, and holds nothing any more"
            assert len(conflating) <= len(scene.recorder.all(Trade, start)) + len(topics)
            with pytest.raises(SlowConsumer, match="queue of 100 events full"):
                await anext(strict)
            lagged, following = await anext(dropping), await anext(dropping)
            assert isinstance(lagged, Lagged)
            assert isinstance(following, (MarketEvent, Live)), "it goes on with what is left, notices first"
            delivered = len(scene.recorder.all(MarketEvent, start))
            assert abs(lagged.lost + 100 - delivered) <= len(topics), "what is not queued is counted as lost"
            latest = {symbol: feed.latest(Book(symbol)).value for symbol in scene.symbols}
            books = [event for _ in range(len(conflating)) if isinstance(event := await anext(conflating), BookUpdate)]
            assert {event.symbol: event for event in books} == latest
            assert len(books) == len(scene.symbols)
        assert max(at - event.received_s for at, event in scene.recorder.all(MarketEvent, start)) < 0.01
        assert scene.recorder.all(LineDown, start) == []
        assert scene.recorder.all(Stale, start) == []

    run_in_world(scenario)


class _Abrupt(BaseException):
    """What no ``except Exception`` stops."""


@pytest.mark.parametrize("error", [ValueError("the strategy's own"), _Abrupt()], ids=["Exception", "BaseException"])
def test_fault_65_user_code_that_raises_in_its_own_scope_harms_nobody_else(error: BaseException) -> None:
    """I-32: the exception leaves as itself through the user's own scope; line and other readers go on."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        with pytest.raises(type(error)) as caught:
            async with scene.market.feed.subscribe(Book(scene.symbols[0])) as events:
                async for _ in events:
                    raise error
        assert caught.value is error
        await trio.sleep(10)
        assert scene.recorder.all(LineDown, start) == []
        assert scene.recorder.all(Stale, start) == []
        assert len(scene.recorder.all(BookUpdate, start)) > 50

    run_in_world(scenario)


def test_fault_65_a_reader_that_is_cancelled_harms_nobody_else() -> None:
    """Cancelled passes through, and loses nothing of what the next reader gets."""

    async def scenario(scene: Scene) -> None:
        start = scene.now
        async with scene.market.feed.subscribe(Book(scene.symbols[0]), on_full=Bounded()) as events:
            got: list[object] = []
            while scene.now < start + 10:
                with trio.move_on_after(0.037) as scope:
                    async for event in events:
                        got.append(event)  # noqa: PERF401 - the comprehension would lose what was read before
                assert scope.cancelled_caught
        told = [event for at, event in scene.book_events(scene.symbols[0], start) if isinstance(event, BookUpdate)]
        assert [event for event in got if event in told] == told[: len(got)]
        assert len(told) > 50
        assert scene.recorder.all(LineDown, start) == []

    run_in_world(scenario)


def test_fault_65_what_the_body_of_the_market_raises_leaves_as_itself_and_ends_everything() -> None:
    async def main() -> None:
        async with open_world(1, WorldSettings(symbols=1)) as world:
            with pytest.raises(_Abrupt):
                async with world.open_market() as market, market.feed.subscribe(Ticker(world.exchange.symbols[0])):
                    await trio.sleep(3)
                    raise _Abrupt
            assert world.network.open_streams("client") == []

    run(1, main, horizon_s=60)
