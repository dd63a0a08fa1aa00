"""A restarted engine shows what the last one knew, as old as it is, and nothing of it as live."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
import pytest
import trio
from tests.tasks.test_engine_store import STATE, config, next_store_notice, world
from trio.testing import MockClock

from kraken_engine import Book, Candle, Candles, Health, Ticker, open_engine
from kraken_engine.config import SimulatedVenue, StoreSettings
from kraken_engine.errors import Stale
from kraken_engine.model import Integrity
from kraken_engine.runtime import Worker, Workers
from kraken_engine.sim.disk import SimDisk
from kraken_engine.state.history import CONNECTIONS, account_lane, book_lane
from kraken_engine.state.history_values import LineState

T = TypeVar("T")


@pytest.fixture
def disk() -> SimDisk:
    return SimDisk()


async def learn(disk: SimDisk) -> str:
    """Run an engine until it knows a book and a ticker, and return the symbol."""
    async with open_engine(config(), runtime=world(disk)) as engine:
        symbol = next(iter(engine.instruments))
        assert engine.restored is None
        with trio.fail_after(60):
            async with engine.feed.subscribe(Book(symbol), Ticker(symbol)) as events:
                async for _ in events:
                    values = engine.market.publisher.values()
                    if ("book", symbol) in values and ("ticker", symbol) in values:
                        break
    return symbol


async def test_what_was_known_is_shown_after_a_restart_and_never_as_live(disk: SimDisk) -> None:
    symbol = await learn(disk)
    async with open_engine(config(), runtime=world(disk)) as engine:
        assert engine.restored is not None
        for topic in (Book(symbol), Ticker(symbol)):
            with pytest.raises(Stale, match=r"restored, .* not current"):
                engine.feed.latest(topic)
            reading = engine.feed.latest(topic, allow_stale=True)
            assert reading.stale is not None
            assert reading.integrity is Integrity.RESYNCING
            assert reading.age_s >= 0
        assert not engine.feed.latest(Book(symbol), allow_stale=True).value.book.verified


async def test_a_restored_stream_becomes_live_by_what_the_venue_says_now(disk: SimDisk) -> None:
    symbol = await learn(disk)
    async with open_engine(config(), runtime=world(disk)) as engine:
        with trio.fail_after(60):
            async with engine.feed.subscribe(Book(symbol)) as events:
                seen = []
                async for event in events:
                    seen.append(type(event).__name__)
                    if seen[-1] == "BookUpdate":
                        break
        assert seen[0] == "Stale"
        assert seen.index("Live") < seen.index("BookUpdate")
        assert engine.feed.latest(Book(symbol)).integrity is Integrity.VERIFIED


async def test_a_corrupt_checkpoint_means_the_one_before_and_two_of_them_a_cold_start(disk: SimDisk) -> None:
    await learn(disk)
    async with open_engine(config(), runtime=world(disk)):
        pass
    names = [name for name in disk.list_directory(STATE) if name.startswith("checkpoint.")]
    assert names == ["checkpoint.0", "checkpoint.1"]
    disk.flip_bit(f"{STATE}/checkpoint.0", 900)
    settings = attrs.evolve(config(), store=attrs.evolve(config().store, checkpoint_every_s=3_600.0))
    async with open_engine(settings, runtime=world(disk)) as engine:
        assert engine.restored is not None
        assert engine.restored.generation == 1
        assert engine.opening[-3:-1] == (
            f"{STATE}/checkpoint.0: its digest does not fit",
            "generation 1 of checkpoint.1 is used, which may be the one before the last",
        )
        assert engine.opening[-1].startswith(f"{STATE}: a warm start with checkpoint 1, ")
        assert engine.market.statistics().errors["state_corruption"] == 1
        disk.flip_bit(f"{STATE}/checkpoint.1", 900)
        disk.flip_bit(f"{STATE}/checkpoint.0", 901)
    for name in names:
        disk.truncate(f"{STATE}/{name}", 10)
    async with open_engine(config(), runtime=world(disk)) as engine:
        assert engine.restored is None
        assert engine.opening[-1] == f"{STATE}: a cold start: there is no checkpoint to begin with"


async def test_a_checkpoint_of_another_venue_is_not_shown_and_that_is_said(disk: SimDisk) -> None:
    symbol = await learn(disk)
    other = attrs.evolve(config(), venue=SimulatedVenue(symbols=1, seed=2))
    async with open_engine(other, runtime=world(disk)) as engine:
        assert engine.restored is None
        assert engine.opening[-2:] == (
            "checkpoint 1: expected one of the embedded venue (seed 2), got one of the embedded venue (seed 1): a cold "
            "start",
            f"{STATE}: a cold start: there is no checkpoint to begin with",
        )
        with pytest.raises(Stale) as raised:
            engine.feed.latest(Book(symbol), allow_stale=True)
        assert "restored" not in str(raised.value)
        assert engine.market.statistics().errors["state_corruption"] == 0
    async with open_engine(config(), runtime=world(disk)) as engine:
        assert engine.restored is not None
        assert engine.restored.generation == 1
        assert engine.opening[-2].endswith("the one before it is used")


IMPATIENT = attrs.evolve(config(), store=StoreSettings(checkpoint_every_s=5.0, open_timeout_s=10.0))


@attrs.define
class Stuck:
    """A disk that answers everything but what checkpoints ask of it, while it ``hangs``."""

    workers: Workers
    hangs: bool = False

    def worker(self, name: str) -> Worker:
        return _StuckWorker(self, self.workers.worker(name)) if name == "checkpoint" else self.workers.worker(name)


@attrs.frozen
class _StuckWorker:
    stuck: Stuck
    worker: Worker

    async def run(self, work: Callable[[], T]) -> T:
        if self.stuck.hangs:
            await trio.sleep_forever()
        return await self.worker.run(work)


async def test_a_disk_that_hangs_holds_up_neither_the_start_nor_the_end(
    disk: SimDisk, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = world(disk)
    stuck = attrs.evolve(runtime, workers=Stuck(runtime.workers, hangs=True))
    begin = trio.current_time()
    async with (
        open_engine(IMPATIENT, runtime=stuck) as engine,
        engine.feed.subscribe(Health()) as health,
    ):
        assert engine.restored is None
        assert "no checkpoint was read within 10 s: a cold start" in caplog.text
        assert "expected the disk to take it within 10 s" in (await next_store_notice(health)).what
        assert trio.current_time() - begin < 120
    assert "the last checkpoint was not written within 5 s" in caplog.text


async def test_a_checkpoint_that_is_too_long_costs_the_warm_start_alone(
    disk: SimDisk, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kraken_engine.store.checkpoint.MAX_BYTES", 100)
    async with (
        open_engine(IMPATIENT, runtime=world(disk)) as engine,
        engine.feed.subscribe(Health()) as health,
    ):
        assert "at most 100 bytes" in (await next_store_notice(health)).what
    assert not [name for name in disk.list_directory(STATE) if name.startswith("checkpoint.")]


async def test_the_history_goes_on_over_a_restart_and_says_what_is_from_before(disk: SimDisk) -> None:
    symbol = await learn(disk)
    async with open_engine(config(), runtime=world(disk)) as engine:
        with trio.fail_after(60):
            await engine.accounts["main"].wait_live()
    async with open_engine(config(), runtime=world(disk)) as engine:
        lanes = engine.history.lanes
        assert {CONNECTIONS, book_lane(symbol), account_lane("main")} <= set(lanes)
        before = [change for change in engine.history.changes(book_lane(symbol)) if change.restored]
        assert before
        assert all(change.at_s <= engine.market.runtime.clock.now() for change in before)
        ups = [change for change in engine.history.changes(CONNECTIONS) if not change.restored]
        assert any(isinstance(change.value, LineState) and change.value.up for change in ups)


async def test_closed_candles_are_put_aside_before_the_forming_one(disk: SimDisk) -> None:
    async with open_engine(config(), runtime=world(disk)) as engine:
        symbol = next(iter(engine.instruments))
        async with engine.feed.subscribe(Candles(symbol)) as events:
            with trio.fail_after(60):
                async for event in events:
                    if isinstance(event, Candle):
                        break
            closed = engine.market.pool.closed_candles(("ohlc", symbol, 1))
    async with open_engine(config(), runtime=world(disk)) as engine:
        assert engine.restored is not None
        begins = [candle.interval_begin for candle in engine.restored.state.candles if candle.symbol == symbol]
        assert begins == sorted(begins)
        assert len(closed) > 1
        assert len(begins) >= len(closed)
