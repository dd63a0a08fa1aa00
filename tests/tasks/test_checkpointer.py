"""A restarted engine shows what the last one knew, as old as it is, and nothing of it as live."""

from __future__ import annotations

import attrs
import pytest
import trio
from tests.tasks.test_engine_store import STATE, config, world

from kraken_engine import Book, Ticker, open_engine
from kraken_engine.errors import Stale
from kraken_engine.model import Integrity
from kraken_engine.sim.disk import SimDisk


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
        assert engine.market.statistics().errors["state_corruption"] == 1
        disk.flip_bit(f"{STATE}/checkpoint.1", 900)
        disk.flip_bit(f"{STATE}/checkpoint.0", 901)
    for name in names:
        disk.truncate(f"{STATE}/{name}", 10)
    async with open_engine(config(), runtime=world(disk)) as engine:
        assert engine.restored is None
